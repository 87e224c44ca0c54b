"""The shape that an index selects, from shapes alone, and the prices of element writes.

Writing an element costs 1. A boolean mask costs its own number of elements: the number of True
elements depends on values, and prices do not.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import element


def is_mask(item: Any) -> bool:
    """Return True if an index consists of booleans."""
    return isinstance(item, bool) or element(item)[0] == "b"


def target_shape(shape: o.Shape, key: Any) -> o.Shape:
    """Return the shape of `x[key]` for `x` of `shape`, with every element of a mask selected.

    The axes of array indices come before those of slices: the number of elements is right, the
    order of the axes may differ from NumPy's.

    >>> target_shape((4, 5, 6), (slice(1, 3), 0))
    (2, 6)
    """
    items = _expanded(shape, key if isinstance(key, tuple) else (key,))
    sliced: list[int] = []
    gathered: list[o.Shape] = []
    axis = 0
    for item in items:
        if item is None:
            sliced.append(1)
        elif isinstance(item, slice):
            sliced.append(len(range(*item.indices(shape[axis]))))
            axis += 1
        elif is_mask(item):
            axis = _mask(shape, axis, item, gathered)
        elif o.ndim(item) == 0:
            _check_integer(index(item), shape, axis)
            axis += 1
        else:
            _check_integers(item)
            gathered.append(o.shape(item))
            axis += 1
    if not gathered:
        return tuple(sliced)
    return (*_joined(gathered), *sliced)


def _expanded(shape: o.Shape, items: tuple[Any, ...]) -> list[Any]:
    """Return `items` with the ellipsis, explicit or implied at the end, as full slices."""
    used = sum(_axes_used(item) for item in items)
    if used > len(shape):
        raise IndexError(f"{used} indices are too many for {len(shape)} axes")
    fill = [slice(None)] * (len(shape) - used)
    places = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can only have one ellipsis")
    at = places[0] if places else len(items)
    return [*items[:at], *fill, *items[at + 1 :]]


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, slice):
        return 1
    return o.ndim(item) if is_mask(item) else 1


def _mask(shape: o.Shape, axis: int, mask: Any, gathered: list[o.Shape]) -> int:
    """Append the axis that `mask` may select to `gathered`; return the axis after the mask."""
    covered = o.shape(mask)
    if covered != shape[axis : axis + len(covered)]:
        raise IndexError(f"a mask of shape {covered} does not fit {shape[axis:]}")
    gathered.append((o.numel(covered),))
    return axis + len(covered)


def _check_integer(position: int, shape: o.Shape, axis: int) -> None:
    if not -shape[axis] <= position < shape[axis]:
        raise IndexError(f"index {position} is out of bounds for axis {axis} of {shape[axis]}")


def _check_integers(item: Any) -> None:
    if o.size(item) and element(item)[0] not in "iuO":
        raise IndexError("arrays used as indices must be of integers or booleans")


def _joined(gathered: list[o.Shape]) -> o.Shape:
    """Return the common shape of several index arrays; the largest if it depends on values."""
    try:
        return o.broadcast(*gathered)
    except ValueError:
        return max(gathered, key=o.numel)  # a mask selects fewer elements than it has


def setitem(self: Any, key: Any, value: Any) -> int:
    """numel(target): the elements that `x[key]` selects; the numel of a mask.

    A field of a structured array, by name, has as many elements as the array.

    Source: the operation table of mechestim.
    """
    if isinstance(key, str) or (isinstance(key, list) and key and isinstance(key[0], str)):
        return o.size(self)
    return o.numel(target_shape(o.shape(self), key))


def fill(self: Any, value: Any) -> int:
    """numel(target): every element of the array.

    Source: the operation table of mechestim.
    """
    return o.size(self)


def put(a: Any, ind: Any, v: Any, mode: Any = "raise") -> int:
    """numel(target): the number of indices.

    Source: the operation table of mechestim.
    """
    return o.size(ind)


def place(arr: Any, mask: Any, vals: Any) -> int:
    """numel(target): the elements of the mask, as many as the array has.

    Source: the operation table of mechestim.
    """
    if o.size(mask) != o.size(arr):
        raise ValueError("mask and arr must have the same number of elements")
    return o.size(mask)


def putmask(a: Any, /, mask: Any, values: Any) -> int:
    """numel(target): the elements of the mask, as many as the array has.

    Source: the operation table of mechestim.
    """
    if o.size(mask) != o.size(a):
        raise ValueError("mask and a must have the same number of elements")
    return o.size(mask)


def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> int:
    """numel(target): every element of `dst`, also those that `where` leaves out.

    Source: the operation table of mechestim.
    """
    shape, source = o.shape(dst), o.shape(src)
    while len(source) > len(shape) and source[0] == 1:
        source = source[1:]  # NumPy drops leading axes of length 1 of the source
    for given in (source, o.shape(where)):
        if o.broadcast(shape, given) != shape:
            raise ValueError(f"an array of shape {given} does not broadcast into {shape}")
    return o.size(dst)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> int:
    """numel(target): the indices, broadcast against the other axes of the array.

    Source: the operation table of mechestim.
    """
    return o.numel(along_axis_shape(arr, indices, axis))


def along_axis_shape(arr: Any, indices: Any, axis: Any) -> o.Shape:
    """Return the shape of the elements that the two `along_axis` functions read or write."""
    shape, chosen = o.shape(arr), o.shape(indices)
    if axis is None:
        if len(chosen) != 1:
            raise ValueError("indices must have one dimension when axis is None")
        return chosen
    if len(shape) != len(chosen):
        raise ValueError("arr and indices must have the same number of dimensions")
    along = o.normalize_axis(axis, len(shape))
    others = (*shape[:along], 1, *shape[along + 1 :])
    return o.broadcast(others, chosen)


def fill_diagonal(a: Any, val: Any, wrap: Any = False) -> int:
    """numel(target): the diagonal, which restarts in a tall matrix if `wrap`.

    Source: the operation table of mechestim.
    """
    shape = o.shape(a)
    if len(shape) < 2:
        raise ValueError("array must be at least 2-d")
    if len(shape) > 2:
        if len(set(shape)) != 1:
            raise ValueError("all dimensions of the array must be of equal length")
        return shape[0]
    rows, columns = shape
    # NumPy writes every (columns + 1)-th element of the flattened matrix, up to `end`.
    end = rows * columns if wrap else min(rows, columns) * columns
    return -(-end // (columns + 1))
