"""The scalar types of client mode: `mechestim.float32`, `mechestim.integer`, ...

They are classes: one stands for its dtype wherever a dtype is expected, and calling it makes a
value.
"""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.remote import upcalls

# Name, kind, item size and character of each number, in NumPy's order.
NUMBERS = (
    ("bool", "b", 1, "?"),
    ("int8", "i", 1, "b"),
    ("int16", "i", 2, "h"),
    ("int32", "i", 4, "i"),
    ("int64", "i", 8, "l"),
    ("uint8", "u", 1, "B"),
    ("uint16", "u", 2, "H"),
    ("uint32", "u", 4, "I"),
    ("uint64", "u", 8, "L"),
    ("float16", "f", 2, "e"),
    ("float32", "f", 4, "f"),
    ("float64", "f", 8, "d"),
    ("longdouble", "f", 16, "g"),
    ("complex64", "c", 8, "F"),
    ("complex128", "c", 16, "D"),
    ("clongdouble", "c", 32, "G"),
)
ALIASES = {
    "?": "bool",
    "float": "float64",
    "int": "int64",
    "complex": "complex128",
    "uint": "uint64",
    "double": "float64",
    "single": "float32",
    "half": "float16",
    "intp": "int64",
    "uintp": "uint64",
    "byte": "int8",
    "ubyte": "uint8",
    "short": "int16",
    "ushort": "uint16",
    "intc": "int32",
    "uintc": "uint32",
    "long": "int64",
    "ulong": "uint64",
    "longlong": "int64",
    "ulonglong": "uint64",
    "csingle": "complex64",
    "cdouble": "complex128",
    "int_": "int64",
    "bool_": "bool",
    "bool8": "bool",
    "float128": "longdouble",
    "complex256": "clongdouble",
}
ALIASES.update({char: name for name, _, _, char in NUMBERS})
ALIASES.update({f"{kind}{size}": name for name, kind, size, _ in NUMBERS})
ALIASES["b1"] = "bool"
# On 64-bit Linux, long long and pointer-sized integers have 8 bytes, too.
ALIASES.update({"q": "int64", "Q": "uint64", "p": "int64", "P": "uint64"})
# The scalar types that are not numbers or have no fixed size, with the text of their dtype.
OTHERS = {
    "str_": "<U0",
    "bytes_": "|S0",
    "void": "|V0",
    "object_": "|O",
    "datetime64": "<M8",
    "timedelta64": "<m8",
}
PYTHON = {float: "float64", int: "int64", bool: "bool", complex: "complex128"}


class generic:
    """Base of the scalar types. Calling one makes a 0-d result of that dtype."""

    __slots__ = ("_value",)
    _name = ""

    def __new__(cls, value: Any = 0) -> Any:
        return upcalls.call("array", value, dtype=cls)[()]


class number(generic):
    """Base of the numbers."""


class integer(number):
    """Base of the integers."""


class signedinteger(integer):
    """Base of the signed integers."""


class unsignedinteger(integer):
    """Base of the unsigned integers."""


class inexact(number):
    """Base of the floating-point and complex numbers."""


class floating(inexact):
    """Base of the floating-point numbers."""


class complexfloating(inexact):
    """Base of the complex numbers."""


class flexible(generic):
    """Base of the types whose items have any length."""


class character(flexible):
    """Base of text and bytes."""


_BASES: dict[str, type] = {"b": generic, "i": signedinteger, "u": unsignedinteger}
_BASES.update({"f": floating, "c": complexfloating})
ABSTRACT = {
    cls.__name__: cls
    for cls in (
        generic,
        number,
        integer,
        signedinteger,
        unsignedinteger,
        inexact,
        floating,
        complexfloating,
        flexible,
        character,
    )
}
SCALAR_TYPES: dict[str, type] = {
    name: type(
        name,
        (_BASES[kind],),
        {"__slots__": (), "_name": name, "__doc__": f"The scalar type {name}."},
    )
    for name, kind, _, _ in NUMBERS
}
_OTHER_BASES = {"str_": character, "bytes_": character, "void": flexible, "object_": generic}
_OTHER_BASES.update({"datetime64": generic, "timedelta64": signedinteger})
SCALAR_TYPES.update(
    {
        name: type(
            name,
            (_OTHER_BASES[name],),
            {"__slots__": (), "_name": name, "__doc__": f"The scalar type {name}."},
        )
        for name in OTHERS
    }
)
for _cls in SCALAR_TYPES.values():
    _cls.__module__ = "mechestim"  # pickle finds it there by its name


def scalar_type(name: str) -> Any:
    """Return the class `mechestim.<name>`.

    Raises:
        AttributeError: No scalar type has this name.
    """
    name = ALIASES.get(name, name)
    cls = SCALAR_TYPES.get(name) or ABSTRACT.get(name)
    if cls is None:
        raise AttributeError(f"mechestim has no scalar type {name!r}", name=name)
    return cls


def name_of_type(cls: type) -> str | None:
    """Return the name of the scalar type that a class stands for; None for other classes."""
    python_name = PYTHON.get(cls)
    if python_name is not None:
        return python_name
    if issubclass(cls, generic):
        return cls.__name__
    if cls.__module__ == "numpy":  # the process of a client may have NumPy for work of its own
        name = ALIASES.get(cls.__name__, cls.__name__)
        return name if name in SCALAR_TYPES else None
    return None
