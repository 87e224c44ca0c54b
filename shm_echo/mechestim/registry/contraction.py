"""The operations that equal an einsum: products of vectors, matrices and tensors, and the trace."""

from __future__ import annotations

from shm_echo.mechestim.costs import contraction as cost
from shm_echo.mechestim.costs import contraction_sizes as sizes
from shm_echo.mechestim.costs import einsum, matrix_chain
from shm_echo.mechestim.costs.sizes import none
from shm_echo.mechestim.registry.op import Category, Op, Rule

_STEP = "FLOP count of a pairwise contraction as in opt_einsum, doi:10.21105/joss.00753"
_CHAIN = "T. H. Cormen et al., Introduction to Algorithms, 3rd ed., section 15.2"


def _op(
    name: str,
    formula: str,
    rule: Rule,
    result: Rule,
    scratch: Rule,
    summary: str,
    source: str = _STEP,
    charged_as: str = "",
) -> Op:
    return Op(
        name=name,
        category=Category.CUSTOM,
        formula=formula,
        cost=rule,
        result_bytes=result,
        scratch_bytes=scratch,
        numpy=name,
        charged_as=charged_as,
        summary=summary,
        source=source,
    )


OPS: tuple[Op, ...] = (
    _op(
        "einsum",
        "sum over the steps of the path: product of all lengths * (2 if any is summed, else 1), "
        "times unique/total elements of the step's result",
        einsum.einsum,
        sizes.einsum,
        sizes.einsum_scratch,
        "Einstein summation along the cheapest path; the path that is priced is the one that runs.",
    ),
    Op(
        name="einsum_path",
        category=Category.FREE,
        result_bytes=none,
        scratch_bytes=none,
        numpy="einsum_path",
        summary="The path that einsum takes, and what each step costs.",
    ),
    _op(
        "dot",
        "2*m*k*n; numel(output) with a 0-d operand",
        cost.dot,
        sizes.dot,
        sizes.copies,
        "Dot product over the last axis of a and the last but one of b.",
    ),
    _op(
        "matmul",
        "2*m*k*n per pair of matrices",
        cost.matmul,
        sizes.matmul,
        sizes.copies,
        "Matrix product, over the broadcast batch.",
    ),
    _op(
        "inner",
        "2*numel(output)*k; numel(output) with a 0-d operand",
        cost.inner,
        sizes.inner,
        sizes.copies,
        "Inner product over the last axes.",
    ),
    _op(
        "outer",
        "m*n",
        cost.outer,
        sizes.outer,
        sizes.copies,
        "Outer product of two vectors.",
    ),
    _op(
        "vdot",
        "2*n",
        cost.vdot,
        sizes.one,
        sizes.copies,
        "Dot product of two flattened arrays, the first conjugated.",
    ),
    _op(
        "vecdot",
        "2*numel(broadcast input)",
        cost.vecdot,
        sizes.vecdot,
        sizes.copies,
        "Dot products of vectors along an axis, the first conjugated.",
    ),
    _op(
        "matvec",
        "2*m*n per matrix",
        cost.matvec,
        sizes.matvec,
        sizes.copies,
        "Products of matrices and vectors, over the broadcast batch.",
    ),
    _op(
        "vecmat",
        "2*m*n per matrix",
        cost.vecmat,
        sizes.vecmat,
        sizes.copies,
        "Products of vectors, conjugated, and matrices, over the broadcast batch.",
    ),
    _op(
        "tensordot",
        "numel(output) * summed lengths * (2 if any axis is summed, else 1)",
        cost.tensordot,
        sizes.tensordot,
        sizes.copies,
        "Product of tensors, summed over the given axes.",
    ),
    _op(
        "kron",
        "numel(output)",
        cost.kron,
        sizes.kron,
        sizes.kron,
        "Kronecker product.",
    ),
    _op(
        "trace",
        "min(m, n) per matrix",
        cost.trace,
        sizes.trace,
        none,
        "Sum along a diagonal.",
        "",
    ),
    _op(
        "linalg.matmul",
        "2*m*k*n per pair of matrices",
        cost.matmul,
        sizes.matmul,
        sizes.copies,
        "Matrix product, over the broadcast batch.",
        charged_as="matmul",
    ),
    _op(
        "linalg.outer",
        "m*n",
        cost.outer_of_vectors,
        sizes.outer,
        sizes.copies,
        "Outer product of two vectors.",
        charged_as="outer",
    ),
    _op(
        "linalg.tensordot",
        "numel(output) * summed lengths * (2 if any axis is summed, else 1)",
        cost.tensordot,
        sizes.tensordot,
        sizes.copies,
        "Product of tensors, summed over the given axes.",
        charged_as="tensordot",
    ),
    _op(
        "linalg.vecdot",
        "2*numel(broadcast input)",
        cost.vecdot,
        sizes.vecdot,
        sizes.copies,
        "Dot products of vectors along an axis, the first conjugated.",
        charged_as="vecdot",
    ),
    _op(
        "linalg.multi_dot",
        "sum over the cheapest order of 2*m*k*n per product",
        matrix_chain.multi_dot,
        sizes.multi_dot,
        sizes.multi_dot_scratch,
        "Product of a chain of matrices in the cheapest order.",
        _CHAIN,
    ),
    _op(
        "linalg.trace",
        "min(m, n) per matrix",
        cost.trace_of_matrices,
        sizes.trace_of_matrices,
        none,
        "Sum along a diagonal of the last two axes.",
        "",
        charged_as="trace",
    ),
)
