"""Python's operators: the word in the names of their methods, and the operation that each is."""

from __future__ import annotations

POINTWISE = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
"""Of two operands, element by element; each has a reflected form and one in place."""

IN_PLACE = {**POINTWISE, "matmul": "matmul"}
"""Those that have a form in place, such as ``__iadd__``."""

BINARY = {**IN_PLACE, "divmod": "divmod"}
"""Those that have a reflected form, such as ``__radd__``."""

COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}

UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
