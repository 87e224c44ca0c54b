"""Prices of differences, integrals, interpolation, convolution and spaced numbers."""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o


def interp(x: Any, xp: Any, fp: Any, *_: Any, **__: Any) -> int:
    """n*ceil(log2(m)) for n points looked up among m.

    Source: the operation table of mechestim.
    """
    if o.ndim(xp) != 1 or o.shape(xp) != o.shape(fp) or o.size(xp) == 0:
        raise ValueError("xp and fp have to be vectors of one length, not empty")
    return o.size(x) * o.ceil_log2(o.size(xp))


def diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> int:
    """numel(input) with the values at both ends, for every order `n`.

    Source: the operation table of mechestim.
    """
    if index(n) < 0:
        raise ValueError("the order must not be negative")
    shape = o.shape(a)
    if index(n) == 0:
        return o.numel(shape)
    if not shape:
        raise ValueError("diff needs at least one dimension")
    along = o.normalize_axis(axis, len(shape))
    slices = o.numel(shape[:along] + shape[along + 1 :])
    return o.numel(shape) + slices * (_extra(prepend, along) + _extra(append, along))


def _extra(values: Any, axis: int) -> int:
    """Return the length along `axis` of a value that is prepended or appended."""
    if not o.given(values):
        return 0
    shape = o.shape(values)
    return shape[axis] if shape else 1


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> int:
    """numel(input).

    Source: the operation table of mechestim.
    """
    return o.size(ary)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> int:
    """numel(input), for any number of axes.

    Source: the operation table of mechestim.
    """
    axes = o.normalize_axes(axis, o.ndim(f))
    if len(varargs) > 1 and len(varargs) != len(axes):
        raise TypeError("give one spacing, or one for each axis")
    if any(o.shape(f)[i] < index(edge_order) + 1 for i in axes):
        raise ValueError("the array is too small for a gradient of this order")
    return o.size(f)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> int:
    """numel(input).

    Source: the operation table of mechestim.
    """
    o.normalize_axis(axis, o.ndim(y))
    return o.size(y)


def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2.0) -> int:
    """numel(input).

    Source: the operation table of mechestim.
    """
    o.normalize_axis(axis, o.ndim(p))
    return o.size(p)


def convolve(a: Any, v: Any, mode: Any = "full") -> int:
    """n*m for vectors of n and m elements, for every mode.

    Source: the operation table of mechestim.
    """
    if o.ndim(a) > 1 or o.ndim(v) > 1 or not o.size(a) or not o.size(v):
        raise ValueError("a and v have to be vectors, not empty")
    return o.size(a) * o.size(v)


def cross_shape(
    a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None
) -> o.Shape:
    """Return the shape of a cross product, with its vectors last."""
    if axis is not None:
        axisa = axisb = axis
    first, second = o.shape(a), o.shape(b)
    i, j = o.normalize_axis(axisa, len(first)), o.normalize_axis(axisb, len(second))
    lengths = {first[i], second[j]}
    if not first or not second or not lengths <= {2, 3}:
        raise ValueError("a cross product is of vectors of 2 or 3 elements")
    batch = o.broadcast(first[:i] + first[i + 1 :], second[:j] + second[j + 1 :])
    return batch if lengths == {2} else (*batch, 3)


def cross(
    a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None
) -> int:
    """numel(output).

    Source: the operation table of mechestim.
    """
    return o.numel(cross_shape(a, b, axisa, axisb, axisc, axis))


def geomspace(start: Any, stop: Any, num: Any = 50, *_: Any, **__: Any) -> int:
    """num, per pair of ends when these are arrays.

    Source: the operation table of mechestim.
    """
    return _count(num) * o.numel(o.broadcast_operands(start, stop))


def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, base: Any = 10.0, *_: Any, **__: Any
) -> int:
    """num, per pair of ends when these are arrays.

    Source: the operation table of mechestim.
    """
    return _count(num) * o.numel(o.broadcast_operands(start, stop, base))


def _count(num: Any) -> int:
    count = index(num)
    if count < 0:
        raise ValueError("num must not be negative")
    return count
