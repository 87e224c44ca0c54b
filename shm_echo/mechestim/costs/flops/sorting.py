"""Prices of sorting, searching and sets, by comparisons.

A sort of `n` items is `n*ceil(log2(n))` comparisons, a binary search `ceil(log2(n))`; the
logarithm is at least 1. Symmetry does not make a sort cheaper.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o


def sort_cost(n: int) -> int:
    """`n*ceil(log2(n))`: comparisons that put `n` items in order."""
    return n * o.ceil_log2(n)


def search_cost(queries: int, n: int) -> int:
    """`queries*ceil(log2(n))`: comparisons that place each query among `n` sorted items."""
    return queries * o.ceil_log2(n)


def sort(a: Any, axis: Any = -1, *_: Any, **__: Any) -> int:
    """n*ceil(log2(n)) per slice, n the length along `axis`, or the size of the array if it is None.

    Source: the operation table of mechestim.
    """
    shape = o.shape(a)
    return o.numel(shape) * o.ceil_log2(o.axis_length(shape, axis))


def argsort(a: Any, axis: Any = -1, *_: Any, **__: Any) -> int:
    """As sort; a 0-d array is taken as one of length 1.

    Source: the operation table of mechestim.
    """
    return sort(a, axis) if o.ndim(a) else sort((a,), axis)


def partition(a: Any, kth: Any, axis: Any = -1, *_: Any, **__: Any) -> int:
    """n per slice, that is numel(input), for every `kth`.

    Source: expected comparisons of quickselect, to first order.
    """
    return _partition(o.shape(a), kth, axis)


def argpartition(a: Any, kth: Any, axis: Any = -1, *_: Any, **__: Any) -> int:
    """As partition; a 0-d array is taken as one of length 1.

    Source: the operation table of mechestim.
    """
    return _partition(o.shape(a) or (1,), kth, axis)


def _partition(shape: o.Shape, kth: Any, axis: Any) -> int:
    length = o.axis_length(shape, axis)
    if isinstance(kth, int) and o.numel(shape) and not -length <= kth < length:
        raise ValueError(f"kth {kth} is out of bounds for a length of {length}")
    return o.numel(shape)


def lexsort(keys: Any, axis: Any = -1) -> int:
    """k*n*ceil(log2(n)) for k keys of n items each, per slice along `axis`.

    Source: the operation table of mechestim.
    """
    k, *rest = o.shape(keys)
    shape = tuple(rest)
    if k == 0:
        raise TypeError("lexsort needs at least one key")
    if not shape:
        o.normalize_axis(axis, 1)
        return k  # keys that are single numbers
    return k * o.numel(shape) * o.ceil_log2(o.axis_length(shape, index(axis)))


def searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> int:
    """m*ceil(log2(n)) for m queries into n sorted items.

    Source: the operation table of mechestim.
    """
    if o.ndim(a) != 1:
        raise ValueError("the searched array must have one dimension")
    return search_cost(o.size(v), o.size(a))


def unique(ar: Any, *_: Any, **kwargs: Any) -> int:
    """n*ceil(log2(n)), n being the number of elements.

    Source: the operation table of mechestim.
    """
    axis = kwargs.get("axis")
    if axis is not None:
        o.normalize_axis(axis, o.ndim(ar))
    return sort_cost(o.size(ar))


def unique_standard(x: Any) -> int:
    """n*ceil(log2(n)), for the array-API spellings of unique.

    Source: the operation table of mechestim.
    """
    return sort_cost(o.size(x))


def set_operation(ar1: Any, ar2: Any, *_: Any, **__: Any) -> int:
    """(n+m)*ceil(log2(n+m)) for sets of n and m elements: one sort of both.

    Source: the operation table of mechestim.
    """
    return sort_cost(o.size(ar1) + o.size(ar2))


def isin(element: Any, test_elements: Any, *_: Any, **__: Any) -> int:
    """(n+m)*ceil(log2(n+m)) for n elements looked up among m.

    Source: the operation table of mechestim.
    """
    return sort_cost(o.size(element) + o.size(test_elements))
