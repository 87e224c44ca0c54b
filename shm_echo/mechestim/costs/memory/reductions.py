"""Upper bounds of memory for reductions and running totals."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import floating, promoted
from shm_echo.mechestim.costs.memory.bounds import INDEX


def remaining(a: Any, axis: Any) -> int:
    """Return the number of elements that a reduction of `a` over `axis` leaves."""
    shape = o.shape(a)
    if axis is None or not shape:
        return 1
    return o.numel(o.reduced_shape(shape, axis))


def total(a: Any, axis: Any = None, dtype: Any = None, *_: Any, **__: Any) -> int:
    """sum, prod, mean, std and var: one number for each slice."""
    return remaining(a, axis) * max(promoted(a, dtype=dtype), floating(a))


def extremum(a: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """max, min, ptp and median: one number for each slice."""
    return remaining(a, axis) * floating(a)


def positions(a: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """argmax, any, count_nonzero and similar: one index or truth value for each slice."""
    return remaining(a, axis) * INDEX


def quantile(a: Any, q: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """One number for each slice and quantile."""
    return remaining(a, axis) * o.size(q) * floating(a)


def average(a: Any, axis: Any = None, weights: Any = None, *_: Any, **__: Any) -> int:
    """One number for each slice, and the sum of the weights, which `returned` adds."""
    each = floating(a) if weights is None else promoted(a, weights, 0.0)
    return 2 * remaining(a, axis) * each


def cumulative(a: Any, axis: Any = None, dtype: Any = None, *_: Any, **__: Any) -> int:
    """Running totals: one for each element."""
    return o.size(a) * promoted(a, 0, dtype=dtype)


def cumulative_standard(x: Any, /, *, axis: Any = None, dtype: Any = None, **_: Any) -> int:
    """Running totals, with an initial value in front of each slice."""
    count = o.size(x) + (1 if axis is None else remaining(x, axis))
    return count * max(8, promoted(x, dtype=dtype))
