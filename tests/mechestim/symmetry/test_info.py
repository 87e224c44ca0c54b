"""SymmetryInfo: a checked value that counts the elements that can differ."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm_echo.mechestim.symmetry.info import SymmetryInfo, normalize_groups


def orbits(groups: tuple[tuple[int, ...], ...], shape: tuple[int, ...]) -> int:
    """Return the number of elements that can differ, counted one by one."""
    found = set()
    for place in itertools.product(*map(range, shape)):
        first = list(place)
        for group in groups:
            for axis, value in zip(group, sorted(place[axis] for axis in group), strict=True):
                first[axis] = value
        found.add(tuple(first))
    return len(found)


@st.composite
def grouped_shapes(draw: st.DrawFn) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    ndim = draw(st.integers(2, 5))
    owner = draw(st.lists(st.integers(0, 2), min_size=ndim, max_size=ndim))
    lengths = draw(st.lists(st.integers(0, 3), min_size=3, max_size=3))
    groups = [tuple(i for i in range(ndim) if owner[i] == g) for g in range(3)]
    shape = tuple(lengths[g] for g in owner)
    return tuple(g for g in groups if len(g) > 1), shape


@given(grouped_shapes())
def test_unique_elements_are_the_orbits_of_the_indices(
    case: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]],
) -> None:
    groups, shape = case
    assert SymmetryInfo(groups, shape).unique_elements == orbits(groups, shape)


def test_a_symmetric_matrix_has_a_triangle_of_unique_elements() -> None:
    assert SymmetryInfo([(0, 1)], (10, 10)).unique_elements == 55


def test_the_symmetry_factor_is_the_product_of_the_factorials() -> None:
    assert SymmetryInfo([(0, 1, 2), (3, 4)], (4, 4, 4, 7, 7)).symmetry_factor == 12


def test_axes_may_be_negative_unordered_or_a_single_group() -> None:
    assert normalize_groups((-1, 0), 2) == ((0, 1),)
    assert normalize_groups([[2, 3], (1, 0)], 4) == ((0, 1), (2, 3))
    assert normalize_groups([(2,)], 3) == ()


@pytest.mark.parametrize(
    ("groups", "shape", "words"),
    [
        ([(0, 2)], (3, 3), "out of bounds"),
        ([(0, 0)], (3, 3), "twice"),
        ([(0, 1), (1, 2)], (3, 3, 3), "two groups"),
        ([(0, 1)], (3, 4), r"lengths.*\(3, 4\)"),
    ],
)
def test_invalid_groups_are_refused_with_the_reason(
    groups: object, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        SymmetryInfo(groups, shape)  # type: ignore[arg-type]


def test_a_value_that_is_no_axis_is_refused() -> None:
    with pytest.raises(TypeError, match="tuple of axes"):
        normalize_groups(3.5, 2)


def test_symmetry_info_is_a_hashable_value() -> None:
    first, second = SymmetryInfo([(1, 0)], (3, 3)), SymmetryInfo(((0, 1),), (3, 3))
    assert first == second
    assert len({first, second}) == 1
    with pytest.raises(AttributeError):
        first.shape = (4, 4)  # type: ignore[misc]
