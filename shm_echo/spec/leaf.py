"""One leaf of a tree: its dtype, its shape, and the values that it accepts.

`as_array` returns an array of exactly the leaf's dtype and shape, or raises with the leaf's path,
the expected and the given value. Strided and Fortran-ordered arrays are returned without a copy.

A 0-d leaf of numbers takes Python numbers, NumPy scalars and 0-d arrays by one rule. The kind may
not be lost (bool, integer, float, complex, in this order), and the value must lie in the leaf's
range: exactly for integers; a finite value may not become infinite. Rounding is fine. All other 0-d
leaves (text, bytes, dates, structures) and arrays with axes are exact, unless the caller allows
casts of arrays by NumPy's rule "same_kind".
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
# The kinds of leaves that take a number, by the kind of its NumPy dtype.
_CASTS_TO = {"b": _NUMERIC, "i": "iufc", "u": "iufc", "f": "fc", "c": "c"}
_KIND_OF: dict[type, str] = {bool: "b", int: "i", float: "f", complex: "c"}


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


def as_array(leaf: LeafSpec, value: object, *, same_kind: bool = False) -> Array:
    """Return `value` as an array of exactly the leaf's dtype and shape.

    Args:
        leaf: the leaf to fit.
        value: an array; for a 0-d leaf also a NumPy scalar or a Python number.
        same_kind: also cast arrays with axes, by NumPy's rule of this name.

    Raises:
        SpecMismatchError: the value does not fit the leaf.
    """
    if isinstance(value, np.ndarray):
        array = value if type(value) is np.ndarray else _plain(leaf, value)
        if array.shape == leaf.shape:
            if array.dtype == leaf.dtype:
                return array
            if leaf.shape == ():
                return _scalar_array(leaf, array[()])
            if same_kind and castable(array.dtype, leaf.dtype):
                return array.astype(leaf.dtype)
    elif leaf.shape == ():
        if isinstance(value, np.generic):
            return _scalar_array(leaf, value)
        if isinstance(value, (bool, int, float, complex)):
            kind: type[Any] = next(k for k in _KIND_OF if isinstance(value, k))
            _require_kind(leaf, _KIND_OF[kind], value)
            # A subclass such as IntEnum may define its own conversion to an array.
            return _cast(leaf, value if type(value) is kind else kind(value))
    raise SpecMismatchError(leaf.path, f"expected {leaf}, got {found_text(value)}")


def castable(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Return True if NumPy casts arrays of numbers from one dtype to the other by "same_kind"."""
    numbers = given.kind in _NUMERIC and wanted.kind in _NUMERIC
    return numbers and np.can_cast(given, wanted, "same_kind")


def casts_without_loss(array: Array, dtype: np.dtype[Any]) -> Array | None:
    """Return an array of numbers in another dtype, by the rule of numbers at 0-d leaves.

    None if an element would lose its kind or leave the range of the dtype. Text has to fit, too.
    """
    if array.dtype == dtype:
        return array
    if array.dtype.kind == dtype.kind and dtype.kind in "SU":
        return array.astype(dtype) if array.dtype.itemsize <= dtype.itemsize else None
    if array.dtype.kind not in _NUMERIC or dtype.kind not in _CASTS_TO[array.dtype.kind]:
        return None
    if dtype.kind in "iu" and array.size:
        info = np.iinfo(dtype)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            return None
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "fc" and not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        return None
    return cast


def _scalar_array(leaf: LeafSpec, value: Any) -> Array:
    """Return a NumPy scalar as an array of a 0-d leaf."""
    given = value.dtype
    if _same_scalar_type(leaf.dtype, given):
        return np.asarray(value).astype(leaf.dtype, copy=False)
    if given.kind not in _NUMERIC or leaf.dtype.kind not in _NUMERIC:
        raise SpecMismatchError(leaf.path, f"expected {leaf}, got {found_text(value)}")
    _require_kind(leaf, given.kind, value)
    number = value.item()
    if isinstance(number, np.generic):  # no Python number is as wide as a long double
        return _cast_wide(leaf, number)
    return _cast(leaf, number, f"the {given} number")


