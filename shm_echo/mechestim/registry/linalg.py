"""The operations of `linalg` that are not contractions."""

from __future__ import annotations

from shm_echo.mechestim.registry.build import custom, free
from shm_echo.mechestim.registry.op import Op
from shm_echo.mechestim.registry.rules.flops import linalg as cost
from shm_echo.mechestim.registry.rules.flops import norms
from shm_echo.mechestim.registry.rules.memory import linalg as sizes

_GVL = (
    "G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., "
    "Johns Hopkins University Press, 2013, "
)
_HALKO = (
    "order of a truncated decomposition: N. Halko, P. G. Martinsson and J. A. Tropp, "
    "SIAM Review 53 (2011), doi:10.1137/090771806"
)
_SINGULAR = f"the singular values, priced as svd; {_HALKO}"

_FACTORISATIONS = (
    custom(
        "linalg.cholesky",
        "n^3/3 per matrix",
        cost.cholesky,
        "Cholesky factor of a Hermitian positive definite matrix.",
        sizes.same_matrix,
        sizes.workspace,
        source=f"{_GVL}section 4.2.5",
    ),
    custom(
        "linalg.qr",
        "2*m*n^2 - 2*n^3/3 per matrix, m and n swapped when m < n",
        cost.qr,
        "QR factorisation.",
        sizes.qr,
        sizes.workspace,
        source=f"{_GVL}section 5.2.2 (Householder)",
    ),
    custom(
        "linalg.svd",
        "m*n*k per matrix, k = min(m, n) unless given",
        cost.svd,
        "Singular value decomposition; k keeps only the k largest singular values.",
        sizes.svd,
        sizes.svd_scratch,
        source=_HALKO,
    ),
    custom(
        "linalg.svdvals",
        "m*n*min(m, n) per matrix",
        cost.svdvals,
        "Singular values.",
        sizes.singular_values,
        sizes.workspace,
        source=_HALKO,
    ),
    custom(
        "linalg.eig",
        "10*n^3 per matrix",
        cost.eig,
        "Eigenvalues and right eigenvectors of a square matrix.",
        sizes.eigensystem,
        sizes.workspace,
        source=f"{_GVL}section 7.5.6 (Hessenberg QR)",
    ),
    custom(
        "linalg.eigvals",
        "10*n^3 per matrix",
        cost.eig,
        "Eigenvalues of a square matrix.",
        sizes.eigenvalues,
        sizes.workspace,
        source=f"{_GVL}section 7.5.6 (Hessenberg QR)",
    ),
    custom(
        "linalg.eigh",
        "4*n^3/3 per matrix",
        cost.eigh,
        "Eigenvalues and eigenvectors of a Hermitian matrix.",
        sizes.eigensystem,
        sizes.workspace,
        source=f"{_GVL}section 8.3.1 (tridiagonalisation)",
    ),
    custom(
        "linalg.eigvalsh",
        "4*n^3/3 per matrix",
        cost.eigh,
        "Eigenvalues of a Hermitian matrix.",
        sizes.eigenvalues,
        sizes.workspace,
        source=f"{_GVL}section 8.3.1 (tridiagonalisation)",
    ),
)

