"""The operations that a client may ask for, and the bounds that hold before one runs."""
