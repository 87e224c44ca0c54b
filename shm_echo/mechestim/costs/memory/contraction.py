"""Upper bounds of the memory that contractions take: results, intermediates and copies of operands.

Each rule has the call signature of its operation and returns bytes. A result in `out` takes
none. BLAS wants matrices without gaps, so a copy of each operand is counted as scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from shm_echo.mechestim.costs.dtypes import promoted
from shm_echo.mechestim.costs.flops import contraction as c
from shm_echo.mechestim.costs.flops.einsum import plan_operands
from shm_echo.mechestim.costs.operands import broadcast, normalize_axis
from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.costs.subscripts import Shape, from_arguments


def _bytes(shape: Sequence[int], *operands: Any, out: Any = None, dtype: Any = None) -> int:
    return 0 if out is not None else max(1, prod(shape)) * promoted(*operands, dtype=dtype)


def copies(a: Any, b: Any, *_: Any, dtype: Any = None, **__: Any) -> int:
    """Scratch of a product of two: a copy of each, in the dtype of the result."""
    each = promoted(a, b, dtype=dtype)
    return (prod(shape_of(a)) + prod(shape_of(b))) * each


def one(a: Any, b: Any, *_: Any, **__: Any) -> int:
    """A number."""
    return _bytes((), a, b)


# ----------------------------------------------------------------------------------------- einsum


def einsum(
    *operands: Any, out: Any = None, optimize: Any = "auto", dtype: Any = None, **_: Any
) -> int:
    """The result; nothing when it is a view of its one operand."""
    plan = plan_operands(*operands, optimize=optimize)
    inputs = plan.contraction.inputs
    if len(inputs) == 1 and dtype is None and set(inputs[0]) == set(plan.contraction.output):
        return 0
    return _bytes(plan.output_shape, *from_arguments(operands)[1], out=out, dtype=dtype)


def einsum_scratch(*operands: Any, optimize: Any = "auto", dtype: Any = None, **_: Any) -> int:
    """The most that lives at once: intermediates, and copies of a step's operands."""
    plan = plan_operands(*operands, optimize=optimize)
    return plan.peak_elements * promoted(*from_arguments(operands)[1], dtype=dtype)


# ------------------------------------------------------------------------------- products of two


def matmul(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    axes: Any = None,
    dtype: Any = None,
    **_: Any,
) -> int:
    """A matrix per pair of the broadcast batch."""
    a, b = shape_of(x1), shape_of(x2)
    if axes is not None:
        a, b = c.core_last((a, b), axes, (min(2, len(a)), min(2, len(b))))
    shape = (*broadcast(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
    return _bytes(shape, x1, x2, out=out, dtype=dtype)


def dot(a: Any, b: Any, out: Any = None) -> int:
    """An element per row of `a` and column of `b`."""
    left, right = shape_of(a), shape_of(b)
    shape: Shape = left + right
    if left and right:
        shape = left[:-1] + (right[:-2] + right[-1:] if len(right) > 1 else ())
    return _bytes(shape, a, b, out=out)


def inner(a: Any, b: Any, /) -> int:
    """An element per pair of vectors."""
    left, right = shape_of(a), shape_of(b)
    return _bytes(left[:-1] + right[:-1] if left and right else left + right, a, b)


def outer(a: Any, b: Any, out: Any = None) -> int:
    """An element per pair of elements."""
    return _bytes(shape_of(a) + shape_of(b), a, b, out=out)


def kron(a: Any, b: Any) -> int:
    """An element per pair of elements."""
    return outer(a, b)


def tensordot(a: Any, b: Any, axes: Any = 2) -> int:
    """The axes that are not summed."""
    left, right = shape_of(a), shape_of(b)
    summed, partner = c.tensordot_axes(left, right, axes)
    shape = [n for i, n in enumerate(left) if i not in summed]
    shape += [n for i, n in enumerate(right) if i not in partner]
    return _bytes(shape, a, b)


def vecdot(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None, **_: Any) -> int:
    """At most an element per pair of elements of the batch, were the core axis of length 1."""
    a, b = shape_of(x1), shape_of(x2)
    shape = a if prod(a) >= prod(b) else b
    if len(a) > 1 or len(b) > 1:
        shape = tuple(max(n, m) for n, m in zip(_padded(a, b), _padded(b, a), strict=True))
    return _bytes(shape, x1, x2, out=out, dtype=dtype)


def _padded(shape: Shape, other: Shape) -> Shape:
    return (1,) * (len(other) - len(shape)) + shape


def matvec(
    x1: Any, x2: Any, /, out: Any = None, *, axes: Any = None, dtype: Any = None, **_: Any
) -> int:
    """A vector per matrix of the broadcast batch."""
    a, b = shape_of(x1), shape_of(x2)
    if axes is not None:
        a, b = c.core_last((a, b), axes, (2, 1))
    return _bytes((*broadcast(a[:-2], b[:-1]), a[-2]), x1, x2, out=out, dtype=dtype)


def vecmat(
    x1: Any, x2: Any, /, out: Any = None, *, axes: Any = None, dtype: Any = None, **_: Any
) -> int:
    """A vector per matrix of the broadcast batch."""
    a, b = shape_of(x1), shape_of(x2)
    if axes is not None:
        a, b = c.core_last((a, b), axes, (1, 2))
    return _bytes((*broadcast(a[:-1], b[:-2]), b[-1]), x1, x2, out=out, dtype=dtype)


# ------------------------------------------------------------------------------- chain and trace


def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> int:
    """The rows of the first array, the columns of the last."""
    if len(arrays) == 2:
        return dot(arrays[0], arrays[1], out)
    return _bytes(shape_of(arrays[0])[:-1] + shape_of(arrays[-1])[1:], *arrays, out=out)


def multi_dot_scratch(arrays: Sequence[Any], *, out: Any = None) -> int:
    """Every product on the way: at most the longest side squared each, and copies of the arrays."""
    longest = max((n for x in arrays for n in shape_of(x)), default=1)
    elements = sum(prod(shape_of(x)) for x in arrays) + len(arrays) * longest**2
    return elements * promoted(*arrays)


def trace(
    a: Any,
    offset: Any = 0,
    axis1: Any = 0,
    axis2: Any = 1,
    dtype: Any = None,
    out: Any = None,
) -> int:
    """A number per matrix."""
    shape = shape_of(a)
    gone = normalize_axis(axis1, len(shape)), normalize_axis(axis2, len(shape))
    rest = [n for i, n in enumerate(shape) if i not in gone]
    return _bytes(rest, a, out=out, dtype=dtype)


def trace_of_matrices(x: Any, /, *, offset: Any = 0, dtype: Any = None) -> int:
    """A number per matrix."""
    return _bytes(shape_of(x)[:-2], x, dtype=dtype)
