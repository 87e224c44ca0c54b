"""Python's operators: the word in the names of their methods, mapped to the operation."""

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
"""Binary operators, element by element; each has a reflected and an in-place form."""

IN_PLACE = {**POINTWISE, "matmul": "matmul"}
"""The operators that have an in-place form, such as `__iadd__`."""

BINARY = {**IN_PLACE, "divmod": "divmod"}
"""The operators that have a reflected form, such as `__radd__`."""

COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}

UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
