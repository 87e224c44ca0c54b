"""The price rules: pure integer functions of shapes and scalar arguments, without NumPy.

One module per family of operations. A rule has the call signature of its operation, and its
docstring gives the formula and the meaning of the symbols. A multiplication followed by an
addition counts as 2 FLOPs. :mod:`shm_echo.mechestim.costs.operands` reads the operands for all of
them.

Where a docstring names no other source, the formula is the one that mechestim documented for the
operation in April 2026 (AIcrowd, "FLOP counting model"); those of linear algebra and transforms
are standard counts, whose sources :mod:`shm_echo.mechestim.flops` gives.
"""
