"""Linear algebra, as in numpy.linalg, counted.

Made by ``tools/mechestim_stubs.py``; not edited by hand.
"""

# fmt: off
# ruff: noqa

import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from shm_echo.mechestim import ndarray

_bool = builtins.bool


class LinAlgError(ValueError):
    """A decomposition that does not converge, or a matrix that has no inverse."""
class EigResult(NamedTuple):
    eigenvalues: ndarray
    eigenvectors: ndarray
class EighResult(NamedTuple):
    eigenvalues: ndarray
    eigenvectors: ndarray
class SlogdetResult(NamedTuple):
    sign: ndarray
    logabsdet: ndarray


def cholesky(a: Any, /, *, upper: Any=False) -> ndarray:
    """Cholesky factor of a Hermitian positive definite matrix. Costs n^3/3 per matrix."""
def cond(x: Any, p: Any=None) -> ndarray:
    """Condition number. Costs m*n*min(m, n) per matrix."""
def cross(x1: Any, x2: Any, /, *, axis: Any=-1) -> ndarray:
    """Cross product of vectors of three elements. Costs numel(output)."""
def det(a: Any) -> ndarray:
    """Determinant. Costs n^3 per matrix; symmetric: n^3/3."""
def diagonal(x: Any, /, *, offset: Any=0) -> ndarray:
    """Diagonals of matrices, as a view. Free."""
def eig(a: Any) -> EigResult:
    """Eigenvalues and right eigenvectors of a square matrix. Costs 10*n^3 per matrix."""
def eigh(a: Any, UPLO: Any='L') -> EighResult:
    """Eigenvalues and eigenvectors of a Hermitian matrix. Costs 4*n^3/3 per matrix."""
def eigvals(a: Any) -> ndarray:
    """Eigenvalues of a square matrix. Costs 10*n^3 per matrix."""
def eigvalsh(a: Any, UPLO: Any='L') -> ndarray:
    """Eigenvalues of a Hermitian matrix. Costs 4*n^3/3 per matrix."""
def inv(a: Any) -> ndarray:
    """Inverse of a square matrix. Costs n^3 per matrix; symmetric: n^3/3 + n^3/2."""
def lstsq(a: Any, b: Any, rcond: Any=None) -> tuple[ndarray, ndarray, int, ndarray]:
    """Least-squares solution of a linear system. Costs m*n*min(m, n)."""
def matmul(x1: Any, x2: Any, /) -> ndarray:
    """Matrix product, over the broadcast batch. Costs 2*m*k*n per pair of matrices."""
def matrix_norm(x: Any, /, *, keepdims: Any=False, ord: Any='fro') -> ndarray:
    """Norm of matrices. Costs fro: 2*numel; 1, inf: numel; 2, -2, nuc: m*n*min(m, n) per matrix."""
def matrix_power(a: Any, n: Any) -> ndarray:
    """Integer power of a square matrix. Costs (floor(log2 k) + ones(k) - 1)*n^3 per matrix; + n^3 when k < 0; 0 for k in (0, 1)."""
def matrix_rank(A: Any, tol: Any=None, hermitian: Any=False, *, rtol: Any=None) -> ndarray:
    """Rank by the number of singular values above a tolerance. Costs m*n*min(m, n) per matrix; n for a vector."""
def matrix_transpose(x: Any, /) -> ndarray:
    """The last two axes exchanged, as a view. Free."""
def multi_dot(arrays: Any, *, out: Any=None) -> ndarray:
    """Product of a chain of matrices in the cheapest order. Costs sum over the cheapest order of 2*m*k*n per product."""
def norm(x: Any, ord: Any=None, axis: Any=None, keepdims: Any=False) -> ndarray:
    """Norm of a vector or of a matrix. Costs vector: numel, 2*numel for a general p; matrix: 2*numel (fro), numel (1, inf), m*n*min(m, n) (2, nuc)."""
def outer(x1: Any, x2: Any, /) -> ndarray:
    """Outer product of two vectors. Costs m*n."""
def pinv(a: Any, rcond: Any=None, hermitian: Any=False, *, rtol: Any=...) -> ndarray:
    """Moore-Penrose pseudo-inverse. Costs m*n*min(m, n) per matrix."""
def qr(a: Any, mode: Any='reduced') -> Any:
    """QR factorisation. Costs 2*m*n^2 - 2*n^3/3 per matrix, m and n swapped when m < n."""
def slogdet(a: Any) -> SlogdetResult:
    """Sign and natural logarithm of the absolute determinant. Costs n^3 per matrix; symmetric: n^3/3."""
def solve(a: Any, b: Any) -> ndarray:
    """Solution of a square linear system. Costs 2*n^3/3 + n^2*nrhs per system; symmetric: n^3/3 + n*nrhs."""
def svd(a: Any, full_matrices: Any=True, compute_uv: Any=True, hermitian: Any=False, k: Any=None) -> Any:
    """Singular value decomposition; k keeps only the k largest singular values. Costs m*n*k per matrix, k = min(m, n) unless given."""
def svdvals(x: Any, /) -> ndarray:
    """Singular values. Costs m*n*min(m, n) per matrix."""
def tensordot(x1: Any, x2: Any, /, *, axes: Any=2) -> ndarray:
    """Product of tensors, summed over the given axes. Costs numel(output) * summed lengths * (2 if any axis is summed, else 1)."""
def tensorinv(a: Any, ind: Any=2) -> ndarray:
    """Inverse of a tensor with respect to tensordot. Costs n^3, n = product of the first ind lengths."""
def tensorsolve(a: Any, b: Any, axes: Any=None) -> ndarray:
    """Solution of a tensor equation. Costs n^3, n = product of the trailing lengths of a."""
def trace(x: Any, /, *, offset: Any=0, dtype: Any=None) -> ndarray:
    """Sum along a diagonal of the last two axes. Costs min(m, n) per matrix."""
def vecdot(x1: Any, x2: Any, /, *, axis: Any=-1) -> ndarray:
    """Dot products of vectors along an axis, the first conjugated. Costs 2*numel(broadcast input)."""
def vector_norm(x: Any, /, *, axis: Any=None, keepdims: Any=False, ord: Any=2) -> ndarray:
    """Norm of vectors. Costs numel; 2*numel for a general p."""
