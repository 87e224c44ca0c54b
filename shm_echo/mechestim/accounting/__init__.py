"""Budgets: contexts with a limit of FLOPs, their books, and the displays of these."""
