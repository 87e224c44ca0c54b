"""The symmetry that is left after an operation.

Each function takes the symmetry of the operands (`None` without one) and the arguments that decide,
and returns an `Outcome`: the symmetry of the result, the groups of axes that lost theirs, and the
reason. All are pure and conservative: a symmetry that is kept is certain, one that is lost may
still hold for these values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from operator import index
from typing import Any, NamedTuple

from shm_echo.mechestim.symmetry.info import Groups, SymmetryInfo, symmetry_of

Shape = tuple[int, ...]


class Outcome(NamedTuple):
    """The effect of an operation on a symmetry.

    Attributes:
        symmetry: The symmetry of the result, `None` when it has none.
        lost: The operand's groups, in the operand's axes, that are not whole in the result.
        reason: The reason of the loss; empty if nothing was lost.
    """

    symmetry: SymmetryInfo | None
    lost: Groups = ()
    reason: str = ""


NOTHING = Outcome(None)


def strip(info: SymmetryInfo | None, reason: str) -> Outcome:
    """Lose the whole symmetry: an operation that moves or mixes elements in its own way."""
    return NOTHING if info is None else Outcome(None, info.symmetric_axes, reason)


def unary(info: SymmetryInfo | None) -> Outcome:
    """Keep the whole symmetry: a function of each element, a copy, a change of dtype."""
    return Outcome(info)


def pointwise(
    shapes: Sequence[Shape], infos: Sequence[SymmetryInfo | None], full: Shape | None = None
) -> Outcome:
    """Keep the groups that all operands share: an element-by-element function of several.

    The operands are broadcast to `full`. An operand of one element affects no group; an axis that
    is stretched leaves its group first.

    >>> square = SymmetryInfo([(0, 1)], (3, 3))
    >>> pointwise([(3, 3), (3, 3)], [square, None]).reason
    'another operand is not symmetric'
    """
    if full is None:
        full = _broadcast(shapes)
    kept: list[set[int]] | None = None
    for shape, info in zip(shapes, infos, strict=True):
        if prod(shape) == 1:
            continue
        own = _aligned(shape, info, full)
        kept = own if kept is None else [a & b for a in kept for b in own]
    result = symmetry_of((sorted(group) for group in kept or ()), full)
    for shape, info in zip(shapes, infos, strict=True):
        if info is None or prod(shape) == 1:
            continue
        missing = _lost_groups(info, result, len(full) - len(shape))
        if missing:
            return Outcome(result, missing, _pointwise_reason(shapes, infos, full))
    return Outcome(result)


def _aligned(shape: Shape, info: SymmetryInfo | None, full: Shape) -> list[set[int]]:
    """Return the groups of an operand in the axes of the result, without the stretched axes."""
    if info is None:
        return []
    offset = len(full) - len(shape)
    return [
        {axis + offset for axis in group if shape[axis] == full[axis + offset]}
        for group in info.symmetric_axes
    ]


def _lost_groups(info: SymmetryInfo, result: SymmetryInfo | None, offset: int) -> Groups:
    left = [set(group) for group in result.symmetric_axes] if result is not None else []
    return tuple(
        group
        for group in info.symmetric_axes
        if not any({axis + offset for axis in group} <= whole for whole in left)
    )


def _pointwise_reason(
    shapes: Sequence[Shape], infos: Sequence[SymmetryInfo | None], full: Shape
) -> str:
    if any(info is None and prod(shape) != 1 for shape, info in zip(shapes, infos, strict=True)):
        return "another operand is not symmetric"
    if any(shape != full[len(full) - len(shape) :] for shape in shapes if prod(shape) != 1):
        return "an axis was stretched to fit another operand"
    return "the operands are symmetric along different axes"


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    length = max(map(len, shapes), default=0)
    padded = [(1,) * (length - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in column if n != 1), 1) for column in zip(*padded, strict=True))


def unique_after_pointwise(operands: Sequence[Any], full: Shape) -> int:
    """Return the number of elements of an element-by-element result that can differ: its price."""
    shapes = [tuple(getattr(x, "shape", ())) for x in operands]
    infos = [getattr(x, "symmetry_info", None) for x in operands]
    if any(not hasattr(x, "shape") and hasattr(x, "__len__") for x in operands):
        return prod(full)  # a nested sequence counts as an array without symmetry
    result = pointwise(shapes, infos, full).symmetry
    return prod(full) if result is None else result.unique_elements


# Axes that move or go ----


def _relocate(
    info: SymmetryInfo,
    new_axis: Callable[[int], int | None],
    shape: Shape,
    reason: str = "",
    removed: frozenset[int] = frozenset(),
) -> Outcome:
    """Return the groups with each axis at `new_axis(axis)`; `None` for an axis that left its group.

    An axis that is `removed` takes no symmetry with it. An axis that left its group but is still
    in the result does: its group is lost.
    """
    kept = []
    lost = []
    for group in info.symmetric_axes:
        positions = {axis: new_axis(axis) for axis in group if axis not in removed}
        kept.append(sorted(position for position in positions.values() if position is not None))
        if len(positions) > 1 and None in positions.values():
            lost.append(group)
    return Outcome(symmetry_of(kept, shape), tuple(lost), reason if lost else "")


def reduction(info: SymmetryInfo | None, axis: Any = None, keepdims: bool = False) -> Outcome:
    """Reduce over `axis`: its axes are removed, the others stay symmetric."""
    if info is None:
        return NOTHING
    ndim = len(info.shape)
    removed = frozenset(_axis_set(axis, ndim))
    rest = [i for i in range(ndim) if i not in removed]
    position = {old: old if keepdims else new for new, old in enumerate(rest)}
    shape = tuple(
        1 if i in removed else n for i, n in enumerate(info.shape) if keepdims or i in position
    )
    return _relocate(info, position.get, shape, removed=removed)


def along(info: SymmetryInfo | None, axis: Any, shape: Shape) -> Outcome:
    """Operate along `axis` (a running total, a sort): that axis leaves its group."""
    if info is None:
        return NOTHING
    if axis is None or len(shape) != len(info.shape):
        return strip(info, "the array was flattened")
    own = _axis_set(axis, len(info.shape))
    return _relocate(
        info, lambda i: None if i in own else i, shape, "the operation treats one axis differently"
    )


def transpose(info: SymmetryInfo | None, axes: Sequence[int] | None = None) -> Outcome:
    """Transpose: the groups move with their axes."""
    if info is None:
        return NOTHING
    ndim = len(info.shape)
    order = [index(a) % ndim for a in axes] if axes is not None else list(reversed(range(ndim)))
    position = {old: new for new, old in enumerate(order)}
    return _relocate(info, position.get, tuple(info.shape[i] for i in order))


def swapaxes(info: SymmetryInfo | None, axis1: int, axis2: int) -> Outcome:
    """Swap two axes: a transpose."""
    if info is None:
        return NOTHING
    order = list(range(len(info.shape)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(info, order)


def moveaxis(info: SymmetryInfo | None, source: Any, destination: Any) -> Outcome:
    """Move axes: a transpose."""
    if info is None:
        return NOTHING
    ndim = len(info.shape)
    sources = _axis_list(source, ndim)
    order = [axis for axis in range(ndim) if axis not in sources]
    for position, axis in sorted(zip(_axis_list(destination, ndim), sources, strict=True)):
        order.insert(position, axis)
    return transpose(info, order)


def reshape(info: SymmetryInfo | None, shape: Shape) -> Outcome:
    """Reshape: the same shape keeps the symmetry, any other loses it."""
    if info is None or shape == info.shape:
        return Outcome(info)
    return strip(info, f"reshape from {info.shape} to {shape} mixes the axes")


def squeeze(info: SymmetryInfo | None, axis: Any = None) -> Outcome:
    """Remove axes of length 1."""
    if info is None:
        return NOTHING
    ones = [i for i, n in enumerate(info.shape) if n == 1]
    removed = ones if axis is None else _axis_list(axis, len(info.shape))
    rest = [i for i in range(len(info.shape)) if i not in removed]
    position = {old: new for new, old in enumerate(rest)}
    shape = tuple(info.shape[i] for i in rest)
    return _relocate(info, position.get, shape, removed=frozenset(removed))


def expand_dims(info: SymmetryInfo | None, axis: Any) -> Outcome:
    """Insert axes of length 1: the groups move with their axes."""
    if info is None:
        return NOTHING
    added = len(axis) if isinstance(axis, (tuple, list)) else 1
    ndim = len(info.shape) + added
    new = _axis_list(axis, ndim)
    rest = [i for i in range(ndim) if i not in new]
    shape = [1] * ndim
    for old, position in enumerate(rest):
        shape[position] = info.shape[old]
    return _relocate(info, dict(enumerate(rest)).get, tuple(shape))


def indexing(info: SymmetryInfo | None, key: Any) -> Outcome:
    """Index with `key`: an integer removes its axis, a slice that selects splits it off.

    The other axes of a group stay symmetric. An index array or a mask loses the whole symmetry.
    """
    if info is None:
        return NOTHING
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(not _is_basic(part) for part in parts):
        return strip(info, "advanced indexing picks elements one by one")
    parts = _without_ellipsis(parts, len(info.shape))
    position: dict[int, int] = {}
    removed: set[int] = set()
    shape: list[int] = []
    axis = 0
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        length = info.shape[axis]
        if isinstance(part, slice):
            picked = range(*part.indices(length))
            if picked == range(length):
                position[axis] = len(shape)
            shape.append(len(picked))
        else:
            removed.add(axis)
        axis += 1
    reason = "a slice selects or reorders along one axis"
    return _relocate(info, position.get, tuple(shape), reason, frozenset(removed))


def _is_basic(part: Any) -> bool:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return True
    if isinstance(part, bool) or getattr(part, "shape", ()) != ():
        return False
    return hasattr(part, "__index__") and getattr(getattr(part, "dtype", None), "kind", "i") != "b"


def _without_ellipsis(parts: list[Any], ndim: int) -> list[Any]:
    """Return one part per axis: an ellipsis, or the end, stands for the axes that are not named."""
    named = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (ndim - named)
    for at, part in enumerate(parts):
        if part is Ellipsis:
            return [*parts[:at], *whole, *parts[at + 1 :]]
    return [*parts, *whole]


def _axis_set(axis: Any, ndim: int) -> set[int]:
    return set(range(ndim)) if axis is None else set(_axis_list(axis, ndim))


def _axis_list(axis: Any, ndim: int) -> list[int]:
    given: Iterable[Any] = axis if isinstance(axis, (tuple, list)) else (axis,)
    return [index(a) % ndim for a in given] if ndim else []
