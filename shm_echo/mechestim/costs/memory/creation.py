"""Upper bounds of the memory of new arrays. Their creation is free.

The result for an invalid argument does not matter, because NumPy rejects the call.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

from shm_echo.mechestim.costs import operands as o
from shm_echo.mechestim.costs.dtypes import WIDEST, describe, floating, itemsize
from shm_echo.mechestim.costs.memory.bounds import INDEX

_PAIR = 2  # words of a complex number, which real ends may turn into


def _bytes(shape: o.Shape, dtype: Any) -> int:
    return o.numel(shape) * describe(dtype)[1]


def filled(shape: Any, dtype: Any = None, *_: Any, **__: Any) -> int:
    """zeros, ones and empty: the shape's elements."""
    return _bytes(o.as_shape(shape), dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None, *_: Any, **__: Any) -> int:
    """full: the shape's elements, of the fill value's dtype if none is named."""
    each = itemsize(fill_value) if dtype is None else describe(dtype)[1]
    return o.numel(o.as_shape(shape)) * each


def filled_like(
    prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None,
    **_: Any,
) -> int:  # fmt: skip
    """zeros_like, ones_like and empty_like."""
    return _like(prototype, dtype, shape)


def named_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None, **_: Any
) -> int:
    """zeros_like and ones_like, whose array parameter is named `a`."""
    return _like(a, dtype, shape)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True,
    shape: Any = None, **_: Any,
) -> int:  # fmt: skip
    """full_like: the model's elements, of its dtype."""
    return _like(a, dtype, shape)


def _like(model: Any, dtype: Any, shape: Any) -> int:
    count = o.size(model) if shape is None else o.numel(o.as_shape(shape))
    return count * (itemsize(model) if dtype is None else describe(dtype)[1])


def eye(N: Any, M: Any = None, k: Any = 0, dtype: Any = float, *_: Any, **__: Any) -> int:
    """eye and tri: N x M elements; tri takes fractions."""
    rows: int = math.ceil(N)
    columns: int = rows if M is None else math.ceil(M)
    return max(0, rows) * max(0, columns) * describe(dtype)[1]


def identity(n: Any, dtype: Any = None, **_: Any) -> int:
    """identity: n x n elements."""
    return index(n) ** 2 * describe(dtype)[1]


def triangle(m: Any, k: Any = 0) -> int:
    """tril and triu: a copy, with single rows made square."""
    shape = o.shape(m)
    count = shape[0] ** 2 if len(shape) == 1 else o.numel(shape)
    return count * itemsize(m)


def triangle_mask(m: Any, k: Any = 0) -> int:
    """Scratch of tril and triu: a mask of the matrix and a zero."""
    shape = o.shape(m)
    return shape[-1] * shape[-2 if len(shape) > 1 else -1] + WIDEST


