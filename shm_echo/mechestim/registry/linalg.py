"""The operations of ``linalg`` that are not contractions."""

from __future__ import annotations

from shm_echo.mechestim.costs import linalg as cost
from shm_echo.mechestim.costs import linalg_sizes as sizes
from shm_echo.mechestim.costs import norms
from shm_echo.mechestim.costs.sizes import none
from shm_echo.mechestim.registry.op import Category, Op, Rule

_GVL = (
    "G. H. Golub and C. F. Van Loan, Matrix Computations, 4th ed., "
    "Johns Hopkins University Press, 2013, "
)
_HALKO = (
    "order of a truncated decomposition: N. Halko, P. G. Martinsson and J. A. Tropp, "
    "SIAM Review 53 (2011), doi:10.1137/090771806"
)
_SINGULAR = f"the singular values, priced as svd; {_HALKO}"


def _op(
    name: str,
    formula: str,
    rule: Rule,
    result: Rule,
    scratch: Rule,
    summary: str,
    source: str = "",
    *,
    zero_ok: bool = False,
    charged_as: str = "",
) -> Op:
    return Op(
        name=f"linalg.{name}",
        category=Category.CUSTOM,
        formula=formula,
        cost=rule,
        result_bytes=result,
        scratch_bytes=scratch,
        numpy=f"linalg.{name}",
        charged_as=charged_as,
        zero_ok=zero_ok,
        summary=summary,
        source=source,
    )


_FACTORISATIONS = (
    _op(
        "cholesky",
        "n^3/3 per matrix",
        cost.cholesky,
        sizes.same_matrix,
        sizes.workspace,
        "Cholesky factor of a Hermitian positive definite matrix.",
        f"{_GVL}section 4.2.5",
    ),
    _op(
        "qr",
        "2*m*n^2 - 2*n^3/3 per matrix, m and n swapped when m < n",
        cost.qr,
        sizes.qr,
        sizes.workspace,
        "QR factorisation.",
        f"{_GVL}section 5.2.2 (Householder)",
    ),
    _op(
        "svd",
        "m*n*k per matrix, k = min(m, n) unless given",
        cost.svd,
        sizes.svd,
        sizes.svd_scratch,
        "Singular value decomposition; k keeps only the k largest singular values.",
        _HALKO,
    ),
    _op(
        "svdvals",
        "m*n*min(m, n) per matrix",
        cost.svdvals,
        sizes.singular_values,
        sizes.workspace,
        "Singular values.",
        _HALKO,
    ),
    _op(
        "eig",
        "10*n^3 per matrix",
        cost.eig,
        sizes.eigensystem,
        sizes.workspace,
        "Eigenvalues and right eigenvectors of a square matrix.",
        f"{_GVL}section 7.5.6 (Hessenberg QR)",
    ),
    _op(
        "eigvals",
        "10*n^3 per matrix",
        cost.eig,
        sizes.eigenvalues,
        sizes.workspace,
        "Eigenvalues of a square matrix.",
        f"{_GVL}section 7.5.6 (Hessenberg QR)",
    ),
    _op(
        "eigh",
        "4*n^3/3 per matrix",
        cost.eigh,
        sizes.eigensystem,
        sizes.workspace,
        "Eigenvalues and eigenvectors of a Hermitian matrix.",
        f"{_GVL}section 8.3.1 (tridiagonalisation)",
    ),
    _op(
        "eigvalsh",
        "4*n^3/3 per matrix",
        cost.eigh,
        sizes.eigenvalues,
        sizes.workspace,
        "Eigenvalues of a Hermitian matrix.",
        f"{_GVL}section 8.3.1 (tridiagonalisation)",
    ),
)

