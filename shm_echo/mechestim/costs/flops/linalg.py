"""Price rules of `linalg`: the signatures of NumPy around the formulas of `costs.flops.dense`.

A stack of matrices costs the number of matrices times the price of one. An operand that declares
the symmetry of its last two axes takes the Cholesky price in solve, inv, det and slogdet. Shapes
that NumPy rejects raise. Norms are in `costs.flops.norms`; products of matrices are priced as
contractions.
"""

from __future__ import annotations

from operator import index
from typing import Any

from shm_echo.mechestim.costs.flops.dense import (
    cholesky_cost,
    cond_cost,
    det_cost,
    eig_cost,
    eigh_cost,
    inv_cost,
    lstsq_cost,
    matrix_power_cost,
    matrix_rank_cost,
    pinv_cost,
    qr_cost,
    solve_cost,
    square,
    stack,
    svd_cost,
    svdvals_cost,
    symmetric_matrix,
    tensorinv_cost,
    tensorsolve_cost,
)
from shm_echo.mechestim.costs.operands import (
    Shape,
    axis_length,
    broadcast,
    ndim,
    normalize_axis,
    numel,
    shape,
    size,
)


def cholesky(a: Any, /, *, upper: Any = False) -> int:
    """`n^3/3` for each n x n matrix.

    Source: the operation table of mechestim.
    """
    matrices, n = square(shape(a))
    return matrices * cholesky_cost(n)


def inv(a: Any) -> int:
    """`n^3` for each n x n matrix; `n^3/3 + n^3/2` when symmetric.

    Source: the operation table of mechestim.
    """
    matrices, n = square(shape(a))
    return matrices * inv_cost(n, symmetric_matrix(a))


def det(a: Any) -> int:
    """`n^3` for each n x n matrix; `n^3/3` when symmetric. Also the rule of slogdet.

    Source: the operation table of mechestim.
    """
    matrices, n = square(shape(a))
    return matrices * det_cost(n, symmetric_matrix(a))


def solved_shapes(a: Any, b: Any) -> tuple[int, int, int]:
    """Return the number of systems, their order and the right-hand sides of each."""
    left, right = shape(a), shape(b)
    _, n = square(left)
    if len(right) == 1:
        right = (*right, 1)
    if len(right) < 2 or right[-2] != n:
        raise ValueError(
            f"a right-hand side of shape {shape(b)} does not fit matrices of order {n}"
        )
    return numel(broadcast(left[:-2], right[:-2])), n, right[-1]


def solve(a: Any, b: Any) -> int:
    """`2*n^3/3 + n^2*nrhs` for each system of order n; `n^3/3 + n*nrhs` when symmetric.

    Source: the operation table of mechestim.
    """
    systems, n, nrhs = solved_shapes(a, b)
    return systems * solve_cost(n, nrhs, symmetric_matrix(a))


def eig(a: Any) -> int:
    """`10*n^3` for each n x n matrix. Also the rule of eigvals.

    Source: the operation table of mechestim.
    """
    matrices, n = square(shape(a))
    return matrices * eig_cost(n)


def eigh(a: Any, UPLO: str = "L") -> int:
    """`4*n^3/3` for each n x n matrix. Also the rule of eigvalsh.

    Source: the operation table of mechestim.
    """
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"UPLO must be 'L' or 'U', got {UPLO!r}")
    matrices, n = square(shape(a))
    return matrices * eigh_cost(n)


def qr(a: Any, mode: str = "reduced") -> int:
    """`2*m*n^2 - 2*n^3/3` for each m x n matrix, m and n swapped when m < n.

    Source: the operation table of mechestim.
    """
    if mode not in ("reduced", "complete", "r", "raw", "f", "full", "e", "economic"):
        raise ValueError(f"unknown mode {mode!r}")
    matrices, m, n = stack(shape(a))
    return matrices * qr_cost(m, n)


def svd(
    a: Any,
    full_matrices: Any = True,
    compute_uv: Any = True,
    hermitian: Any = False,
    k: int | None = None,
) -> int:
    """`m*n*k` for each m x n matrix; k is min(m, n) unless given.

    Source: the operation table of mechestim.
    """
    matrices, m, n = square_if(hermitian, shape(a))
    return matrices * svd_cost(m, n, k)


