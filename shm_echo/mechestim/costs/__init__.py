"""The price rules: pure integer functions of shapes and scalar arguments, without NumPy.

One module for each family of operations: prices are in `costs.flops`, bounds of memory in
`costs.memory`. A rule has the call signature of its operation, and its
docstring gives the formula and the meaning of the symbols. A multiplication followed by an
addition counts as 2 FLOPs. `shm_echo.mechestim.costs.operands` reads the operands for all of
them.

"The operation table of mechestim" is the table that AIcrowd published in April 2026 (the pages
"FLOP counting model" and "Operation audit"). `shm_echo.mechestim.flops` names the textbooks behind
the counts of linear algebra and transforms.
"""
