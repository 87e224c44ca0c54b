"""Upper bounds of the memory that `linalg` takes, with the signatures of its functions.

LAPACK works on one matrix of a stack at a time, in a copy; the operands of a stack may be converted
to floats first. The bound of the workspace of one m x n matrix is `8*min(m, n)^2` numbers and 256
for each row and column, more than any LAPACK driver that NumPy calls requests.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs.dtypes import floating
from shm_echo.mechestim.costs.flops.dense import square, stack
from shm_echo.mechestim.costs.flops.linalg import cross as vectors
from shm_echo.mechestim.costs.flops.linalg import solved_shapes
from shm_echo.mechestim.costs.flops.norms import axes_of_norm
from shm_echo.mechestim.costs.operands import (
    ndim,
    numel,
    shape,
    size,
)

COMPLEX = 16
"""Bytes of a complex number: real operands may have complex results."""


def _width(*operands: Any) -> int:
    """Return the bytes per element of a result that is complex only if an operand is."""
    return floating(*operands)


def workspace(a: Any, *_args: Any, **_kwargs: Any) -> int:
    """A converted copy of `a` and the workspace for one of its matrices."""
    if ndim(a) < 2:
        return size(a) * COMPLEX
    _, m, n = stack(shape(a))
    return COMPLEX * (2 * size(a) + 8 * min(m, n) ** 2 + 256 * (m + n))


def same_matrix(a: Any, *_: Any, **__: Any) -> int:
    """One matrix of `a`'s shape for each: inverses, factors, powers."""
    return size(a) * _width(a)


def one_number_each(a: Any, *_: Any, **__: Any) -> int:
    """One number for each matrix: determinants, ranks, condition numbers."""
    return max(1, numel(shape(a)[:-2])) * COMPLEX


def slogdet(a: Any) -> int:
    """A sign and a logarithm for each matrix."""
    return 2 * one_number_each(a)


def solve(a: Any, b: Any) -> int:
    """One solution for each right-hand side."""
    systems, n, nrhs = solved_shapes(a, b)
    return systems * n * nrhs * _width(a, b)


def solve_scratch(a: Any, b: Any) -> int:
    """Converted copies, the workspace of one matrix and one block of right-hand sides."""
    return workspace(a) + COMPLEX * 2 * size(b)


def eigenvalues(a: Any, *_: Any, **__: Any) -> int:
    """n eigenvalues, which may be complex, for each n x n matrix."""
    matrices, n = square(shape(a))
    return matrices * n * COMPLEX


def eigensystem(a: Any, *_: Any, **__: Any) -> int:
    """n eigenvalues and n vectors for each n x n matrix, in the real and in the complex form."""
    matrices, n = square(shape(a))
    return 2 * matrices * (n + n * n) * COMPLEX


def qr(a: Any, mode: str = "reduced") -> int:
    """Both factors of each matrix, at their largest."""
    matrices, m, n = stack(shape(a))
    order = max(m, n)
    wide = m * m if mode == "complete" else m * min(m, n)
    return matrices * (wide + order * n + order) * _width(a)


def svd(
    a: Any, full_matrices: Any = True, compute_uv: Any = True, hermitian: Any = False, k: Any = None
) -> int:
    """The three factors; full ones are m x m and n x n."""
    matrices, m, n = stack(shape(a))
    short = min(m, n)
    vectors = 0
    if compute_uv:
        vectors = m * m + n * n if full_matrices else (m + n) * short
    return matrices * (vectors + short) * _width(a)


def svd_scratch(a: Any, *args: Any, **kwargs: Any) -> int:
    """The workspace, and a copy of the factors, which may be cut or sorted afterwards."""
    return workspace(a) + svd(a, *args, **kwargs)


def singular_values(x: Any, /) -> int:
    """min(m, n) numbers for each m x n matrix."""
    matrices, m, n = stack(shape(x))
    return matrices * min(m, n) * _width(x)


def pinv_scratch(a: Any, *_: Any, **__: Any) -> int:
    """The workspace, the thin factors and their scaled product."""
    matrices, m, n = stack(shape(a))
    return workspace(a) + COMPLEX * 2 * matrices * (m + n) * min(m, n)


def matrix_power_scratch(a: Any, n: Any) -> int:
    """The workspace of an inverse and three powers at once."""
    return workspace(a) + 3 * size(a) * COMPLEX if index(n) else size(a) * COMPLEX


def lstsq(a: Any, b: Any, rcond: Any = None) -> int:
    """The solution, the residuals and the singular values."""
    n = shape(a)[-1]
    columns = shape(b)[1] if ndim(b) == 2 else 1
    return COMPLEX * (n * columns + columns + min(shape(a)))


def lstsq_scratch(a: Any, b: Any, rcond: Any = None) -> int:
    """The workspace and a right-hand side padded to the longer side."""
    columns = shape(b)[1] if ndim(b) == 2 else 1
    return workspace(a) + COMPLEX * 3 * (max(shape(a)) * columns + size(b))


def tensorinv_scratch(a: Any, ind: int = 2) -> int:
    """Copies of `a` as a matrix, and the workspace of that matrix."""
    return 12 * COMPLEX * size(a) + 512 * COMPLEX * (numel(shape(a)[:ind]) + 1)


def tensorsolve(a: Any, b: Any, axes: Any = None) -> int:
    """One number for each element of `b`."""
    return size(b) * _width(a, b)


def tensorsolve_scratch(a: Any, b: Any, axes: Any = None) -> int:
    """Copies of `a` as a matrix, and the workspace of that matrix."""
    return 12 * COMPLEX * size(a) + 512 * COMPLEX * (size(b) + 1)


def cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> int:
    """One vector of three for each pair."""
    return vectors(x1, x2, axis=axis) * _width(x1, x2)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> int:
    """One number for each vector or matrix."""
    if axis is None:
        return COMPLEX
    reduced = axes_of_norm(axis, ndim(x))
    remaining = numel(n for i, n in enumerate(shape(x)) if i not in reduced)
    return max(1, remaining) * _width(x)


def norm_scratch(x: Any, *_: Any, **__: Any) -> int:
    """A converted copy, its absolute values and their powers; the workspace of one matrix."""
    longest, short = (*sorted(shape(x), reverse=True), 1, 1)[:2]
    return COMPLEX * (4 * size(x) + 8 * short**2 + 256 * (short + longest))


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> int:
    """One number for each vector."""
    return norm(x, ord, axis)


def copies(x: Any, /, **_: Any) -> int:
    """A converted copy, its absolute values and their powers."""
    return 4 * size(x) * COMPLEX


def matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> int:
    """One number for each matrix."""
    return one_number_each(x)
