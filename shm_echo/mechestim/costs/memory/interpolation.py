"""Upper bounds of memory for interpolation, differences, convolution and cross products."""

from __future__ import annotations

from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import floating, itemsize, promoted
from shm_echo.mechestim.costs.flops.interpolation import cross_shape
from shm_echo.mechestim.costs.memory.polynomials import coefficient_product
from shm_echo.mechestim.costs.memory.reductions import remaining


def convolved(a: Any, v: Any, mode: Any = "full") -> int:
    """convolve and correlate: at most both lengths together."""
    return coefficient_product(a, v)


def interpolated(x: Any, xp: Any, fp: Any, *_: Any, **__: Any) -> int:
    """interp: one number for each point."""
    return o.size(x) * floating(fp)


def differences(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> int:
    """diff: at most the array with the values at its ends."""
    extra = sum(o.size(v) for v in (prepend, append) if o.given(v))
    slices = 2 * o.size(a) // max(1, o.axis_length(o.shape(a), axis)) if extra else 0
    return (o.size(a) + extra + slices) * promoted(a, *filter(o.given, (prepend, append)))


def flat_differences(ary: Any, to_end: Any = None, to_begin: Any = None) -> int:
    """ediff1d: the differences, and the values at their ends."""
    return (o.size(ary) + o.size(to_end) + o.size(to_begin)) * max(8, itemsize(ary))


def gradients(f: Any, *_: Any, axis: Any = None, **__: Any) -> int:
    """gradient: an array like `f` for every axis."""
    return len(o.normalize_axes(axis, o.ndim(f))) * o.size(f) * floating(f)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> int:
    """trapezoid: one number for each slice."""
    return remaining(y, axis) * promoted(y, x if x is not None else dx, 0.0)


def trapezoid_scratch(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> int:
    """Scratch of trapezoid: the spacings, the sums of neighbours and their products."""
    spacings = 0 if x is None else o.size(x)
    return (3 * o.size(y) + spacings) * promoted(y, x if x is not None else dx, 0.0)


def crossed(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    """cross: a vector of 3, or one number, for each pair."""
    return o.numel(cross_shape(a, b, *args, **kwargs)) * promoted(a, b)


def crossed_scratch(a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    """Scratch of cross: products of components, and promoted copies of both."""
    each = promoted(a, b)
    return 2 * crossed(a, b, *args, **kwargs) + (o.size(a) + o.size(b)) * each


def interp_scratch(x: Any, xp: Any, fp: Any, *_: Any, **__: Any) -> int:
    """Scratch of interp: operands as floats, sorted if periodic, and the slopes."""
    return (o.size(x) + 6 * o.size(xp)) * 16
