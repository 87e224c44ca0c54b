"""Bytes per element of a dtype, without NumPy.

Reads every form of a dtype: a dtype object, a scalar type, a Python type, or a string
such as `"f4"`. The answers serve the size rules, so they are exact for the dtypes that
arithmetic uses and upper bounds for the rest.
"""

from __future__ import annotations

import re
from typing import Any

WIDEST = 32
"""Bytes of the widest number: a complex of two long doubles."""

_DEFAULT = 8  # float64, int64, and a pointer in an object array
_COMPLEX = 16

_PYTHON = {
    bool: ("b", 1),
    int: ("i", 8),
    float: ("f", 8),
    complex: ("c", 16),
    object: ("O", 8),
    bytes: ("S", 1),
    str: ("U", 4),
}

_CODES = {
    "?": ("b", 1), "b": ("i", 1), "B": ("u", 1), "h": ("i", 2), "H": ("u", 2), "i": ("i", 4),
    "I": ("u", 4), "l": ("i", 8), "L": ("u", 8), "q": ("i", 8), "Q": ("u", 8), "p": ("i", 8),
    "P": ("u", 8), "n": ("i", 8), "N": ("u", 8), "e": ("f", 2), "f": ("f", 4), "d": ("f", 8),
    "g": ("f", 16), "F": ("c", 8), "D": ("c", 16), "G": ("c", 32), "O": ("O", 8), "m": ("m", 8),
    "M": ("M", 8), "S": ("S", 1), "U": ("U", 4), "V": ("V", 1), "a": ("S", 1), "c": ("S", 1),
}  # fmt: skip

_NAMES = {
    "bool": ("b", 1), "bool_": ("b", 1), "byte": ("i", 1), "ubyte": ("u", 1), "short": ("i", 2),
    "ushort": ("u", 2), "intc": ("i", 4), "uintc": ("u", 4), "int": ("i", 8), "int_": ("i", 8),
    "uint": ("u", 8), "intp": ("i", 8), "uintp": ("u", 8), "long": ("i", 8), "ulong": ("u", 8),
    "longlong": ("i", 8), "ulonglong": ("u", 8), "half": ("f", 2), "single": ("f", 4),
    "double": ("f", 8), "float": ("f", 8), "longdouble": ("f", 16), "csingle": ("c", 8),
    "cdouble": ("c", 16), "complex": ("c", 16), "clongdouble": ("c", 32), "object": ("O", 8),
    "object_": ("O", 8), "str": ("U", 4), "str_": ("U", 4), "bytes": ("S", 1), "bytes_": ("S", 1),
    "datetime64": ("M", 8), "timedelta64": ("m", 8), "void": ("V", 1),
}  # fmt: skip

_BITS = re.compile(r"(bool|u?int|float|complex)(\d+)")
_CODE = re.compile(r"[<>=|]?([?a-zA-Z])(\d*)(\[.*\])?")


def describe(dtype: Any) -> tuple[str, int]:
    """Return the kind letter and the bytes per element of any form of a dtype.

    >>> describe("float32"), describe(complex), describe("<i2")
    (('f', 4), ('c', 16), ('i', 2))
    """
    if dtype is None:
        return "f", _DEFAULT
    size = getattr(dtype, "itemsize", None)
    if isinstance(size, int):
        return getattr(dtype, "kind", "V"), size
    if isinstance(dtype, str):
        return _describe_text(dtype)
    if isinstance(dtype, type):
        return _PYTHON.get(dtype) or _describe_text(dtype.__name__)
    if isinstance(dtype, list):
        return "V", sum(_field_bytes(field) for field in dtype)
    return "V", WIDEST


def _describe_text(text: str) -> tuple[str, int]:
    named = _NAMES.get(text)
    if named is not None:
        return named
    bits = _BITS.fullmatch(text)
    if bits is not None:
        return bits[1][0], max(1, int(bits[2]) // 8)
    code = _CODE.fullmatch(text)
    if (
        code is not None and code[2]
    ):  # with a size, a letter is a kind: "b1" is a boolean, "b" an int8
        return code[1], int(code[2]) * (4 if code[1] == "U" else 1)
    return _CODES.get(code[1] if code is not None else "", ("V", WIDEST))


def _field_bytes(field: Any) -> int:
    """Return the bytes of one `(name, dtype[, shape])` of a structured dtype."""
    count = 1
    if len(field) > 2:
        extents = field[2] if isinstance(field[2], tuple) else (field[2],)
        for extent in extents:
            count *= int(extent)
    return describe(field[1])[1] * count


def element(x: Any) -> tuple[str, int]:
    """Return the kind letter and the bytes per element of an operand."""
    dtype = getattr(x, "dtype", None)
    if dtype is not None:
        return describe(dtype)
    if isinstance(x, (list, tuple)):
        return common([element(item) for item in x])
    if isinstance(x, str):
        return "U", 4 * max(1, len(x))
    if isinstance(x, bytes):
        return "S", max(1, len(x))
    return _PYTHON.get(type(x), ("O", _DEFAULT))


def itemsize(x: Any) -> int:
    """Return the bytes per element of an operand."""
    return element(x)[1]


def common(elements: list[tuple[str, int]]) -> tuple[str, int]:
    """Return a kind and a size that hold each of `elements`; float64 for an empty list."""
    if not elements:
        return "f", _DEFAULT
    kinds = {kind for kind, _ in elements}
    widest = max(size for _, size in elements)
    if len(kinds) == 1:
        return kinds.pop(), widest
    if "O" in kinds:
        return "O", _DEFAULT
    if kinds & {"U", "S", "V"}:
        # A number next to text becomes text of 4 bytes a character: a complex long double takes
        # fewer than 128 characters.
        return "U", 4 * max(128, widest)
    if "c" in kinds:
        real = max((size for kind, size in elements if kind != "c"), default=0)
        integral = bool(kinds & {"i", "u"})
        return "c", max(widest, 2 * real, _COMPLEX if integral else 0)
    if "f" in kinds:
        return "f", max(widest, _DEFAULT)
    return "i", max(widest, _DEFAULT)


def promoted(*operands: Any, dtype: Any = None) -> int:
    """Return an upper bound of the bytes per element of arithmetic on `operands`.

    An integer result may be widened to 8 bytes, and integer operands may give floats. A `dtype`
    takes precedence.
    """
    if dtype is not None:
        return describe(dtype)[1]
    # Python scalars are weak in NumPy's promotion: they widen an array's dtype only by their kind.
    weak = [x for x in operands if type(x) in (bool, int, float)]
    strong = [x for x in operands if type(x) not in (bool, int, float)]
    kind, width = common([element(x) for x in strong])
    if kind in "USV":
        return sum(map(itemsize, operands))
    if kind in "fc" and strong:
        return width
    return max(width, _DEFAULT, *map(itemsize, weak)) if weak else max(width, _DEFAULT)


def floating(*operands: Any) -> int:
    """Return an upper bound of the bytes per element of `operands` as floats or complex numbers."""
    kind, width = common([element(x) for x in operands])
    return max(width, _COMPLEX if kind == "c" else _DEFAULT)
