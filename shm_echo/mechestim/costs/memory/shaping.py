"""Upper bounds of memory for joining, repeating, gathering and rearranging, which are all free.

An operation that always returns a view takes no memory; one that may copy takes that of the copy.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import common, describe, element, itemsize, promoted
from shm_echo.mechestim.costs.flops.indexing import along_axis_shape
from shm_echo.mechestim.costs.memory.bounds import INDEX, copy_of, first


def joined(*args: Any, dtype: Any = None, out: Any = None, **kwargs: Any) -> int:
    """concatenate, the stacks and block's innermost step: all elements, in the widest dtype."""
    items = list(first(args, kwargs))
    if out is not None:
        return 0
    each = _common(items) if dtype is None else describe(dtype)[1]
    return sum(map(o.size, items)) * each


def concatenated(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, **_: Any
) -> int:
    """concatenate and concat."""
    return joined(arrays, dtype=dtype, out=out)


def _common(items: list[Any]) -> int:
    width = common([element(x) for x in items])[1]
    return width if len({element(x) for x in items}) <= 1 else max(8, width)


def block(arrays: Any) -> int:
    """block: all leaves' elements, in the widest dtype."""
    return joined(_leaves(arrays))


def _leaves(arrays: Any) -> list[Any]:
    if isinstance(arrays, list):
        return [leaf for item in arrays for leaf in _leaves(item)]
    return [arrays]


def appended(arr: Any, values: Any, axis: Any = None) -> int:
    """append: both arrays' elements."""
    return joined([arr, values])


def inserted(arr: Any, obj: Any, values: Any, axis: Any = None) -> int:
    """insert: the array's elements and the new slices."""
    shape = o.shape(arr)
    extra = o.size(obj) if not isinstance(obj, slice) else o.numel(shape)
    if axis is None or not shape:
        return (o.numel(shape) + max(extra, o.size(values))) * itemsize(arr)
    along = o.normalize_axis(axis, len(shape))
    slices = o.numel(shape[:along] + shape[along + 1 :])
    return (o.numel(shape) + max(slices * extra, o.size(values))) * itemsize(arr)


def repeated(a: Any, repeats: Any, axis: Any = None) -> int:
    """repeat: the array's elements, each as often as the largest of `repeats`."""
    return o.size(a) * _largest(repeats) * itemsize(a)


def _largest(values: Any) -> int:
    """Return the largest of an operand of counts, whose values size the result."""
    if o.ndim(values) == 0:
        return max(0, index(values))
    if o.size(values) == 0:
        return 0
    return int(values.max()) if hasattr(values, "max") else int(max(values))


def tiled(A: Any, reps: Any) -> int:
    """tile: the array's elements times the product of `reps`."""
    times = [index(n) for n in reps] if o.ndim(reps) else [index(reps)]
    return o.size(A) * o.numel(times) * itemsize(A)


def resized(a: Any, new_shape: Any) -> int:
    """resize: the new shape's elements."""
    return o.numel(o.as_shape(new_shape)) * itemsize(a)


def resized_scratch(a: Any, new_shape: Any) -> int:
    """Scratch of resize: the array joined to itself until it is large enough."""
    return resized(a, new_shape) + copy_of(a)


def padded(array: Any, pad_width: Any, mode: Any = "constant", **_: Any) -> int:
    """pad: every axis, longer by the padding before and after it."""
    shape = o.shape(array)
    widths = _widths(pad_width, len(shape))
    longer = [n + before + after for n, (before, after) in zip(shape, widths, strict=True)]
    return o.numel(longer) * itemsize(array)


def _widths(pad_width: Any, axes: int) -> list[tuple[int, int]]:
    """Return the padding before and after each axis, for any spelling of `pad_width`."""
    if isinstance(pad_width, dict):
        none = [(0, 0)] * axes
        for axis, width in pad_width.items():
            none[axis] = _widths(width, 1)[0]
        return none
    shape = o.shape(pad_width)
    if o.numel(shape) == 1:
        while o.ndim(pad_width):
            pad_width = pad_width[0]
        return [(index(pad_width), index(pad_width))] * axes
    if len(shape) == 1 and shape[0] == 2:
        return [(index(pad_width[0]), index(pad_width[1]))] * axes
    rows = [pad_width[0]] * axes if shape[0] == 1 else list(pad_width)
    return [(index(row[0]), index(row[-1])) for row in rows]