_SYSTEMS = (
    _op(
        "solve",
        "2*n^3/3 + n^2*nrhs per system; symmetric: n^3/3 + n*nrhs",
        cost.solve,
        sizes.solve,
        sizes.solve_scratch,
        "Solution of a square linear system.",
        f"{_GVL}sections 3.2 (LU) and 4.2.5 (Cholesky)",
    ),
    _op(
        "inv",
        "n^3 per matrix; symmetric: n^3/3 + n^3/2",
        cost.inv,
        sizes.same_matrix,
        sizes.workspace,
        "Inverse of a square matrix.",
        f"order of LU with triangular inversions, {_GVL}section 3.2",
    ),
    _op(
        "det",
        "n^3 per matrix; symmetric: n^3/3",
        cost.det,
        sizes.one_number_each,
        sizes.workspace,
        "Determinant.",
        f"order of LU, {_GVL}sections 3.2 and 4.2.5",
    ),
    _op(
        "slogdet",
        "n^3 per matrix; symmetric: n^3/3",
        cost.det,
        sizes.slogdet,
        sizes.workspace,
        "Sign and natural logarithm of the absolute determinant.",
        f"order of LU, {_GVL}sections 3.2 and 4.2.5",
    ),
    _op(
        "lstsq",
        "m*n*min(m, n)",
        cost.lstsq,
        sizes.lstsq,
        sizes.lstsq_scratch,
        "Least-squares solution of a linear system.",
        _SINGULAR,
    ),
    _op(
        "pinv",
        "m*n*min(m, n) per matrix",
        cost.pinv,
        sizes.same_matrix,
        sizes.pinv_scratch,
        "Moore-Penrose pseudo-inverse.",
        _SINGULAR,
    ),
    _op(
        "tensorinv",
        "n^3, n = product of the first ind lengths",
        cost.tensorinv,
        sizes.same_matrix,
        sizes.tensorinv_scratch,
        "Inverse of a tensor with respect to tensordot.",
        "the inverse of an n x n matrix",
    ),
    _op(
        "tensorsolve",
        "n^3, n = product of the trailing lengths of a",
        cost.tensorsolve,
        sizes.tensorsolve,
        sizes.tensorsolve_scratch,
        "Solution of a tensor equation.",
        "the inverse of an n x n matrix",
    ),
    _op(
        "matrix_power",
        "(floor(log2 k) + ones(k) - 1)*n^3 per matrix; + n^3 when k < 0; 0 for k in (0, 1)",
        cost.matrix_power,
        sizes.same_matrix,
        sizes.matrix_power_scratch,
        "Integer power of a square matrix.",
        "D. E. Knuth, The Art of Computer Programming, vol. 2, 3rd ed., 1997, section 4.6.3",
        zero_ok=True,
    ),
)

_MEASURES = (
    _op(
        "norm",
        "vector: numel, 2*numel for a general p; matrix: 2*numel (fro), numel (1, inf), "
        "m*n*min(m, n) (2, nuc)",
        norms.norm,
        sizes.norm,
        sizes.norm_scratch,
        "Norm of a vector or of a matrix.",
    ),
    _op(
        "vector_norm",
        "numel; 2*numel for a general p",
        norms.vector_norm,
        sizes.vector_norm,
        sizes.copies,
        "Norm of vectors.",
    ),
    _op(
        "matrix_norm",
        "fro: 2*numel; 1, inf: numel; 2, -2, nuc: m*n*min(m, n) per matrix",
        norms.matrix_norm,
        sizes.matrix_norm,
        sizes.norm_scratch,
        "Norm of matrices.",
    ),
    _op(
        "cond",
        "m*n*min(m, n) per matrix",
        cost.cond,
        sizes.one_number_each,
        sizes.pinv_scratch,
        "Condition number.",
        _SINGULAR,
    ),
    _op(
        "matrix_rank",
        "m*n*min(m, n) per matrix; n for a vector",
        cost.matrix_rank,
        sizes.one_number_each,
        sizes.workspace,
        "Rank by the number of singular values above a tolerance.",
        _SINGULAR,
    ),
    _op(
        "cross",
        "numel(output)",
        cost.cross,
        sizes.cross,
        sizes.cross,
        "Cross product of vectors of three elements.",
        charged_as="cross",
    ),
)

_VIEWS = tuple(
    Op(
        name=f"linalg.{name}",
        category=Category.FREE,
        result_bytes=none,
        scratch_bytes=none,
        numpy=f"linalg.{name}",
        summary=summary,
    )
    for name, summary in (
        ("diagonal", "Diagonals of matrices, as a view."),
        ("matrix_transpose", "The last two axes exchanged, as a view."),
    )
)

OPS: tuple[Op, ...] = (*_FACTORISATIONS, *_SYSTEMS, *_MEASURES, *_VIEWS)
