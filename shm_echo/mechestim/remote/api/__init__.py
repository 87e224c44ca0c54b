"""The names of NumPy that `mechestim` offers in client mode."""
