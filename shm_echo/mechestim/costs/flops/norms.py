"""FLOPs of vector and matrix norms.

A vector norm is one pass over its elements, a matrix norm is one or two passes or a singular value
decomposition. `norm_cost`, `vector_norm_cost` and `matrix_norm_cost` are public in
`mechestim.flops`; `norm`, `vector_norm` and `matrix_norm` are the rules, with NumPy's
signatures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shm_echo.mechestim.costs.flops.dense import svdvals_cost
from shm_echo.mechestim.costs.operands import (
    Shape,
    as_shape,
    normalize_axes,
    numel,
    shape,
)

_ONE_PASS = (0, 1, 2, math.inf, -math.inf)
_MAX_OF_SUMS = (1, -1, math.inf, -math.inf)


def vector_norm_cost(shape: Sequence[int], ord: Any = None) -> int:
    """A vector norm over `numel` elements: `numel`; `2*numel` for a general order p.

    `ord` None, 0, 1, 2, inf and -inf are one pass; any other takes a power for each element too.

    >>> vector_norm_cost((100,)), vector_norm_cost((100,), ord=3)
    (100, 200)
    """
    return _vector(as_shape(shape), ord)


def _vector(dims: Shape, ord: Any) -> int:
    if isinstance(ord, str):
        raise ValueError(f"a vector has no norm of order {ord!r}")
    size = numel(dims)
    return max(1, size if ord is None or ord in _ONE_PASS else 2 * size)


def matrix_norm_cost(shape: Sequence[int], ord: Any = None) -> int:
    """A norm of every m x n matrix in a stack of `numel` elements.

    `2*numel` for None and "fro"; `numel` for 1, -1, inf and -inf; `m*n*min(m, n)` a matrix, a
    singular value decomposition, for 2, -2 and "nuc".

    >>> [matrix_norm_cost((6, 4), ord) for ord in ("fro", 1, 2)]
    [48, 24, 96]
    """
    return _matrix(as_shape(shape), ord)


def _matrix(dims: Shape, ord: Any) -> int:
    if len(dims) < 2:
        raise ValueError(f"a matrix norm needs two axes, the shape is {dims}")
    if isinstance(ord, str):
        if ord in ("fro", "f"):
            return max(1, 2 * numel(dims))
        if ord == "nuc":
            return max(1, numel(dims[:-2]) * svdvals_cost(dims[-2], dims[-1]))
    elif ord is None:
        return max(1, 2 * numel(dims))
    elif ord in (2, -2):
        return max(1, numel(dims[:-2]) * svdvals_cost(dims[-2], dims[-1]))
    elif ord in _MAX_OF_SUMS:
        return max(1, numel(dims))
    raise ValueError(f"a matrix has no norm of order {ord!r}")


def norm_cost(shape: Sequence[int], ord: Any = None) -> int:
    """Return the price of `linalg.norm` of an array of `shape` without an axis.

    One axis: a vector norm. Two axes: a matrix norm. `ord=None` of any other array is the 2-norm
    of all its elements, `2*numel`.

    >>> norm_cost((100,)), norm_cost((6, 4)), norm_cost((2, 3, 4))
    (100, 48, 48)
    """
    return _whole(as_shape(shape), ord)


def _whole(dims: Shape, ord: Any) -> int:
    if len(dims) == 2:
        return _matrix(dims, ord)
    if len(dims) == 1 or (not dims and ord is None):
        return _vector(dims, ord)
    if ord is None:
        return max(1, 2 * numel(dims))
    raise ValueError(f"an array of {len(dims)} axes has no norm of order {ord!r} without an axis")


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> int:
    """Vectors: `numel`, or `2*numel` for a general p. Matrices: see `matrix_norm_cost`.

    Source: the operation table of mechestim.
    """
    dims = shape(x)
    if axis is None:
        return _whole(dims, ord)
    axes = axes_of_norm(axis, len(dims))
    if len(axes) == 1:
        return _vector(dims, ord)
    if len(axes) != 2:
        raise ValueError(f"a norm goes along one axis or two, got axis={axis}")
    return _matrix(_last(dims, axes), ord)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> int:
    """`numel`; `2*numel` for an order other than None, 0, 1, 2, inf and -inf.

    Source: the operation table of mechestim.
    """
    dims = shape(x)
    if axis is not None:
        axes_of_norm(axis, len(dims))
    return _vector(dims, ord)


def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> int:
    """fro: `2*numel`; 1 and inf: `numel`; 2, -2 and nuc: `m*n*min(m, n)` a matrix.

    Source: the operation table of mechestim.
    """
    return _matrix(shape(x), ord)


def axes_of_norm(axis: Any, dims: int) -> tuple[int, ...]:
    """Return the axes that an `axis` argument names; NumPy truncates a single number."""
    return normalize_axes(axis if isinstance(axis, tuple) else int(axis), dims)


def _last(dims: Shape, axes: tuple[int, ...]) -> Shape:
    """Return `dims` with `axes` moved to the end."""
    return (*(n for i, n in enumerate(dims) if i not in axes), *(dims[i] for i in axes))
