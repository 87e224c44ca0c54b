"""Quotas, budgets and the counts of FLOPs: how much each principal and session may spend."""
