"""Prices of the products that equal an einsum: dot, matmul, inner, outer, tensordot, kron, ...

Each has the price of the equal einsum: 2 FLOPs per multiply-add, 1 per product without a sum. The
savings of `shm_echo.mechestim.costs.flops.einsum` apply here too: for operands with declared
symmetry, and for one object given twice where that makes the result symmetric (`inner`, `outer`,
`tensordot`, `kron`). Common shapes are priced directly; only those savings need a plan.

Every rule has the call signature of its operation, and raises for shapes that NumPy rejects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

from shm_echo.mechestim.costs.flops.einsum import declared, identities, plan
from shm_echo.mechestim.costs.operands import broadcast, normalize_axis, numel
from shm_echo.mechestim.costs.operands import shape as shape_of
from shm_echo.mechestim.costs.subscripts import LETTERS, Shape

Labels = Sequence[int]


def symmetric(*operands: Any) -> bool:
    """Return True if an operand declares a symmetry."""
    return any(getattr(x, "symmetry_info", None) is not None for x in operands)


def equal_einsum(
    operands: Sequence[Any], terms: Sequence[Labels], output: Labels, optimize: Any = "auto"
) -> int:
    """Return the price of the einsum of `operands` with these integer labels."""
    text = ",".join("".join(LETTERS[label] for label in term) for term in terms)
    text = f"{text}->{''.join(LETTERS[label] for label in output)}"
    shapes = [shape_of(x) for x in operands]
    symmetries = [declared(x) for x in operands]
    return plan(text, shapes, identities(operands), symmetries, optimize).cost


def mismatch(name: str, a: Shape, b: Shape) -> ValueError:
    """Return the error for operands of the operation `name` that do not fit together."""
    return ValueError(f"{name}: shapes {a} and {b} do not fit together")


# ---------------------------------------------------------------------------------- matrix products


def matmul(
    x1: Any,
    x2: Any,
    /,
    *_: Any,
    axes: Any = None,
    axis: Any = None,
    **__: Any,
) -> int:
    """Price of `matmul`: `2*m*k*n` per pair of matrices, over the broadcast batch.

    Equals `einsum("...ij,...jk->...ik")`. A 1-D operand is a row on the left, a column on the
    right.

    Source: the operation table of mechestim.
    """
    a, b = shape_of(x1), shape_of(x2)
    if not a or not b:
        raise mismatch("matmul", a, b)
    if axis is not None:
        raise TypeError("matmul takes no axis")
    if axes is not None:
        a, b = core_last((a, b), axes, (min(2, len(a)), min(2, len(b))))
    elif symmetric(x1, x2):
        return _matmul_plan(x1, x2, a, b)
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise mismatch("matmul", a, b)
    rows = a[-2] if len(a) > 1 else 1
    columns = b[-1] if len(b) > 1 else 1
    batch = numel(broadcast(a[:-2], b[:-2])) if len(a) > 2 or len(b) > 2 else 1
    return 2 * batch * rows * inner * columns


def _matmul_plan(x1: Any, x2: Any, a: Shape, b: Shape) -> int:
    batch = max(len(a), len(b), 2) - 2
    row, shared, column = batch, batch + 1, batch + 2
    left = [*range(batch - len(a[:-2]), batch), *([row] if len(a) > 1 else []), shared]
    right = [*range(batch - len(b[:-2]), batch), shared, *([column] if len(b) > 1 else [])]
    rows = [row] if len(a) > 1 else []
    columns = [column] if len(b) > 1 else []
    return _batched((x1, x2), (left, right), [*range(batch), *rows, *columns], shared)


def _batched(operands: Sequence[Any], terms: Sequence[Labels], output: Labels, core: int) -> int:
    """Return the price like `equal_einsum`; only axes of the batch may stretch from length 1."""
    lengths = {shape_of(x)[list(term).index(core)] for x, term in zip(operands, terms, strict=True)}
    if len(lengths) > 1:
        raise ValueError(f"the core axes have lengths {sorted(lengths)}")
    return equal_einsum(operands, terms, output)


def core_last(shapes: Sequence[Shape], axes: Any, cores: Sequence[int]) -> list[Shape]:
    """Return `shapes` with the core axes at the end; `axes` names them, as for any gufunc."""
    moved = []
    for shape, given, count in zip(shapes, axes, cores, strict=False):  # `axes` may include out
        named = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        core = [normalize_axis(a, len(shape)) for a in named]
        if len(core) != count or len(set(core)) != count:
            raise ValueError(f"axes: {given!r} does not name {count} axes of an array of {shape}")
        rest = [n for i, n in enumerate(shape) if i not in core]
        moved.append((*rest, *(shape[i] for i in core)))
    if len(moved) != len(shapes):
        raise ValueError("axes names the axes of too few operands")
    return moved


def dot(a: Any, b: Any, *_: Any, **__: Any) -> int:
    """Price of `dot`: `2*k` per element of the result, `k` the length that is summed.

    Equals `einsum("...j,...jk")` over the last axis of `a` and the last but one of `b`; with
    a 0-d operand it is a product by a number: `numel(output)`.

    Source: the operation table of mechestim.
    """
    left, right = shape_of(a), shape_of(b)
    if not left or not right:
        return _scaled(a, b)
    shared = right[-2] if len(right) > 1 else right[0]
    if left[-1] != shared:
        raise mismatch("dot", left, right)
    if symmetric(a, b):
        first = list(range(len(left)))
        second = list(range(len(left), len(left) + len(right)))
        second[-2 if len(right) > 1 else 0] = first[-1]
        return equal_einsum((a, b), (first, second), _once(first, second))
    return 2 * numel(left) * (numel(right[:-2]) * right[-1] if len(right) > 1 else 1)


def _scaled(a: Any, b: Any) -> int:
    """Return the price of a product with a 0-d operand: 1 per element that can differ."""
    operand = a if shape_of(a) else b
    return equal_einsum((operand,), (range(len(shape_of(operand))),), range(len(shape_of(operand))))


def _once(first: Labels, second: Labels) -> list[int]:
    """Return the labels that only one of the operands has."""
    left = [label for label in first if label not in second]
    return left + [label for label in second if label not in first]


# ---------------------------------------------------------------------------------- vector products


def vdot(a: Any, b: Any, /) -> int:
    """Price of `vdot`: `2*n` for `n` elements each. Equals `einsum("i,i->")`.

    Source: the operation table of mechestim.
    """
    left, right = shape_of(a), shape_of(b)
    if numel(left) != numel(right):
        raise mismatch("vdot", left, right)
    return 2 * numel(left)


def vecdot(
    x1: Any,
    x2: Any,
    /,
    *_: Any,
    axis: Any = None,
    axes: Any = None,
    **__: Any,
) -> int:
    """Price of `vecdot`: `2*numel(broadcast)`. Equals `einsum("...i,...i->...")`.

    Source: the operation table of mechestim.
    """
    a, b = shape_of(x1), shape_of(x2)
    if not a or not b:
        raise mismatch("vecdot", a, b)
    if axes is not None or axis not in (None, -1):
        named = axes if axes is not None else (axis, axis)
        a, b = core_last((a, b), named, (1, 1))
    elif symmetric(x1, x2):
        batch = max(len(a), len(b)) - 1
        left = [*range(batch - len(a) + 1, batch), batch]
        right = [*range(batch - len(b) + 1, batch), batch]
        return _batched((x1, x2), (left, right), range(batch), batch)
    if a[-1] != b[-1]:
        raise mismatch("vecdot", a, b)
    return 2 * numel(broadcast(a, b))


def matvec(x1: Any, x2: Any, /, *_: Any, axes: Any = None, **__: Any) -> int:
    """Price of `matvec`: `2*m*n` per matrix. Equals `einsum("...ij,...j->...i")`.

    Source: the operation table of mechestim.
    """
    a, b = shape_of(x1), shape_of(x2)
    if len(a) < 2 or not b:
        raise mismatch("matvec", a, b)
    if axes is not None:
        a, b = core_last((a, b), axes, (2, 1))
    elif symmetric(x1, x2):
        batch = max(len(a) - 2, len(b) - 1)
        left = [*range(batch - len(a) + 2, batch), batch, batch + 1]
        right = [*range(batch - len(b) + 1, batch), batch + 1]
        return _batched((x1, x2), (left, right), range(batch + 1), batch + 1)
    if a[-1] != b[-1]:
        raise mismatch("matvec", a, b)
    return 2 * numel(broadcast(a[:-2], b[:-1])) * a[-2] * a[-1]


def vecmat(x1: Any, x2: Any, /, *_: Any, axes: Any = None, **__: Any) -> int:
    """Price of `vecmat`: `2*m*n` per matrix. Equals `einsum("...i,...ij->...j")`.

    Source: the operation table of mechestim.
    """
    a, b = shape_of(x1), shape_of(x2)
    if not a or len(b) < 2:
        raise mismatch("vecmat", a, b)
    if axes is not None:
        a, b = core_last((a, b), axes, (1, 2))
    elif symmetric(x1, x2):
        batch = max(len(a) - 1, len(b) - 2)
        left = [*range(batch - len(a) + 1, batch), batch]
        right = [*range(batch - len(b) + 2, batch), batch, batch + 1]
        return _batched((x1, x2), (left, right), [*range(batch), batch + 1], batch)
    if a[-1] != b[-2]:
        raise mismatch("vecmat", a, b)
    return 2 * numel(broadcast(a[:-1], b[:-2])) * b[-2] * b[-1]


def inner(a: Any, b: Any, /) -> int:
    """Price of `inner`: `2*k` per element of the result, `k` the length of the last axes.

    Equals `einsum("...k,...k")` over separate leading axes: `inner(A, A)` has a symmetric
    result.

    Source: the operation table of mechestim.
    """
    left, right = shape_of(a), shape_of(b)
    if not left or not right:
        return _scaled(a, b)
    if left[-1] != right[-1]:
        raise mismatch("inner", left, right)
    if (a is b and len(left) > 1) or symmetric(a, b):
        first = list(range(len(left)))
        second = [*range(len(left), len(left) + len(right) - 1), first[-1]]
        return equal_einsum((a, b), (first, second), [*first[:-1], *second[:-1]])
    return 2 * numel(left) * numel(right[:-1])


# ---------------------------------------------------------------------- outer and tensor products


def outer(a: Any, b: Any, *_: Any, **__: Any) -> int:
    """Price of `outer`: `m*n`. Equals `einsum("i,j->ij")` of the flattened operands.

    `outer(x, x)` is symmetric: `n*(n+1)/2`.

    Source: the operation table of mechestim.
    """
    left = numel(shape_of(a))
    return left * (left + 1) // 2 if a is b else left * numel(shape_of(b))


def outer_of_vectors(x1: Any, x2: Any, /) -> int:
    """Price of `linalg.outer`: that of `outer`; it only takes 1-D operands.

    Source: the operation table of mechestim.
    """
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise mismatch("linalg.outer", shape_of(x1), shape_of(x2))
    return outer(x1, x2)


def tensordot_axes(a: Shape, b: Shape, axes: Any) -> tuple[list[int], list[int]]:
    """Return the axes of both operands that `tensordot` sums over, counted from the front."""
    try:
        first, second = axes
    except TypeError:
        count = index(axes)
        first, second = list(range(-count, 0)), list(range(count))
    left = _axis_list(first, len(a))
    right = _axis_list(second, len(b))
    if len(left) != len(right) or any(a[i] != b[j] for i, j in zip(left, right, strict=True)):
        raise mismatch(f"tensordot(axes={axes!r})", a, b)
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ValueError(f"tensordot: axes={axes!r} names an axis twice")
    return left, right


def _axis_list(axes: Any, ndim: int) -> list[int]:
    try:
        given: Iterable[Any] = list(axes)
    except TypeError:
        given = [axes]
    return [normalize_axis(axis, ndim) for axis in given]


def tensordot(a: Any, b: Any, axes: Any = 2) -> int:
    """Price of `tensordot`: numel(output) times the summed lengths, times 2 if there are any.

    Equals the einsum over the same axes.

    Source: the operation table of mechestim.
    """
    left, right = shape_of(a), shape_of(b)
    summed, partner = tensordot_axes(left, right, axes)
    if a is b or symmetric(a, b):
        first = list(range(len(left)))
        second = list(range(len(left), len(left) + len(right)))
        for i, j in zip(summed, partner, strict=True):
            second[j] = first[i]
        if len(left) + len(right) - len(summed) <= len(LETTERS):
            return equal_einsum((a, b), (first, second), _once(first, second))
    free = numel(n for j, n in enumerate(right) if j not in partner)
    return numel(left) * free * (2 if summed else 1)


def kron(a: Any, b: Any) -> int:
    """Price of `kron`: numel(output). Equals `einsum("ij,kl->ikjl")`, reshaped.

    `kron(A, A)` has the symmetry of that einsum: `n*(n+1)/2` for `n` elements of `A`.

    Source: the operation table of mechestim.
    """
    left, right = shape_of(a), shape_of(b)
    if symmetric(a, b) and len(left) + len(right) <= len(LETTERS):
        first = list(range(len(left)))
        second = list(range(len(left), len(left) + len(right)))
        return equal_einsum((a, b), (first, second), [*first, *second])
    size = numel(left)
    return size * (size + 1) // 2 if a is b else size * numel(right)


# ------------------------------------------------------------------------------------------ trace


def trace(
    a: Any,
    offset: Any = 0,
    axis1: Any = 0,
    axis2: Any = 1,
    *_: Any,
    **__: Any,
) -> int:
    """Price of `trace`: `min(m, n)` per matrix, for every offset.

    Source: the operation table of mechestim.
    """
    shape = shape_of(a)
    index(offset)
    first, second = normalize_axis(axis1, len(shape)), normalize_axis(axis2, len(shape))
    if len(shape) < 2 or first == second:
        raise ValueError(f"trace needs two different axes of {shape}")
    batch = numel(n for i, n in enumerate(shape) if i not in (first, second))
    return batch * min(shape[first], shape[second])


def trace_of_matrices(x: Any, /, *, offset: Any = 0, **_: Any) -> int:
    """Price of `linalg.trace`: `min(m, n)` per matrix of the last two axes.

    Source: the operation table of mechestim.
    """
    if len(shape_of(x)) < 2:
        raise ValueError("linalg.trace needs at least two axes")
    return trace(x, offset, -2, -1)