def arange(*args: Any, dtype: Any = None, **kwargs: Any) -> int:
    """arange: as many steps as fit."""
    limits = list(args[:3])
    if len(args) > 3:
        dtype = args[3]
    start = kwargs.get("start", limits[0] if limits else 0)
    stop = kwargs.get("stop", limits[1] if len(limits) > 1 else None)
    if stop is None:
        start, stop = 0, start
    step = kwargs.get("step", limits[2] if len(limits) > 2 else 1)
    step = 1 if step is None else step
    count = max(0, int(-((start - stop) // step))) + 1
    each = max(map(itemsize, (start, stop, step))) if dtype is None else describe(dtype)[1]
    return count * each


def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, retstep: Any = False,
    dtype: Any = None, *_: Any, **__: Any,
) -> int:  # fmt: skip
    """linspace: num per pair of ends, and the steps if asked for."""
    each = floating(start, stop) if dtype is None else max(8, describe(dtype)[1])
    ends = o.numel(o.broadcast_operands(start, stop))
    return (index(num) + 1) * ends * each


def geomspace(start: Any, stop: Any, num: Any = 50, *_: Any, **__: Any) -> int:
    """geomspace: num per pair of ends, which may turn complex."""
    return (
        (index(num) + 1)
        * o.numel(o.broadcast_operands(start, stop))
        * _PAIR
        * floating(start, stop)
    )


def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: Any = True, base: Any = 10.0, *_: Any, **__: Any
) -> int:
    """logspace: num per pair of ends."""
    each = _PAIR * floating(start, stop, base)
    return (index(num) + 1) * o.numel(o.broadcast_operands(start, stop, base)) * each


def array(*args: Any, **kwargs: Any) -> int:
    """array, asarray and similar functions: a full copy, also where NumPy makes none."""
    a = args[0] if args else kwargs["object"] if "object" in kwargs else kwargs["a"]
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    try:
        shape = (*(1,) * index(kwargs.get("ndmin", 0)), *o.shape(a))
    except ValueError:  # ragged: an object array of the outer items, at most one for each leaf
        return _leaves(a) * INDEX
    return o.numel(shape) * (itemsize(a) if dtype is None else _text_wide(a, dtype))


def _text_wide(a: Any, dtype: Any) -> int:
    """Return the bytes per element of `a` as `dtype`; str and bytes fit the longest item."""
    kind, size = describe(dtype)
    if kind in "US" and size <= 4:  # without a length: 128 characters hold any number as text
        return max(size, 4 * 128, 4 * itemsize(a))
    return size


def _leaves(a: Any) -> int:
    if isinstance(a, (list, tuple)):
        return sum(map(_leaves, a))
    return max(1, o.size(a))


def astype(x: Any, dtype: Any, /, *_: Any, **__: Any) -> int:
    """astype: a copy in full, of the new dtype."""
    return o.size(x) * _text_wide(x, dtype)


def frombuffer(*_: Any, **__: Any) -> int:
    """frombuffer: a view of the caller's bytes."""
    return 0


def fromstring(string: Any, dtype: Any = float, count: Any = -1, **_: Any) -> int:
    """fromstring: at most one element for every two characters, a digit and a separator."""
    return (len(string) + 1) * describe(dtype)[1]


def fromiter(iter: Any, dtype: Any, count: Any = -1, **_: Any) -> int:
    """fromiter: the count, or the length of the iterable; 0 if neither is known."""
    known = index(count) if index(count) >= 0 else getattr(iter, "__len__", lambda: 0)()
    return int(known) * describe(dtype)[1]


def fromfunction(function: Any, shape: Any, *, dtype: Any = float, **_: Any) -> int:
    """fromfunction: the coordinate grids for the function, and an array as large as one."""
    dims = o.as_shape(shape)
    return (len(dims) + 1) * o.numel(dims) * WIDEST


def indices(dimensions: Any, dtype: Any = int, sparse: Any = False) -> int:
    """indices: a grid of coordinates per axis."""
    dims = o.as_shape(dimensions)
    count = sum(dims) if sparse else len(dims) * o.numel(dims)
    return count * describe(dtype)[1]


def meshgrid(*xi: Any, copy: Any = True, sparse: Any = False, indexing: Any = "xy") -> int:
    """meshgrid: a grid per vector; views of the vectors without `copy`."""
    sizes = [o.size(x) for x in xi]
    if not copy:
        return 0
    grids = sizes if sparse else [math.prod(sizes)] * len(sizes)
    return sum(n * itemsize(x) for n, x in zip(grids, xi, strict=True))


def vander(x: Any, N: Any = None, increasing: Any = False) -> int:
    """vander: len(x) x N elements."""
    columns = o.size(x) if N is None else index(N)
    return o.size(x) * columns * max(8, itemsize(x))


def window(M: Any, *_: Any, **__: Any) -> int:
    """A window: one float per point."""
    return max(1, math.ceil(float(M))) * 8


def window_scratch(M: Any, *_: Any, **__: Any) -> int:
    """Scratch of a window: the points, and the terms of the sum."""
    return 6 * window(M)


def mask_indices(n: Any, mask_func: Any, k: Any = 0) -> int:
    """mask_indices: two indices for each of n x n elements."""
    return 2 * index(n) ** 2 * INDEX


def square_mask(n: Any, *_: Any, **__: Any) -> int:
    """Scratch of mask_indices: n x n numbers, and the results of the caller's function."""
    return 3 * index(n) ** 2 * INDEX


def triangle_indices(n: Any, k: Any = 0, m: Any = None) -> int:
    """tril_indices and triu_indices: two indices for each of n x m elements."""
    rows = index(n)
    return 2 * rows * (rows if m is None else index(m)) * INDEX


def triangle_indices_from(arr: Any, k: Any = 0) -> int:
    """tril_indices_from and triu_indices_from: two indices for each element."""
    return 2 * o.size(arr) * INDEX


def diag_indices(n: Any, ndim: Any = 2) -> int:
    """diag_indices: one array of n indices, ndim times."""
    return index(ndim) * index(n) * INDEX


def diag_indices_from(arr: Any) -> int:
    """diag_indices_from: one array of indices along the diagonal, ndim times."""
    return o.ndim(arr) * o.shape(arr)[0] * INDEX
