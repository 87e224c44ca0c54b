"""Budgets: contexts that allow so many FLOPs, the books they keep, and the ways to look at them."""
