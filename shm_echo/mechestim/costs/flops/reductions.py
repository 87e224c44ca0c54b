"""Prices of reductions: one FLOP for each element of the input.

`numel(input)`, for every axis; twice that for the standard deviation and the variance, which
pass over the data for the mean and again for the deviations. A symmetric input is charged for its
unique elements. Running totals, such as cumsum, are priced like the total.

NumPy reads an axis in two ways, and so do these rules. Where a ufunc reduces, several axes come
in a tuple, and most functions take axis 0 of a 0-d array; averages and quantiles take any
sequence of axes, and of a 0-d array none.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o


def _folded(
    a: Any,
    axis: Any,
    out: Any = None,
    keepdims: Any = False,
    where: Any = True,
    scalar_axis: bool = True,
) -> int:
    """Return the unique elements of `a`, after checking the arguments of a ufunc's reduction.

    `scalar_axis` is True if a 0-d array has an axis 0, as NumPy treats means with a mask.
    """
    if out is None and where is True:
        if axis is None:
            return o.unique(a)
        if type(axis) is int and -o.ndim(a) <= axis < o.ndim(a):
            return o.unique(a)
    shape = o.shape(a)
    if isinstance(axis, bool):
        raise TypeError("axis has to be an integer or a tuple of integers")
    if axis is not None and not isinstance(axis, tuple):
        axis = index(axis)
        shape = shape or ((1,) if scalar_axis else ())
    axes = o.normalize_axes(axis, len(shape))
    if out is not None and keepdims is False:
        left = tuple(n for i, n in enumerate(shape) if i not in axes)
        if o.shape(out) != left:
            raise ValueError(f"out has shape {o.shape(out)}; the result has {left}")
    if where is not True and o.broadcast(o.shape(a), o.shape(where)) != o.shape(a):
        raise ValueError(f"where has shape {o.shape(where)}, a has {o.shape(a)}")
    return o.unique(a)


def _gathered(a: Any, axis: Any) -> int:
    """Return the unique elements of `a`, after checking that `axis` is one or several axes."""
    o.normalize_axes(axis, o.ndim(a))
    return o.unique(a)


def total(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *_: Any,
    where: Any = True, **__: Any,
) -> int:  # fmt: skip
    """numel(input), for sum and prod and the nan-variants of these and of mean.

    Source: the operation table of mechestim.
    """
    return _folded(a, axis, out, keepdims, where)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
    where: Any = True,
) -> int:  # fmt: skip
    """numel(input).

    Source: the operation table of mechestim.
    """
    return _folded(a, axis, out, keepdims, where, scalar_axis=where is not True)


def extremum(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *_: Any,
    where: Any = True, **__: Any,
) -> int:  # fmt: skip
    """numel(input), for max, min, any, all, ptp and their nan-variants.

    Source: the operation table of mechestim.
    """
    return _folded(a, axis, out, keepdims, where)


def middle(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False
) -> int:
    """numel(input), for median.

    Source: the operation table of mechestim.
    """
    return _gathered(a, axis)


def quantile(a: Any, q: Any, axis: Any = None, *_: Any, **__: Any) -> int:
    """numel(input), for any number of percentiles or quantiles.

    Source: the operation table of mechestim.
    """
    o.shape(q)
    return _gathered(a, axis)


def deviation(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, **__: Any,
) -> int:  # fmt: skip
    """2*numel(input): one pass for the mean and one for the squared deviations from it.

    Source: the operation table of mechestim.
    """
    return 2 * _folded(a, axis, out, keepdims, where, scalar_axis=where is not True)


def nan_deviation(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
    keepdims: Any = False, *, where: Any = True, **__: Any,
) -> int:  # fmt: skip
    """2*numel(input): one pass for the mean and one for the squared deviations from it.

    Source: the operation table of mechestim.
    """
    return 2 * _folded(a, axis, out, keepdims, where)


def position(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> int:
    """numel(input), for argmax, argmin and their nan-variants, which take one axis.

    Source: the operation table of mechestim.
    """
    _check_axis(a, axis)
    return o.unique(a)


def cumulative(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> int:
    """numel(input), for running sums and products.

    Source: the operation table of mechestim.
    """
    o.check_running_out(out)
    _check_axis(a, axis)
    return o.unique(a)


def cumulative_standard(x: Any, /, *, axis: Any = None, out: Any = None, **_: Any) -> int:
    """numel(input), for the array-API spelling, which needs an axis beyond one dimension.

    Source: the operation table of mechestim.
    """
    o.check_running_out(out)
    if axis is None and o.ndim(x) > 1:
        raise ValueError("axis is needed for an array of more than one dimension")
    _check_axis(x, axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis)
    return o.unique(x)


def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> int:
    """numel(input).

    Source: the operation table of mechestim.
    """
    return _folded(a, axis)


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *, keepdims: Any = False
) -> int:
    """numel(input), with or without weights.

    Source: the operation table of mechestim.
    """
    if weights is not None and o.shape(weights) != o.shape(a):
        shape = o.shape(a)
        if axis is None:
            raise TypeError("axis is needed when a and weights differ in shape")
        axes = o.normalize_axes(axis, len(shape))
        if o.shape(weights) != tuple(shape[i] for i in axes):
            raise ValueError("the shape of weights is not that of a along axis")
    return _gathered(a, axis)


def _check_axis(a: Any, axis: Any) -> None:
    """Check that `axis` is None or one axis of `a`.

    Raises:
        TypeError: `axis` is no integer.
        ValueError: `a` has no such axis.
    """
    if isinstance(axis, bool):
        raise TypeError("axis has to be an integer")
    if axis is not None:
        o.normalize_axis(axis, o.ndim(a) or 1)