_SYSTEMS = (
    custom(
        "linalg.solve",
        "2*n^3/3 + n^2*nrhs per system; symmetric: n^3/3 + n*nrhs",
        cost.solve,
        "Solution of a square linear system.",
        sizes.solve,
        sizes.solve_scratch,
        source=f"{_GVL}sections 3.2 (LU) and 4.2.5 (Cholesky)",
    ),
    custom(
        "linalg.inv",
        "n^3 per matrix; symmetric: n^3/3 + n^3/2",
        cost.inv,
        "Inverse of a square matrix.",
        sizes.same_matrix,
        sizes.workspace,
        source=f"order of LU with triangular inversions, {_GVL}section 3.2",
    ),
    custom(
        "linalg.det",
        "n^3 per matrix; symmetric: n^3/3",
        cost.det,
        "Determinant.",
        sizes.one_number_each,
        sizes.workspace,
        source=f"order of LU, {_GVL}sections 3.2 and 4.2.5",
    ),
    custom(
        "linalg.slogdet",
        "n^3 per matrix; symmetric: n^3/3",
        cost.det,
        "Sign and natural logarithm of the absolute determinant.",
        sizes.slogdet,
        sizes.workspace,
        source=f"order of LU, {_GVL}sections 3.2 and 4.2.5",
    ),
    custom(
        "linalg.lstsq",
        "m*n*min(m, n)",
        cost.lstsq,
        "Least-squares solution of a linear system.",
        sizes.lstsq,
        sizes.lstsq_scratch,
        source=_SINGULAR,
    ),
    custom(
        "linalg.pinv",
        "m*n*min(m, n) per matrix",
        cost.pinv,
        "Moore-Penrose pseudo-inverse.",
        sizes.same_matrix,
        sizes.pinv_scratch,
        source=_SINGULAR,
    ),
    custom(
        "linalg.tensorinv",
        "n^3, n = product of the first ind lengths",
        cost.tensorinv,
        "Inverse of a tensor with respect to tensordot.",
        sizes.same_matrix,
        sizes.tensorinv_scratch,
        source="the inverse of an n x n matrix",
    ),
    custom(
        "linalg.tensorsolve",
        "n^3, n = product of the trailing lengths of a",
        cost.tensorsolve,
        "Solution of a tensor equation.",
        sizes.tensorsolve,
        sizes.tensorsolve_scratch,
        source="the inverse of an n x n matrix",
    ),
    custom(
        "linalg.matrix_power",
        "(floor(log2 k) + ones(k) - 1)*n^3 per matrix; + n^3 when k < 0; 0 for k in (0, 1)",
        cost.matrix_power,
        "Integer power of a square matrix.",
        sizes.same_matrix,
        sizes.matrix_power_scratch,
        source="D. E. Knuth, The Art of Computer Programming, vol. 2, 3rd ed., 1997, section 4.6.3",
        zero_ok=True,
    ),
)

_MEASURES = (
    custom(
        "linalg.norm",
        "vector: numel, 2*numel for a general p; matrix: 2*numel (fro), numel (1, inf), "
        "m*n*min(m, n) (2, nuc)",
        norms.norm,
        "Norm of a vector or of a matrix.",
        sizes.norm,
        sizes.norm_scratch,
    ),
    custom(
        "linalg.vector_norm",
        "numel; 2*numel for a general p",
        norms.vector_norm,
        "Norm of vectors.",
        sizes.vector_norm,
        sizes.copies,
    ),
    custom(
        "linalg.matrix_norm",
        "fro: 2*numel; 1, inf: numel; 2, -2, nuc: m*n*min(m, n) per matrix",
        norms.matrix_norm,
        "Norm of matrices.",
        sizes.matrix_norm,
        sizes.norm_scratch,
    ),
    custom(
        "linalg.cond",
        "m*n*min(m, n) per matrix",
        cost.cond,
        "Condition number.",
        sizes.one_number_each,
        sizes.pinv_scratch,
        source=_SINGULAR,
    ),
    custom(
        "linalg.matrix_rank",
        "m*n*min(m, n) per matrix; n for a vector",
        cost.matrix_rank,
        "Rank by the number of singular values above a tolerance.",
        sizes.one_number_each,
        sizes.workspace,
        source=_SINGULAR,
    ),
    custom(
        "linalg.cross",
        "numel(output)",
        cost.cross,
        "Cross product of vectors of three elements.",
        sizes.cross,
        sizes.cross,
        charged_as="cross",
    ),
)

_VIEWS = (
    free("linalg.diagonal", "Diagonals of matrices, as a view."),
    free("linalg.matrix_transpose", "The last two axes exchanged, as a view."),
)

OPS: tuple[Op, ...] = (*_FACTORISATIONS, *_SYSTEMS, *_MEASURES, *_VIEWS)
