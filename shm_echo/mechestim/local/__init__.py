"""mechestim on NumPy, in this process: counted arrays, and the functions that charge for them."""
