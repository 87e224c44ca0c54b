"""One leaf of a tree: its dtype, its shape, and the values that it accepts.

`as_array` returns an array of exactly the leaf's dtype and shape, or raises with the leaf's path,
the expected and the given value. A 0-d leaf also accepts a Python number that NumPy 2 would cast to
the leaf's dtype beside an array of that dtype, without loss of kind or overflow. Strided and
Fortran-ordered arrays are returned without a copy.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from shm_echo.errors import SpecMismatchError

Array: TypeAlias = npt.NDArray[Any]

# The largest finite float16. Numbers up to it are finite in every IEEE float type, so the common
# case can skip the check for overflow.
_FINITE_EVERYWHERE = 65504

_NUMERIC = "biufc"
_CASTS_TO: dict[type, str] = {bool: _NUMERIC, int: "iufc", float: "fc", complex: "c"}


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """One row of a tree's leaf table.

    Attributes:
        path: the place of the leaf, as Python indexing on the tree (`"['obs'][0].x"`); empty if
            the tree is a single leaf.
        dtype: the dtype, with its byte order.
        shape: the shape in one sample.
        nbytes: the size in one sample.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def leaf_from_example(path: str, value: object) -> LeafSpec:
    """Return the spec of one example leaf.

    Raises:
        TypeError: the value is not a NumPy value, is masked, or holds Python objects.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{_at(path)}: a masked array can't be an example leaf: {_NO_MASKS}")
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(
            f"{_at(path)}: an example leaf is a NumPy array or scalar, because its dtype and shape "
            f"are fixed by it; got {describe(value)}{_advice(value)}"
        )
    dtype: np.dtype[Any] = value.dtype
    if dtype.hasobject:
        raise TypeError(
            f"{_at(path)}: dtype {dtype} holds Python objects, which can't be shared between "
            "processes: convert it to a numeric, fixed-width string or structured dtype"
        )
    shape = tuple(int(n) for n in value.shape)
    return LeafSpec(path, dtype, shape, math.prod(shape) * dtype.itemsize)


def as_array(leaf: LeafSpec, value: object) -> Array:
    """Return `value` as an array of exactly the leaf's dtype and shape.

    Raises:
        SpecMismatchError: the value does not fit the leaf.
    """
    if isinstance(value, np.ndarray):
        array = value if type(value) is np.ndarray else _plain(leaf, value)
        if array.shape == leaf.shape and array.dtype == leaf.dtype:
            return array
    elif isinstance(value, np.generic):
        if leaf.shape == () and _same_scalar_type(leaf.dtype, value.dtype):
            return np.asarray(value).astype(leaf.dtype, copy=False)
    elif isinstance(value, (bool, int, float, complex)) and leaf.shape == ():
        return _cast(leaf, value)
    raise SpecMismatchError(leaf.path, f"expected {leaf}, got {_found(value)}")


def _same_scalar_type(leaf: np.dtype[Any], scalar: np.dtype[Any]) -> bool:
    # NumPy scalars always have native byte order, so a big-endian leaf accepts them by their type.
    return leaf == scalar or (not leaf.isnative and leaf.newbyteorder("=") == scalar)


def as_stacked_array(leaf: LeafSpec, value: object) -> Array:
    """Return `value` as an array of the leaf's dtype and shape `(N, *leaf.shape)`, for any N.

    Raises:
        SpecMismatchError: the value does not fit.
    """
    if isinstance(value, np.ndarray):
        array = value if type(value) is np.ndarray else _plain(leaf, value)
        if array.ndim and array.shape[1:] == leaf.shape and array.dtype == leaf.dtype:
            return array
    raise SpecMismatchError(leaf.path, f"expected {stacked_text(leaf)}, got {_found(value)}")


def stacked_text(leaf: LeafSpec, count: object = "N") -> str:
    """Describe a stack of samples of this leaf, such as `float32 (N, 4)`."""
    axes = ", ".join(str(n) for n in leaf.shape)
    return f"{leaf.dtype} ({count}, {axes})" if axes else f"{leaf.dtype} ({count},)"


def _plain(leaf: LeafSpec, array: Array) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise SpecMismatchError(leaf.path, f"expected {leaf}, got a masked array: {_NO_MASKS}")
    return np.asarray(array)


_NO_MASKS = "its mask would be lost, so fill it first (.filled())"


def _cast(leaf: LeafSpec, value: complex) -> Array:
    kind: type[Any] = next(k for k in (bool, int, float, complex) if isinstance(value, k))
    if leaf.dtype.kind not in _CASTS_TO[kind]:
        raise SpecMismatchError(
            leaf.path, f"expected {leaf}, got {_found(value)}, which does not cast to it safely"
        )
    # A subclass such as IntEnum may define its own conversion to an array.
    number = value if type(value) is kind else kind(value)
    array: Array | None
    try:
        if not isinstance(number, complex) and abs(number) <= _FINITE_EVERYWHERE:
            return np.array(number, leaf.dtype)
        with np.errstate(all="ignore"):
            array = np.array(number, leaf.dtype)
    except (OverflowError, ValueError):
        array = None
    if array is None or (_is_finite(number) and not np.isfinite(array)):
        raise SpecMismatchError(leaf.path, f"expected {leaf}, got {_range_error(leaf, number)}")
    return array


def _is_finite(number: complex) -> bool:
    if isinstance(number, complex):
        return math.isfinite(number.real) and math.isfinite(number.imag)
    return isinstance(number, int) or math.isfinite(number)


def _range_error(leaf: LeafSpec, number: complex) -> str:
    # Python refuses to print the digits of a huge int (sys.set_int_max_str_digits).
    huge = isinstance(number, int) and number.bit_length() > 128
    shown = "an int of more than 128 bits" if huge else f"the Python number {number!r}"
    if leaf.dtype.kind in "iu":
        info = np.iinfo(leaf.dtype)
        return f"{shown}, which is not between {info.min} and {info.max}"
    return f"{shown}, which overflows to infinity"


# ---------------------------------------------------------------- descriptions for messages


def _at(path: str) -> str:
    return path or "the example"


def describe(value: object) -> str:
    """Describe a value in a few words, for an error message."""
    kind = type(value)
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, np.generic):
        return f"{value.dtype} ()"
    if isinstance(value, Mapping):
        return f"a {kind.__name__} with keys {abbreviated_list(repr(key) for key in value)}"
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return f"a {kind.__name__}({', '.join(kind._fields)}) namedtuple"
    if isinstance(value, (list, tuple, deque)):
        return f"a {kind.__name__} of {len(value)}"
    if isinstance(value, (bool, int, float, complex, str, bytes)):
        return f"a Python {kind.__name__}"
    return f"a {kind.__module__}.{kind.__qualname__}"


def abbreviated_list(names: Any, limit: int = 8) -> str:
    """Return the first names in brackets, with the total if there are more than `limit`."""
    words = list(names)
    more = [f"... ({len(words)} in all)"] if len(words) > limit else []
    return f"[{', '.join(words[:limit] + more)}]"


def _found(value: object) -> str:
    return describe(value) + _advice(value)


def _advice(value: object) -> str:
    if hasattr(value, "__array__") and not isinstance(value, (np.ndarray, np.generic)):
        return " (convert it with np.asarray)"
    return ""


# ---------------------------------------------------------------- dtypes as text


def dtype_text(dtype: np.dtype[Any]) -> str:
    """Return a text that is equal in any two processes exactly if the dtypes are.

    The text is NumPy's array-interface string where that is unambiguous (`<f4`, `<M8[ns]`). A
    structure adds names, titles, offsets and the item size, a sub-array its shape, a user-defined
    type its name. A dtype cannot be parsed from it in general.
    """
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"({','.join(str(n) for n in shape)}){dtype_text(base)}"
    if dtype.names is not None:
        fields = ", ".join(_field_text(dtype, name) for name in dtype.names)
        return f"{{{fields}; {dtype.itemsize} bytes}}"
    if dtype.isbuiltin == 2:  # registered by another package: several share one '<V2'
        return f"{dtype.str}:{dtype.type.__name__}"
    return str(dtype.str)


def _field_text(dtype: np.dtype[Any], name: str) -> str:
    assert dtype.fields is not None
    kind, offset, *title = dtype.fields[name]
    label = json.dumps(name) + "".join(f"/{json.dumps(str(t))}" for t in title)
    return f"{label}: {dtype_text(kind)} @{offset}"


_PLAIN_DTYPE = re.compile(r"[<>|][biufcmMSUV]\d{1,9}(\[\d{0,9}[A-Za-z]{1,2}\])?")


def readable_dtype(text: str) -> str:
    """Return a `dtype_text` in the form for messages, such as `float32` for `<f4`."""
    if _PLAIN_DTYPE.fullmatch(text):
        try:
            return str(np.dtype(text))
        except (TypeError, ValueError):
            pass
    return text
