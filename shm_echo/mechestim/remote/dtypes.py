"""Dtypes without NumPy: ``mechestim.float32``, ``dtype("f4")``, ``x.dtype.itemsize``.

A :class:`dtype` is a description, compared and hashed by its text. The scalar types
(``mechestim.float32``)
are classes: they name a dtype where one is asked for, and calling one makes a value.
"""

from __future__ import annotations

from typing import Any

# name, kind, item size, character
_NUMBERS = (
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
_BY_STR = {
    f"{'|' if size == 1 else '<'}{kind}{size}": (name, kind, size, char)
    for name, kind, size, char in _NUMBERS
}
_STR_OF_NAME = {row[0]: text for text, row in _BY_STR.items()}
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
ALIASES.update({char: name for name, _, _, char in _NUMBERS})
ALIASES.update({f"{kind}{size}": name for name, kind, size, _ in _NUMBERS})
ALIASES["b1"] = "bool"
ALIASES.update({"q": "int64", "Q": "uint64", "p": "int64", "P": "uint64"})
# Scalar types whose items have no size of their own, or are no numbers.
_OTHERS = {
    "str_": "<U0",
    "bytes_": "|S0",
    "void": "|V0",
    "object_": "|O",
    "datetime64": "<M8",
    "timedelta64": "<m8",
}
_BY_KIND = {"U": "str_", "S": "bytes_", "V": "void", "O": "object_"}
_BY_KIND.update({"M": "datetime64", "m": "timedelta64"})
_PYTHON = {float: "float64", int: "int64", bool: "bool", complex: "complex128"}


class dtype:
    """The type of an array's elements.

    Args:
        spec: ``"float32"``, ``"f4"``, ``"<f4"``, a scalar type, a Python type, another dtype, or a
            list of ``(name, spec)`` fields.

    Raises:
        TypeError: it is none of these.
    """

    __slots__ = ("char", "fields", "itemsize", "kind", "name", "str")

    def __init__(self, spec: Any = "float64") -> None:
        text, fields = _resolved(spec)
        self.str: str = text
        self.fields: tuple[tuple[str, dtype], ...] | None = fields
        known = _BY_STR.get(text.replace(">", "<"))
        if fields is not None:
            self.name, self.kind, self.char = (
                f"void{8 * sum(f.itemsize for _, f in fields)}",
                "V",
                "V",
            )
            self.itemsize = sum(field.itemsize for _, field in fields)
        elif known is not None:
            self.name, self.kind, self.itemsize, self.char = known
        elif text == "|O":
            self.name, self.kind, self.itemsize, self.char = "object", "O", 8, "O"
        else:
            kind, count = text[1], text[2:]
            self.kind = self.char = kind
            if kind in "Mm":
                self.itemsize = 8
                self.name = {"M": "datetime64", "m": "timedelta64"}[kind] + count[1:]
            else:
                self.itemsize = int(count or 0) * (4 if kind == "U" else 1)
                name = {"U": "str", "S": "bytes", "V": "void"}[kind]
                self.name = name + (str(8 * self.itemsize) if self.itemsize else "")

    @property
    def described(self) -> Any:
        """What is sent for it."""
        if self.fields is None:
            return self.str
        return [[name, field.described] for name, field in self.fields]

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the fields of a record."""
        return None if self.fields is None else tuple(name for name, _ in self.fields)

    @property
    def type(self) -> Any:
        """The scalar type."""
        return scalar_type(_BY_KIND.get(self.kind, self.name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dtype):
            try:
                other = dtype(other)
            except TypeError:
                return False
        return self.str == other.str and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.str)

    def __repr__(self) -> str:
        if self.fields is not None:
            return f"dtype({[(name, field.str) for name, field in self.fields]!r})"
        if self.str[0] == ">" or self.kind in "USVMmO":
            text = str(self.str).lstrip("|")
            return f"dtype({(text if self.itemsize else text.rstrip('0'))!r})"
        return f"dtype({self.name!r})"

    def __str__(self) -> str:
        if self.fields is not None:
            return str([(name, field.str) for name, field in self.fields])
        return self.str if self.kind in "USV" else self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype, (self.described,)


def _resolved(spec: Any) -> tuple[str, Any]:
    if isinstance(spec, dtype):
        return spec.str, spec.fields
    if isinstance(spec, type):
        if spec is str or spec is bytes:
            return _OTHERS[f"{spec.__name__}_"], None
        name = _PYTHON.get(spec) or name_of_type(spec)
        if name is not None:
            return _resolved(name)
    if isinstance(spec, str):
        order, rest = ("", spec) if spec[:1] not in "<>=|" else (spec[0], spec[1:])
        name = ALIASES.get(rest, rest)
        text = _STR_OF_NAME.get(name)
        if text is None and name in _OTHERS:
            return _OTHERS[name], None
        if text is not None:
            return (">" + text[1:] if order == ">" and text[0] == "<" else text), None
        if rest[:1] in ("U", "S", "V") and (rest[1:].isdecimal() or not rest[1:]):
            return ("|" if rest[0] in "SV" else order.replace("=", "<") or "<") + rest[0] + (
                rest[1:] or "0"
            ), None
        if rest in ("O", "object", "object_"):
            return "|O", None
        if rest[:2] in ("M8", "m8"):
            return "<" + rest, None
        if rest.startswith(("datetime64", "timedelta64")):
            head, _, unit = rest.partition("64")
            return "<" + head[0].replace("d", "M").replace("t", "m") + "8" + unit, None
    if isinstance(spec, list):
        fields = tuple((str(field[0]), dtype(field[1])) for field in spec)
        return f"|V{sum(field.itemsize for _, field in fields)}", fields
    raise TypeError(f"data type {spec!r} not understood")


class generic:
    """Base of the scalar types; a value with a dtype."""

    __slots__ = ("_value",)
    _name = ""

    def __new__(cls, value: Any = 0) -> Any:
        from shm_echo.mechestim.remote import session

        return session.call("array", value, dtype=cls)[()]


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
    """Base of what has no size of its own."""


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
    for name, kind, _, _ in _NUMBERS
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
        for name in _OTHERS
    }
)
for _cls in SCALAR_TYPES.values():
    _cls.__module__ = "mechestim"  # where it can be had from, by this name


def scalar_type(name: str) -> Any:
    """The class ``mechestim.<name>``."""
    name = ALIASES.get(name, name)
    found = SCALAR_TYPES.get(name) or ABSTRACT.get(name)
    if found is None:
        raise AttributeError(f"mechestim has no scalar type {name!r}", name=name)
    return found


def name_of_type(cls: type) -> str | None:
    """The name of a scalar type; None for other classes."""
    found = _PYTHON.get(cls)
    if found is not None:
        return found
    if issubclass(cls, generic):
        return cls.__name__
    return None