def taken(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> int:
    """take: the slices that `indices` select."""
    if out is not None:
        return 0
    shape, chosen = o.shape(a), o.shape(indices)
    if axis is None or not shape:
        return o.numel(chosen) * itemsize(a)
    along = o.normalize_axis(axis, len(shape))
    return o.numel((*shape[:along], *chosen, *shape[along + 1 :])) * itemsize(a)


def taken_along(arr: Any, indices: Any, axis: Any = -1) -> int:
    """take_along_axis: the indices, broadcast against the other axes."""
    return o.numel(along_axis_shape(arr, indices, axis)) * itemsize(arr)


def along_scratch(arr: Any, indices: Any, *_: Any, **__: Any) -> int:
    """Scratch of the two along_axis functions: the indices, and a range for every other axis."""
    return (o.size(indices) + sum(o.shape(arr))) * INDEX


def compressed(condition: Any, a: Any, axis: Any = None, out: Any = None) -> int:
    """compress: at most the whole array."""
    return 0 if out is not None else copy_of(a)


def extracted(condition: Any, arr: Any) -> int:
    """extract: at most the whole array."""
    return copy_of(arr)


def chosen(a: Any, choices: Any, out: Any = None, mode: Any = "raise") -> int:
    """choose: the broadcast of the selector and all choices."""
    if out is not None:
        return 0
    items = list(choices)
    return o.numel(o.broadcast_operands(a, *items)) * _common(items)


def selected(condlist: Any, choicelist: Any, default: Any = 0) -> int:
    """select: the broadcast of all conditions and choices."""
    choices = [*choicelist, default]
    full = o.broadcast(o.broadcast_operands(*condlist), o.broadcast_operands(*choices))
    return o.numel(full) * promoted(*choices)


def where(condition: Any, x: Any = None, y: Any = None, /) -> int:
    """where: the broadcast of all three; of a condition alone, its indices."""
    if x is None and y is None:
        return indices_of(condition)
    return o.numel(o.broadcast_operands(condition, x, y)) * promoted(x, y)


def nonzero_scratch(filt: Any, *_: Any, **__: Any) -> int:
    """Scratch of trim_zeros: the indices of the elements that are not 0."""
    return indices_of(filt)


def indices_of(a: Any) -> int:
    """nonzero, argwhere and flatnonzero: at most one index per axis and element."""
    return max(1, o.ndim(a)) * o.size(a) * INDEX


def diagonal_matrix(v: Any, k: Any = 0) -> int:
    """diag: a square matrix from a vector, a copy of the diagonal from a matrix."""
    shape = o.shape(v)
    if len(shape) == 1:
        return (shape[0] + abs(index(k))) ** 2 * itemsize(v)
    return min(shape) * itemsize(v) if shape else 0


def flat_diagonal_matrix(v: Any, k: Any = 0) -> int:
    """diagflat: a square matrix with all elements on its diagonal."""
    return (o.size(v) + abs(index(k))) ** 2 * itemsize(v)


def raveled_index(multi_index: Any, *_: Any, **__: Any) -> int:
    """ravel_multi_index: one index per coordinate set."""
    return o.numel(o.broadcast_operands(*multi_index)) * INDEX


def unraveled_index(indices: Any, shape: Any, order: Any = "C") -> int:
    """unravel_index: one index per axis."""
    return o.size(indices) * len(o.as_shape(shape)) * INDEX


def unpacked(a: Any, /, axis: Any = None, count: Any = None, bitorder: Any = "big") -> int:
    """unpackbits: eight elements for each byte, or `count` along the axis, padded with zeros."""
    shape = o.shape(a)
    if count is None or index(count) < 0:
        return 8 * o.numel(shape)
    slices = 1 if axis is None else o.numel(shape) // max(1, o.axis_length(shape, axis))
    return slices * index(count)


def ix(*args: Any) -> int:
    """ix_: views of index vectors, or the indices of True in masks."""
    return sum(map(o.size, args)) * INDEX


def broadcast_views(*args: Any, subok: Any = False) -> int:
    """broadcast_arrays: views."""
    return 0


def leaves(*arys: Any) -> int:
    """atleast_1d and similar: copies of operands that are not arrays."""
    return sum(copy_of(a) for a in arys if not o.is_array(a))


def block_matrix(obj: Any, ldict: Any = None, gdict: Any = None) -> int:
    """bmat: all leaves' elements; a str names variables of the caller, whose sizes are unknown."""
    return 0 if isinstance(obj, str) else block(_listed(obj))


def _listed(obj: Any) -> Any:
    return [_listed(item) for item in obj] if isinstance(obj, (list, tuple)) else obj


def chosen_scratch(a: Any, choices: Any, *_: Any, **__: Any) -> int:
    """Scratch of choose: the selector as indices, and the choices in one type."""
    return o.size(a) * INDEX + chosen(a, choices) * 2


def compress_scratch(condition: Any, a: Any, axis: Any = None, out: Any = None) -> int:
    """Scratch of compress: the condition's indices and a flat copy."""
    return o.size(condition) * (INDEX + 1) + copy_of(a)


def extract_scratch(condition: Any, arr: Any) -> int:
    """Scratch of extract: the condition's indices and a flat copy."""
    return compress_scratch(condition, arr)


def along_axis(func1d: Any, axis: Any, arr: Any, *_: Any, **__: Any) -> int:
    """apply_along_axis: twice the array, for functions that return no more than they receive."""
    return 2 * copy_of(arr)


def over_axes(func: Any, a: Any, axes: Any) -> int:
    """apply_over_axes: at most twice the array."""
    return 2 * copy_of(a)


def padded_scratch(array: Any, pad_width: Any, mode: Any = "constant", **_: Any) -> int:
    """Scratch of pad: edges that are computed; for `empty` and `constant` none."""
    return padded(array, pad_width)


def selected_scratch(condlist: Any, choicelist: Any, default: Any = 0) -> int:
    """Scratch of select: every choice and every condition, in one type and as views."""
    each = promoted(*choicelist, default)
    return sum(o.size(c) for c in choicelist) * each + sum(o.size(c) for c in condlist)


def taken_scratch(a: Any, indices: Any, *_: Any, **__: Any) -> int:
    """Scratch of take: the indices converted, and the array made contiguous."""
    return o.size(indices) * INDEX + copy_of(a)
