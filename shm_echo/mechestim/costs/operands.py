"""Reads the facts of operands for price rules: shapes, sizes, element sizes.

An operand is anything with a `shape` and a `dtype` (an array of ours, of NumPy or of the
client), a plain Python number, or a nested sequence of these. Nothing here looks at a value, and
nothing imports NumPy. Operands that do not fit together (ragged sequences, shapes that do not
broadcast, axes out of range) raise `ValueError` or `TypeError`; the caller then passes the call to
NumPy, which raises its own error.

Sizes of elements are read in `shm_echo.mechestim.costs.dtypes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import index
from typing import Any

from shm_echo.mechestim.costs.dtypes import itemsize as itemsize

Shape = tuple[int, ...]

numel: Callable[[Iterable[int]], int] = math.prod
"""The number of elements of a shape."""

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


class UnsafeCallError(ValueError):
    """A rule raises this for a call that must not reach NumPy, because NumPy would crash."""


def check_running_out(out: object) -> None:
    """Reject a 0-d `out` of a running total.

    It never fits, and with 1-D input NumPy 2.4 writes out of bounds (numpy/numpy#32545).

    Raises:
        UnsafeCallError: `out` has no dimensions.
    """
    if getattr(out, "shape", None) == ():
        raise UnsafeCallError(
            "out of a running total must have the dimensions of the result, got 0-d"
        )


def is_array(x: object) -> bool:
    """Return True if `x` carries its own shape and dtype."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def given(value: Any) -> bool:
    """Return True if `value` is an argument; None and NumPy's marker stand for a missing one."""
    return value is not None and type(value).__name__ != "_NoValueType"


def shape(x: Any) -> Shape:
    """Return the shape that NumPy would give `x`.

    >>> shape([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    if type(x) in _ATOMS:
        return ()
    try:
        found: Shape = x.shape
    except AttributeError:
        return _sequence_shape(x)
    return found if type(found) is tuple else tuple(found)


def _sequence_shape(x: Any) -> Shape:
    kind = type(x)
    if kind is not list and kind is not tuple and not _is_sequence(x):
        return _foreign_shape(x)
    length = len(x)
    if length == 0:
        return (0,)
    if _ATOMS.issuperset(map(type, x)):
        return (length,)
    inner = {shape(item) for item in x}
    if len(inner) > 1:
        raise ValueError(f"the sequence is ragged: it holds items of shapes {sorted(inner)}")
    return (length, *inner.pop())


def _is_sequence(x: Any) -> bool:
    """Return True if NumPy iterates over `x` (strings and mappings are single objects)."""
    kind = type(x)
    return (
        hasattr(kind, "__len__")
        and hasattr(kind, "__getitem__")
        and not isinstance(x, (str, bytes, bytearray, dict))
        and not _is_foreign(kind)
    )


def _is_foreign(kind: type) -> bool:
    return hasattr(kind, "__array__") or hasattr(kind, "__array_interface__")


def _foreign_shape(x: Any) -> Shape:
    """Return the shape of an object that converts to an array; `()` for any other object."""
    if isinstance(x, bytearray):
        return (len(x),)
    interface = getattr(x, "__array_interface__", None)
    if isinstance(interface, dict):
        return tuple(interface["shape"])
    if hasattr(type(x), "__array__"):
        return shape(x.__array__())
    return ()


def ndim(x: Any) -> int:
    """Return the number of axes of `x`."""
    return len(shape(x))


def size(x: Any) -> int:
    """Return the number of elements of `x`."""
    return numel(shape(x))


def unique(x: Any) -> int:
    """Return the number of elements that the declared symmetry of `x` leaves distinct."""
    info = getattr(x, "symmetry_info", None)
    if info is not None:
        return int(info.unique_elements)
    return numel(shape(x))


def as_shape(value: Any) -> Shape:
    """Return a `shape=` or `size=` argument as a tuple.

    Raises:
        ValueError: a length is negative.
    """
    try:
        dims: Shape = (index(value),)
    except TypeError:
        dims = tuple(index(n) for n in value)
    if any(n < 0 for n in dims):
        raise ValueError(f"negative dimensions in shape {dims}")
    return dims


def broadcast(*shapes: Shape) -> Shape:
    """Return the common shape of operands of `shapes`.

    Raises:
        ValueError: the shapes do not broadcast.

    >>> broadcast((3, 1), (4,))
    (3, 4)
    """
    if len(shapes) == 2:  # the common cases of binary operations, without the loops below
        first, second = shapes
        if first == second or not second:
            return first
        if not first:
            return second
        if first[-len(second) :] == second:
            return first
        if second[-len(first) :] == first:
            return second
    length = max(map(len, shapes), default=0)
    result = [1] * length
    for operand in shapes:
        start = length - len(operand)
        for offset, extent in enumerate(operand):
            present = result[start + offset]
            if extent == present or extent == 1:
                continue
            if present != 1:
                raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast together")
            result[start + offset] = extent
    return tuple(result)


def broadcast_operands(*operands: Any) -> Shape:
    """Return the common shape of `operands`."""
    return broadcast(*map(shape, operands))


def normalize_axis(axis: Any, dims: int) -> int:
    """Return `axis` counted from the front.

    Raises:
        ValueError: an array of `dims` axes has no such axis.
    """
    number = index(axis)
    if not -dims <= number < dims:
        raise ValueError(f"axis {number} is out of bounds for an array of {dims} axes")
    return number % dims if dims else 0


def normalize_axes(axis: Any, dims: int) -> tuple[int, ...]:
    """Return `axis` (`None`, a number or a sequence of them) as a tuple counted from the front.

    Raises:
        ValueError: an axis is out of range or named twice.
    """
    if axis is None:
        return tuple(range(dims))
    given: Iterable[Any] = axis if isinstance(axis, Sequence) else (axis,)
    if hasattr(axis, "shape") and axis.shape:
        given = axis
    axes = tuple(normalize_axis(a, dims) for a in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


def reduced_shape(operand: Shape, axis: Any = None, keepdims: Any = False) -> Shape:
    """Return the shape that remains when `axis` is reduced."""
    axes = normalize_axes(axis, len(operand))
    if keepdims is True:
        return tuple(1 if i in axes else n for i, n in enumerate(operand))
    return tuple(n for i, n in enumerate(operand) if i not in axes)


def axis_length(operand: Shape, axis: Any) -> int:
    """Return the length along `axis`; of the flattened array if `axis` is None."""
    if axis is None:
        return numel(operand)
    return operand[normalize_axis(axis, len(operand))]


def ceil_log2(n: int) -> int:
    """Return the comparisons of a binary search among `n`: `ceil(log2(n))`, at least 1.

    >>> [ceil_log2(n) for n in (0, 1, 2, 3, 8, 9)]
    [1, 1, 1, 2, 3, 4]
    """
    return max(1, (n - 1).bit_length()) if n > 0 else 1