def svdvals(x: Any, /) -> int:
    """`m*n*min(m, n)` for each m x n matrix.

    Source: the operation table of mechestim.
    """
    matrices, m, n = stack(shape(x))
    return matrices * svdvals_cost(m, n)


def square_if(hermitian: Any, dims: Shape) -> tuple[int, int, int]:
    """Return the number, rows and columns of a stack; its matrices are square if `hermitian`."""
    if hermitian:
        matrices, n = square(dims)
        return matrices, n, n
    return stack(dims)


def pinv(a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = None) -> int:
    """`m*n*min(m, n)` for each m x n matrix.

    Source: the operation table of mechestim.
    """
    dims = shape(a)
    matrices, m, n = square_if(hermitian and numel(dims[-2:]), dims)
    return matrices * pinv_cost(m, n)


def matrix_rank(A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None) -> int:
    """`m*n*min(m, n)` for each m x n matrix; a vector is one pass, `n`.

    Source: the operation table of mechestim.
    """
    if ndim(A) < 2:
        return size(A)
    matrices, m, n = square_if(hermitian, shape(A))
    return matrices * matrix_rank_cost(m, n)


def cond(x: Any, p: Any = None) -> int:
    """`m*n*min(m, n)` for each m x n matrix.

    Source: the operation table of mechestim.
    """
    matrices, m, n = stack(shape(x))
    if m * n == 0:
        raise ValueError("the condition number of an empty matrix is not defined")
    if m != n and not (p is None or p in (2, -2)):
        raise ValueError(f"the condition number for p={p!r} needs square matrices, not {m} x {n}")
    return matrices * cond_cost(m, n, p)


def lstsq(a: Any, b: Any, rcond: Any = None) -> int:
    """`m*n*min(m, n)` for an m x n matrix, for any number of right-hand sides.

    Source: the operation table of mechestim.
    """
    left, right = shape(a), shape(b)
    if len(left) != 2 or len(right) not in (1, 2) or right[0] != left[0]:
        raise ValueError(f"lstsq takes an m x n matrix and m rows, not shapes {left} and {right}")
    return lstsq_cost(*left)


def matrix_power(a: Any, n: Any) -> int:
    """`(floor(log2 n) + ones(n) - 1)*d^3` for each d x d matrix, `d^3` more when n is negative.

    `n` is the exponent and ones(n) the ones in its binary form; exponents 0 and 1 are 0.

    Source: the operation table of mechestim.
    """
    matrices, order = square(shape(a))
    return matrices * matrix_power_cost(order, index(n))


def tensorinv(a: Any, ind: int = 2) -> int:
    """`n^3`, n the product of the `ind` leading lengths.

    Source: the operation table of mechestim.
    """
    if ndim(a) == 0:
        raise TypeError("a single number is no tensor")
    return tensorinv_cost(shape(a), ind)


def tensorsolve(a: Any, b: Any, axes: Any = None) -> int:
    """`n^3`, n the product of the trailing lengths of `a`, those beyond b's.

    Source: the operation table of mechestim.
    """
    dims = list(shape(a))
    order = list(range(len(dims)))
    for axis in () if axes is None else axes:
        order.remove(axis)
        order.insert(len(dims), axis)
    moved = tuple(dims[i] for i in order)
    # NumPy slices from -(ndim(a) - ndim(b)): operands of equal depth leave all of `a` trailing.
    trailing = moved[-(len(dims) - ndim(b)) :]
    n = numel(trailing)
    if n * n != numel(moved) or size(b) != n:
        raise ValueError(f"shapes {tuple(dims)} and {shape(b)} make no square tensor equation")
    return tensorsolve_cost((n, n), 1)


def cross(x1: Any, x2: Any, /, *, axis: Any = -1) -> int:
    """`numel(output)`: one vector of three for each pair.

    Source: the operation table of mechestim.
    """
    for x in (x1, x2):
        if axis_length(shape(x), axis) != 3:
            raise ValueError("the cross product takes vectors of three elements")
    first, second = (_vectors_last(shape(x), axis) for x in (x1, x2))
    return numel(broadcast(first, second))


def _vectors_last(dims: Shape, axis: Any) -> Shape:
    axis = normalize_axis(axis, len(dims))
    return (*dims[:axis], *dims[axis + 1 :], dims[axis])
