"""FLOPs of dense linear algebra, by the sizes of one matrix.

Every function here is public as `mechestim.flops.<name>`. It takes plain integers or shapes,
gives the price of one call at weight 1, at least 1 (a matrix power of exponent 0 or 1 is 0), and
runs nothing. The rules in `costs.flops.linalg` multiply them by the number of matrices in a stack.

Divisions are floored, one term at a time. The leading terms are those of the textbooks named with
each function, most often [GVL]: G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th ed.,
Johns Hopkins University Press, 2013. Where the model is coarser than the algorithm (an inverse is
n^3, a singular value decomposition is m*n*k), the docstring says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from shm_echo.mechestim.costs.operands import Shape, as_shape, numel


def count(name: str, value: Any) -> int:
    """Return `value` as an integer of 0 or more; error messages call it `name`.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is negative.
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, got {number}")
    return number


def _thin(m: int, n: int) -> int:
    """Return `m * n * min(m, n)`, the order of algorithms that reduce an m x n matrix fully."""
    m, n = count("m", m), count("n", n)
    return max(1, m * n * min(m, n))


def cholesky_cost(n: int) -> int:
    """Cholesky factor of an n x n matrix: `n^3/3`.

    Source: [GVL] section 4.2.5.

    >>> cholesky_cost(6)
    72
    """
    return max(1, count("n", n) ** 3 // 3)


def det_cost(n: int, symmetric: bool = False) -> int:
    """Determinant of an n x n matrix: `n^3`; `n^3/3` (a Cholesky factor) when symmetric.

    The model rounds the `2*n^3/3` of the LU factorisation ([GVL] section 3.2) up to `n^3`.

    >>> det_cost(10), det_cost(10, symmetric=True)
    (1000, 333)
    """
    return cholesky_cost(n) if symmetric else max(1, count("n", n) ** 3)


def slogdet_cost(n: int, symmetric: bool = False) -> int:
    """Sign and logarithm of the determinant of an n x n matrix: the price of the determinant.

    `n^3`; `n^3/3` when symmetric. See `det_cost`.

    >>> slogdet_cost(10)
    1000
    """
    return det_cost(n, symmetric)


def inv_cost(n: int, symmetric: bool = False) -> int:
    """Inverse of an n x n matrix: `n^3`; `n^3/3 + n^3/2` when symmetric.

    The symmetric price is a Cholesky factor ([GVL] section 4.2.5) and a triangular inversion.

    >>> inv_cost(6), inv_cost(6, symmetric=True)
    (216, 180)
    """
    cube = count("n", n) ** 3
    return max(1, cube // 3 + cube // 2 if symmetric else cube)


def solve_cost(n: int, nrhs: int = 1, symmetric: bool = False) -> int:
    """Solution of an n x n system for `nrhs` right-hand sides: `2*n^3/3 + n^2*nrhs`.

    `n^3/3 + n*nrhs` when symmetric. Source of the leading terms: LU and Cholesky factorisation,
    [GVL] sections 3.2 and 4.2.5.

    >>> solve_cost(256)
    11250346
    >>> solve_cost(10, symmetric=True)
    343
    """
    n, nrhs = count("n", n), count("nrhs", nrhs)
    if symmetric:
        return max(1, n**3 // 3 + n * nrhs)
    return max(1, 2 * n**3 // 3 + n**2 * nrhs)


def qr_cost(m: int, n: int) -> int:
    """Householder QR of an m x n matrix: `2*m*n^2 - 2*n^3/3` (m and n swapped when m < n).

    Source: [GVL] section 5.2.2. The mode makes no difference.

    >>> qr_cost(6, 4), qr_cost(4, 6)
    (150, 150)
    """
    long, short = sorted((count("m", m), count("n", n)), reverse=True)
    return max(1, 2 * long * short**2 - 2 * short**3 // 3)


def eig_cost(n: int) -> int:
    """Eigenvalues and eigenvectors of an n x n matrix: `10*n^3`.

    Source: the Hessenberg QR algorithm, [GVL] section 7.5.6, which gives this for the eigenvalues;
    the model prices the vectors the same.

    >>> eig_cost(10)
    10000
    """
    return max(1, 10 * count("n", n) ** 3)


def eigvals_cost(n: int) -> int:
    """Eigenvalues of an n x n matrix: `10*n^3`.

    Source: the Hessenberg QR algorithm, [GVL] section 7.5.6.

    >>> eigvals_cost(10)
    10000
    """
    return eig_cost(n)


def eigh_cost(n: int) -> int:
    """Eigenvalues and eigenvectors of an n x n Hermitian matrix: `4*n^3/3`.

    Source: Householder tridiagonalisation, [GVL] section 8.3.1.

    >>> eigh_cost(6)
    288
    """
    return max(1, 4 * count("n", n) ** 3 // 3)


def eigvalsh_cost(n: int) -> int:
    """Eigenvalues of an n x n Hermitian matrix: `4*n^3/3`. See `eigh_cost`.

    >>> eigvalsh_cost(6)
    288
    """
    return eigh_cost(n)


def svd_cost(m: int, n: int, k: int | None = None) -> int:
    """The `k` leading singular triples of an m x n matrix: `m*n*k`; k is min(m, n) when None.

    The order of a truncated decomposition without its constant: N. Halko, P. G. Martinsson and
    J. A. Tropp, SIAM Review 53 (2011), doi:10.1137/090771806.

    >>> svd_cost(256, 256, 10)
    655360
    """
    m, n = count("m", m), count("n", n)
    if k is None:
        return _thin(m, n)
    k = index(k)
    if not 1 <= k <= min(m, n):
        raise ValueError(f"k must satisfy 1 <= k <= min(m, n) = {min(m, n)}, got k={k}")
    return max(1, m * n * k)


def svdvals_cost(m: int, n: int) -> int:
    """Singular values of an m x n matrix: `m*n*min(m, n)`. See `svd_cost`.

    >>> svdvals_cost(6, 4)
    96
    """
    return _thin(m, n)


def lstsq_cost(m: int, n: int) -> int:
    """Least squares with an m x n matrix, by its singular values: `m*n*min(m, n)`.

    >>> lstsq_cost(6, 4)
    96
    """
    return _thin(m, n)


def pinv_cost(m: int, n: int) -> int:
    """Pseudo-inverse of an m x n matrix, by its singular values: `m*n*min(m, n)`.

    >>> pinv_cost(6, 4)
    96
    """
    return _thin(m, n)


def matrix_rank_cost(m: int, n: int) -> int:
    """Rank of an m x n matrix, by its singular values: `m*n*min(m, n)`.

    >>> matrix_rank_cost(6, 4)
    96
    """
    return _thin(m, n)


def cond_cost(m: int, n: int, p: Any = None) -> int:
    """Condition number of an m x n matrix: `m*n*min(m, n)`, for every norm `p`.

    >>> cond_cost(6, 6)
    216
    """
    return _thin(m, n)


def trace_cost(n: int) -> int:
    """Trace of a matrix whose shorter side is n: `n`.

    >>> trace_cost(6)
    6
    """
    return max(1, count("n", n))


def matrix_power_cost(n: int, k: int) -> int:
    """The k-th power of an n x n matrix by squaring: `(floor(log2 k) + ones(k) - 1)*n^3`.

    `ones(k)` is the number of ones in the binary form of k. A negative exponent adds `n^3` for
    the inverse; exponents 0 and 1 are 0. Source: D. E. Knuth, *The Art of Computer Programming*,
    vol. 2, 3rd ed., 1997, section 4.6.3. The model prices a product at `n^3`.

    >>> [matrix_power_cost(6, k) // 6**3 for k in (-2, -1, 0, 1, 2, 3, 10)]
    [2, 1, 0, 0, 1, 2, 4]
    """
    n, k = count("n", n), index(k)
    power = abs(k)
    products = power.bit_length() + power.bit_count() - 2 if power else 0
    if k < 0:
        products += 1
    return max(1, products * n**3) if products else 0


def tensorinv_cost(a_shape: Sequence[int], ind: int = 2) -> int:
    """Inverse of a tensor: `n^3`, n the product of its `ind` leading lengths.

    >>> tensorinv_cost((2, 3, 6), ind=2)
    216
    """
    shape, ind = as_shape(a_shape), index(ind)
    if ind <= 0:
        raise ValueError(f"ind must be positive, got {ind}")
    n = numel(shape[:ind])
    if n != numel(shape[ind:]):
        raise ValueError(f"a tensor of shape {shape} is not square when split after axis {ind}")
    return inv_cost(n)


def tensorsolve_cost(a_shape: Sequence[int], ind: int | None = None) -> int:
    """Solution of a tensor equation: `n^3`, n the product of the trailing lengths of `a`.

    `ind` is the number of leading axes, those of the right-hand side. The tensor is square, so
    that n is the root of its size when `ind` is not given.

    >>> tensorsolve_cost((2, 3, 6), ind=2), tensorsolve_cost((2, 3, 6))
    (216, 216)
    """
    shape = as_shape(a_shape)
    n = math.isqrt(numel(shape)) if ind is None else numel(shape[index(ind) :])
    if n * n != numel(shape):
        raise ValueError(f"a tensor of shape {shape} with ind={ind} is not square")
    return max(1, n**3)


def symmetric_matrix(a: Any) -> bool:
    """Return True if `a` declares a symmetry of its last two axes, those of the matrix."""
    info = getattr(a, "symmetry_info", None)
    if info is None:
        return False
    last = len(info.shape) - 1
    return any(last in group and last - 1 in group for group in info.symmetric_axes)


def square(shape: Shape) -> tuple[int, int]:
    """Return the number and the order of the matrices in a stack of square matrices.

    Raises:
        ValueError: the matrices are not square.
    """
    matrices, m, n = stack(shape)
    if m != n:
        raise ValueError(f"the last two axes of shape {shape} are not square")
    return matrices, n


def stack(shape: Shape) -> tuple[int, int, int]:
    """Return the number, rows and columns of the matrices in a stack.

    Raises:
        ValueError: the shape has fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"a matrix needs two axes, the shape is {shape}")
    return numel(shape[:-2]), shape[-2], shape[-1]
