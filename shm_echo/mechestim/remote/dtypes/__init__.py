"""Dtypes and scalar types for a process without NumPy."""
