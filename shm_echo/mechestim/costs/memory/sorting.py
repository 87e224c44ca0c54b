"""Upper bounds of memory for sorting, searching and sets."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import itemsize
from shm_echo.mechestim.costs.memory.bounds import INDEX, copy_of, first, second


def sorted_copy(a: Any, *_: Any, **__: Any) -> int:
    """sort and partition: the array again."""
    return copy_of(a)


def sorted_indices(a: Any, *_: Any, **__: Any) -> int:
    """argsort and argpartition: one index for each element."""
    return max(1, o.size(a)) * INDEX


def lexsorted(keys: Any, axis: Any = -1) -> int:
    """lexsort: one index for each item."""
    return o.numel(o.shape(keys)[1:]) * INDEX


def found(a: Any, v: Any, *_: Any, **__: Any) -> int:
    """searchsorted: one index for each query."""
    return o.size(v) * INDEX


def distinct(*args: Any, **kwargs: Any) -> int:
    """unique: the elements, and three indices for each: the most that its options return."""
    a = first(args, kwargs)
    return o.size(a) * (itemsize(a) + 3 * INDEX)


def both(*args: Any, **kwargs: Any) -> int:
    """Set operations: at most all elements of both, with their indices."""
    a, b = first(args, kwargs), second(args, kwargs)
    return (o.size(a) + o.size(b)) * (max(8, itemsize(a), itemsize(b)) + 2 * INDEX)


def both_scratch(*args: Any, **kwargs: Any) -> int:
    """Scratch of set operations: both sorted, joined, ordered and marked."""
    return 4 * both(*args, **kwargs)


def isin(element: Any, test_elements: Any, *_: Any, **__: Any) -> int:
    """isin: one answer for each element."""
    return o.size(element)


def membership_scratch(element: Any, test_elements: Any, *_: Any, **__: Any) -> int:
    """Scratch of isin: the sorted elements, or a table no larger than six times them."""
    return 4 * both(element, test_elements) + 8 * (o.size(element) + o.size(test_elements))
