"""Interchangeable axes of a tensor, and the number of elements that they leave distinct.

A group of axes is symmetric when exchanging any two of them leaves the tensor as it is. The groups
of one tensor are disjoint. `SymmetryInfo` is a value: hashable, and checked when it is created. It
does not depend on arrays; `local.symmetric` checks whether data has the symmetry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb, factorial, prod
from operator import index
from typing import Any

Axes = tuple[int, ...]
Groups = tuple[Axes, ...]


def normalize_groups(symmetric_axes: Any, ndim: int) -> Groups:
    """Return `symmetric_axes` as disjoint sorted tuples of axes counted from the front.

    Takes one group, `(0, 1)`, or a sequence of groups, `[(0, 1), (2, 3)]`. Groups of one axis are
    left out.

    >>> normalize_groups((-1, 0), 2), normalize_groups([(2, 3), (1, 0)], 4)
    (((0, 1),), ((0, 1), (2, 3)))
    """
    try:
        given = list(symmetric_axes)
        groups = [given] if all(map(_is_axis, given)) else [list(group) for group in given]
    except TypeError:
        raise TypeError(
            "symmetric_axes must be a tuple of axes or a list of such tuples, "
            f"not {symmetric_axes!r}"
        ) from None
    seen: set[int] = set()
    result = []
    for group in groups:
        axes = sorted({_normalize_axis(axis, ndim) for axis in group})
        if len(axes) != len(group):
            raise ValueError(f"symmetric_axes names an axis twice in {tuple(group)}")
        if seen.intersection(axes):
            raise ValueError(f"symmetric_axes has an axis in two groups: {symmetric_axes!r}")
        seen.update(axes)
        if len(axes) > 1:
            result.append(tuple(axes))
    return tuple(sorted(result))


def _is_axis(value: object) -> bool:
    return hasattr(value, "__index__")


def _normalize_axis(axis: Any, ndim: int) -> int:
    number = index(axis)
    if not -ndim <= number < ndim:
        raise ValueError(f"symmetric axis {number} is out of bounds for an array of {ndim} axes")
    return number % ndim


def multisets(length: int, axes: int) -> int:
    """Return the distinct elements over `axes` interchangeable axes: `C(length + axes - 1, axes)`.

    >>> multisets(10, 2)
    55
    """
    return comb(length + axes - 1, axes)


@dataclass(frozen=True)
class SymmetryInfo:
    """The symmetry of a tensor of one shape.

    Attributes:
        symmetric_axes: Groups of interchangeable axes: sorted, disjoint, of at least two axes each.
        shape: The tensor's shape. The axes of a group are equally long.

    >>> SymmetryInfo([(0, 1)], (10, 10)).unique_elements
    55
    """

    symmetric_axes: Groups
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = tuple(index(n) for n in self.shape)
        groups = normalize_groups(self.symmetric_axes, len(shape))
        for group in groups:
            if len({shape[axis] for axis in group}) > 1:
                lengths = tuple(shape[axis] for axis in group)
                raise ValueError(
                    f"axes {group} of shape {shape} cannot be symmetric: their lengths: {lengths}"
                )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "symmetric_axes", groups)

    @property
    def unique_elements(self) -> int:
        """Elements that can differ: `C(n+k-1, k)` per group of `k` axes, times the free axes."""
        grouped = {axis for group in self.symmetric_axes for axis in group}
        free = prod(n for axis, n in enumerate(self.shape) if axis not in grouped)
        return free * prod(multisets(self.shape[g[0]], len(g)) for g in self.symmetric_axes)

    @property
    def symmetry_factor(self) -> int:
        """Permutations of the axes that leave the tensor as it is: the product of `k!`."""
        return prod(factorial(len(group)) for group in self.symmetric_axes)


def symmetry_of(groups: Iterable[Iterable[int]], shape: tuple[int, ...]) -> SymmetryInfo | None:
    """Return a `SymmetryInfo`, or `None` if no group of two axes is left."""
    kept = tuple(tuple(group) for group in groups if len(tuple(group)) > 1)
    return SymmetryInfo(kept, shape) if kept else None
