"""mechestim without NumPy: every operation goes to a server that owns the arrays and keeps the
count."""
