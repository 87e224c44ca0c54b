"""Dtypes without NumPy: `dtype("f4")`, `x.dtype.itemsize`, `dtype([("a", "i8")])`.

A `dtype` is a description, compared and hashed by its text. Its attributes and messages are those
of NumPy's dtype. Specs that need NumPy's memory layout (padded and overlapping fields) are
rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from shm_echo.mechestim.remote.dtypes.dtype_parsing import (
    BY_TEXT,
    dtype_text,
    is_numpy_dtype,
    spec_of,
)
from shm_echo.mechestim.remote.dtypes.scalar_types import (
    ABSTRACT,
    ALIASES,
    SCALAR_TYPES,
    name_of_type,
    scalar_type,
)

__all__ = ["ABSTRACT", "ALIASES", "SCALAR_TYPES", "dtype", "name_of_type", "scalar_type"]

_SCALAR_TYPE_OF_KIND = {"U": "str_", "S": "bytes_", "V": "void", "O": "object_"}
_SCALAR_TYPE_OF_KIND.update({"M": "datetime64", "m": "timedelta64"})
_NAME_STEMS = {"U": "str", "S": "bytes", "V": "void", "M": "datetime64", "m": "timedelta64"}
# The numbers of the types by character, and the flags by kind, are NumPy's.
_NUMBERS = dict(zip("?bBhHiIlLqQfdgFDGOSUVMme", range(24), strict=True))
_FLAGS = {"O": 63, "U": 8}
_SUBARRAY = re.compile(r"\(([\d, ]*)\)(.+)|(\d+)([^\d].*)")
_OTHER_ORDER = {"<": ">", "=": ">", ">": "<", "|": "|"}


class dtype:
    """The type of an array's elements.

    Args:
        spec: `"float32"`, `"f4"`, `"<f4"`, a scalar type, a Python type, another dtype, a list of
            `(name, spec)` fields, `"f4, i8"`, or `(spec, shape)`.

    Raises:
        TypeError: `spec` is none of these.

    Example:
        >>> dtype("f4").itemsize
        4
        >>> dtype([("a", "i8"), ("b", "?")]).names
        ('a', 'b')
    """

    __slots__ = ("_fields", "char", "itemsize", "kind", "name", "str", "subdtype")

    name: Any
    str: str
    subdtype: tuple[dtype, tuple[int, ...]] | None
    _fields: tuple[tuple[Any, dtype], ...] | None

    def __init__(self, spec: Any = "float64") -> None:
        self.subdtype = self._fields = None
        if isinstance(spec, dtype):
            self._set_text(spec.str)
            self.subdtype, self._fields = spec.subdtype, spec._fields
            self.name = spec.name
            return
        if is_numpy_dtype(spec):
            spec = spec_of(spec)
        text = dtype_text(spec)
        if text is not None:
            self._set_text(text)
            return
        fields = _fields_of(spec)
        if fields is not None:
            self._set_text(f"|V{sum(field.itemsize for _, field in fields)}")
            self._fields = fields
        else:
            self._set_subarray(*_subarray_of(spec))

    def _set_text(self, text: Any) -> None:
        self.str = text
        known = BY_TEXT.get(text.replace(">", "<"))
        if known is not None:
            name, self.kind, self.itemsize, self.char = known
            self.name = {"longdouble": "float128", "clongdouble": "complex256"}.get(name, name)
        elif text == "|O":
            self.name, self.kind, self.itemsize, self.char = "object", "O", 8, "O"
        else:
            self.kind = self.char = text[1]
            count = text[2:]
            if self.kind in "Mm":
                self.itemsize = 8
                self.name = _NAME_STEMS[self.kind] + count[1:]
            else:
                self.itemsize = int(count) * (4 if self.kind == "U" else 1)
                bits = repr(8 * self.itemsize) if self.itemsize else ""
                self.name = _NAME_STEMS[self.kind] + bits

    def _set_subarray(self, base: dtype, shape: tuple[int, ...]) -> None:
        if base.subdtype is not None:
            base, inner = base.subdtype
            shape = shape + inner
        self._set_text(f"|V{math.prod(shape) * base.itemsize}")
        self.subdtype = (base, shape)

    # Its form in messages and pickles

    @property
    def description(self) -> Any:
        """The form in a message: a text, `[base, shape]`, or a list of `[name, field]`."""
        if self.subdtype is not None:
            base, shape = self.subdtype
            return [base.description, list(shape)]
        if self._fields is None:
            return self.str
        return [[name, field.description] for name, field in self._fields]

    def __reduce__(self) -> tuple[Any, ...]:
        return from_description, (self.description,)

    # Attributes of NumPy's dtype

    @property
    def names(self) -> tuple[Any, ...] | None:
        """Names of the fields of a record."""
        return None if self._fields is None else tuple(name for name, _ in self._fields)

    @property
    def fields(self) -> Mapping[Any, tuple[dtype, int]] | None:
        """The fields of a record by name, each with its offset."""
        if self._fields is None:
            return None
        fields, offset = {}, 0
        for name, field in self._fields:
            fields[name] = (field, offset)
            offset += field.itemsize
        return MappingProxyType(fields)

    @property
    def type(self) -> Any:
        """The scalar type."""
        known = BY_TEXT.get(self.str.replace(">", "<"))
        return scalar_type(known[0] if known else _SCALAR_TYPE_OF_KIND[self.kind])

    @property
    def byteorder(self) -> Any:
        """`"="` for this machine's order, `">"` for the other one, `"|"` where none applies."""
        return "=" if self.str[0] == "<" else self.str[0]

    @property
    def isnative(self) -> bool:
        """True if the bytes are in this machine's order."""
        if self.subdtype is not None:
            return self.subdtype[0].isnative
        if self._fields is not None:
            return all(field.isnative for _, field in self._fields)
        return self.str[0] != ">"

    @property
    def alignment(self) -> int:
        """The address of an item is a multiple of this many bytes."""
        if self.subdtype is not None:
            return self.subdtype[0].alignment
        if self.kind in "SV":
            return 1
        return 4 if self.kind == "U" else self.itemsize // (2 if self.kind == "c" else 1)

    @property
    def isbuiltin(self) -> int:
        """1 for a type that NumPy defines itself, 0 for one that is composed or swapped."""
        plain = self._fields is None and self.subdtype is None
        unsized = self.kind in "SUV" and not self.itemsize
        number = self.kind not in "SUVMm" and self.isnative
        return int(plain and (unsized or number))

    @property
    def hasobject(self) -> bool:
        """True if the items, or some of their fields, are Python objects."""
        if self.subdtype is not None:
            return self.subdtype[0].hasobject
        if self._fields is not None:
            return any(field.hasobject for _, field in self._fields)
        return self.kind == "O"

    @property
    def num(self) -> int:
        """NumPy's number of the type."""
        return _NUMBERS[self.char]

    @property
    def flags(self) -> int:
        """NumPy's flags for handling the items."""
        if self.subdtype is not None:
            return self.subdtype[0].flags
        if self._fields is None:
            return _FLAGS.get(self.kind, 0)
        combined = 16  # NPY_USE_GETITEM, which every record has
        for _, field in self._fields:
            combined |= (
                field.flags & 27
            )  # NumPy's NPY_FROM_FIELDS: the flags that a record inherits
        return combined

    @property
    def base(self) -> dtype:
        """The dtype of a sub-array's elements; of other dtypes, the dtype itself."""
        return self if self.subdtype is None else self.subdtype[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sub-array; `()` for other dtypes."""
        return () if self.subdtype is None else self.subdtype[1]

    @property
    def ndim(self) -> int:
        """The number of a sub-array's dimensions; 0 for other dtypes."""
        return len(self.shape)

    @property
    def descr(self) -> list[tuple[Any, ...]]:
        """The fields as a list from which `dtype` makes an equal one."""
        if self._fields is None:
            return [("", self.str)]
        return [(name, *_descr_type(field)) for name, field in self._fields]

    @property
    def isalignedstruct(self) -> bool:
        """False: fields stand next to one another, without padding."""
        return False

    @property
    def metadata(self) -> None:
        """None: no dtype of a client has metadata."""
        return

    def newbyteorder(self, new_order: Any = "S") -> dtype:
        """Return the dtype with another byte order; `"S"` swaps it."""
        order = new_order[:1].upper()
        if order not in ("S", "<", ">", "=", "|", "L", "B", "N", "I"):
            raise ValueError(f"{new_order} is an unrecognized byteorder")
        if self.subdtype is not None:
            return dtype((self.subdtype[0].newbyteorder(order), self.subdtype[1]))
        if self._fields is not None:
            return dtype([(name, field.newbyteorder(order)) for name, field in self._fields])
        old = self.str[0]
        if old == "|" or order in "|I":
            return self
        new = {"S": _OTHER_ORDER[old], ">": ">", "B": ">"}.get(order, "<")
        return dtype(new + self.str[1:])

    # Python's protocols

    def __len__(self) -> int:
        return len(self._fields or ())

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> dtype:
        if self._fields is None:
            raise KeyError(f"There are no fields in dtype {self}.")
        if isinstance(key, int):
            return self._fields[key][1]
        fields: dict[Any, dtype] = dict(self._fields)
        if isinstance(key, list):
            raise TypeError("a dtype of a client cannot be indexed with several fields at once")
        if key not in fields:
            raise KeyError(f"Field named {key!r} not found.")
        return fields[key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dtype):
            try:
                other = dtype(other)
            except (TypeError, ValueError):
                return False
        return bool(self._key == other._key)

    @property
    def _key(self) -> Any:
        return self.str, self.subdtype, self._fields

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> Any:
        return f"dtype({self._constructor_text(False)})"

    def __str__(self) -> Any:
        if self._fields is not None or self.subdtype is not None:
            return self._constructor_text(True)
        return self.str if self.kind in "USV" or not self.isnative else self.name

    def _constructor_text(self, short: bool) -> Any:
        """The argument of the constructor in `repr` and `str`, as NumPy writes it."""
        if self.subdtype is not None:
            base, shape = self.subdtype
            return f"({base._constructor_text(True)}, {shape!r})"
        if self._fields is not None:
            parts = [_field_text(name, field) for name, field in self._fields]
            return f"[{', '.join(parts)}]"
        if self.kind == "b":
            return "'?'" if short else "'bool'"
        text = self.str.lstrip("|")
        if self.kind in "USV":
            text = text if self.itemsize else text.rstrip("0")
        elif self.kind not in "MmO" and not short and self.isnative:
            text = self.name
        return repr(text)


def _field_text(name: Any, field: dtype) -> Any:
    if field.subdtype is None:
        return f"({name!r}, {field._constructor_text(True)})"
    base, shape = field.subdtype
    return f"({name!r}, {base._constructor_text(True)}, {shape!r})"


def _descr_type(field: dtype) -> tuple[Any, ...]:
    if field.subdtype is not None:
        base, shape = field.subdtype
        return (*_descr_type(base), shape)
    return (field.str if field._fields is None else field.descr,)


# Reading the specs of users and the descriptions of servers


def _fields_of(spec: Any) -> tuple[tuple[Any, dtype], ...] | None:
    """Return the fields of a record; None if `spec` describes no record."""
    if isinstance(spec, str) and "," in spec and not spec.startswith("("):
        parts = [part.strip() for part in spec.split(",") if part.strip()]
        return tuple((f"f{index}", dtype(part)) for index, part in enumerate(parts))
    if spec == {}:
        return ()
    if isinstance(spec, dict) and {"names", "formats"} == set(spec):
        return _fields_of(list(zip(spec["names"], spec["formats"], strict=True)))
    if not isinstance(spec, list):
        return None
    fields = []
    for index, field in enumerate(spec):
        if not isinstance(field, (tuple, list)) or len(field) not in (2, 3):
            raise TypeError(
                f"Field elements must be 2- or 3-tuples, got '{field!r}'"
                if not isinstance(field, dict)
                else f"data type {spec!r} not understood"
            )
        name, *rest = field
        inner = dtype(rest[0] if len(rest) == 1 else (rest[0], rest[1]))
        fields.append((name or f"f{index}", inner))
    names = [name for name, _ in fields]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {twice!r} occurs more than once")
    return tuple(fields)


def _subarray_of(spec: Any) -> tuple[dtype, tuple[int, ...]]:
    if isinstance(spec, tuple) and len(spec) == 2:
        base, shape = spec
        if isinstance(shape, int):
            shape = (shape,)
        if isinstance(shape, (tuple, list)) and all(isinstance(n, int) for n in shape):
            return dtype(base), tuple(shape)
    if isinstance(spec, str):
        match = _SUBARRAY.fullmatch(spec)
        if match is not None:
            lengths, base, count, other = match.groups()
            numbers = lengths.split(",") if count is None else [count]
            return dtype(base or other), tuple(int(n) for n in numbers if n.strip())
        raise TypeError(f"data type {spec!r} not understood")
    raise TypeError(f"Cannot interpret '{spec!r}' as a data type")


def from_description(description: Any) -> dtype:
    """Return the dtype with this `dtype.description`."""
    if not isinstance(description, list):
        return dtype(description)
    if len(description) == 2 and _is_shape(description[1]):
        return dtype((from_description(description[0]), tuple(description[1])))
    return dtype([(name, from_description(inner)) for name, inner in description])


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(n, int) for n in value)
