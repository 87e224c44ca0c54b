"""A stand-in for an array: a shape, a dtype and perhaps a symmetry, no elements."""

from __future__ import annotations

from dataclasses import dataclass

from shm_echo.mechestim.symmetry.info import SymmetryInfo


@dataclass(frozen=True)
class DType:
    """The attributes of a dtype that rules read."""

    kind: str
    itemsize: int


FLOAT = DType("f", 8)
INTEGER = DType("i", 8)
BOOL = DType("b", 1)


@dataclass(frozen=True, eq=False)
class Shaped:
    """An operand without values: a rule that looked at one would fail."""

    shape: tuple[int, ...]
    dtype: DType = FLOAT
    symmetry_info: SymmetryInfo | None = None


def shaped(*shape: int, dtype: DType = FLOAT) -> Shaped:
    """Return an operand of a shape, such as `shaped(3, 4)`."""
    return Shaped(shape, dtype)


def symmetric(*shape: int) -> Shaped:
    """Return an operand that is symmetric along all of its axes."""
    return Shaped(shape, FLOAT, SymmetryInfo((tuple(range(len(shape))),), shape))