def _require_kind(leaf: LeafSpec, kind: str, value: object) -> None:
    if leaf.dtype.kind not in _CASTS_TO[kind]:
        raise SpecMismatchError(
            leaf.path, f"expected {leaf}, got {found_text(value)}, which does not cast to it safely"
        )


def _same_scalar_type(leaf: np.dtype[Any], scalar: np.dtype[Any]) -> bool:
    # NumPy scalars usually have native byte order, so a big-endian leaf accepts them by their type.
    return leaf == scalar or (not leaf.isnative and leaf.newbyteorder("=") == scalar)


def as_stacked_array(leaf: LeafSpec, value: object, *, same_kind: bool = False) -> Array:
    """Return `value` as an array of the leaf's dtype and shape `(N, *leaf.shape)`, for any N.

    Args:
        leaf: the leaf to fit.
        value: an array.
        same_kind: also cast it, by NumPy's rule of this name.

    Raises:
        SpecMismatchError: the value does not fit.
    """
    if isinstance(value, np.ndarray):
        array = value if type(value) is np.ndarray else _plain(leaf, value)
        if array.ndim and array.shape[1:] == leaf.shape:
            if array.dtype == leaf.dtype:
                return array
            if same_kind and castable(array.dtype, leaf.dtype):
                return array.astype(leaf.dtype)
    raise SpecMismatchError(leaf.path, f"expected {stacked_text(leaf)}, got {found_text(value)}")


def stacked_text(leaf: LeafSpec, count: object = "N") -> str:
    """Describe a stack of samples of this leaf, such as `float32 (N, 4)`."""
    axes = ", ".join(str(n) for n in leaf.shape)
    return f"{leaf.dtype} ({count}, {axes})" if axes else f"{leaf.dtype} ({count},)"


def _plain(leaf: LeafSpec, array: Array) -> Array:
    if isinstance(array, np.ma.MaskedArray):
        raise SpecMismatchError(leaf.path, f"expected {leaf}, got a masked array: {_NO_MASKS}")
    return np.asarray(array)


_NO_MASKS = "its mask would be lost, so fill it first (.filled())"


def _cast(leaf: LeafSpec, number: complex, name: str = "the Python number") -> Array:
    """Return a Python number, whose kind the leaf takes, as an array of the leaf."""
    array: Array | None
    try:
        if not isinstance(number, complex) and abs(number) <= _FINITE_EVERYWHERE:
            return np.array(number, leaf.dtype)
        with np.errstate(all="ignore"):
            array = np.array(number, leaf.dtype)
    except (OverflowError, ValueError):
        array = None
    if array is None or (_is_finite(number) and not np.isfinite(array)):
        raise SpecMismatchError(
            leaf.path, f"expected {leaf}, got {_range_error(leaf, number, name)}"
        )
    return array


def _cast_wide(leaf: LeafSpec, number: np.generic) -> Array:
    """Return a long double, whose kind the leaf takes, as an array of the leaf."""
    with np.errstate(all="ignore"):
        array: Array = np.asarray(number).astype(leaf.dtype)
    if np.isfinite(number) and not np.isfinite(array):
        raise SpecMismatchError(
            leaf.path,
            f"expected {leaf}, got the {number.dtype} number {number!s}, "
            "which overflows to infinity",
        )
    return array


def _is_finite(number: complex) -> bool:
    if isinstance(number, complex):
        return math.isfinite(number.real) and math.isfinite(number.imag)
    return isinstance(number, int) or math.isfinite(number)


def _range_error(leaf: LeafSpec, number: complex, name: str) -> str:
    # Python refuses to print the digits of a huge int (sys.set_int_max_str_digits).
    huge = isinstance(number, int) and number.bit_length() > 128
    shown = "an int of more than 128 bits" if huge else f"{name} {number!r}"
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


def found_text(value: object) -> str:
    """Describe a value that does not fit, with advice where there is any."""
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


def readable_value(dtype: str, content: str) -> str:
    """Return the value whose bytes are given in hex, in the form for messages; "" for none."""
    if content and _PLAIN_DTYPE.fullmatch(dtype):
        try:
            return str(np.frombuffer(bytes.fromhex(content), np.dtype(dtype))[0])
        except (TypeError, ValueError, IndexError):
            pass
    return content
