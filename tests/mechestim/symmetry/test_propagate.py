"""Symmetries after operations, compared with those of real arrays."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.symmetry import propagate
from shm_echo.mechestim.symmetry.info import SymmetryInfo
from shm_echo.mechestim.symmetry.propagate import Outcome


def symmetric(info: SymmetryInfo, seed: int = 0) -> np.ndarray:
    """Return a random array with exactly the symmetry of `info`."""
    values = np.random.default_rng(seed).random(info.shape)
    result = np.empty_like(values)
    for place in itertools.product(*map(range, info.shape)):
        first = list(place)
        for group in info.symmetric_axes:
            for axis, value in zip(group, sorted(place[a] for a in group), strict=True):
                first[axis] = value
        result[place] = values[tuple(first)]
    return result


def holds(result: np.ndarray, outcome: Outcome) -> bool:
    """Return True if `result` has the predicted shape and symmetry."""
    info = outcome.symmetry
    if info is None:
        return True
    return result.shape == info.shape and all(
        np.array_equal(result, result.swapaxes(group[0], axis))
        for group in info.symmetric_axes
        for axis in group[1:]
    )


def groups(outcome: Outcome) -> tuple[tuple[int, ...], ...]:
    return () if outcome.symmetry is None else outcome.symmetry.symmetric_axes


MATRIX = SymmetryInfo(((0, 1),), (4, 4))
CUBE = SymmetryInfo(((0, 1, 2),), (3, 3, 3))
MIXED = SymmetryInfo(((0, 2), (1, 3)), (3, 2, 3, 2))
INFOS = st.sampled_from([MATRIX, CUBE, MIXED, SymmetryInfo(((1, 2),), (2, 3, 3, 1))])


# ------------------------------------------------------------------------------------ worked cases


@pytest.mark.parametrize(
    ("outcome", "expected", "lost"),
    [
        (propagate.unary(CUBE), ((0, 1, 2),), ()),
        (propagate.pointwise([(4, 4), (4, 4)], [MATRIX, MATRIX]), ((0, 1),), ()),
        (propagate.pointwise([(4, 4), ()], [MATRIX, None]), ((0, 1),), ()),
        (propagate.pointwise([(1, 1, 1), (4, 4)], [None, MATRIX]), ((1, 2),), ()),
        (propagate.pointwise([(4, 4), (4, 4)], [MATRIX, None]), (), ((0, 1),)),
        (propagate.pointwise([(4, 4), (4,)], [MATRIX, None]), (), ((0, 1),)),
        (
            propagate.pointwise([(3, 3, 3), (3, 3)], [CUBE, SymmetryInfo(((0, 1),), (3, 3))]),
            ((1, 2),),
            ((0, 1, 2),),
        ),
        (propagate.reduction(CUBE, 0), ((0, 1),), ()),
        (propagate.reduction(CUBE, 1, True), ((0, 2),), ()),
        (propagate.reduction(CUBE, None), (), ()),
        (propagate.transpose(MIXED, (1, 0, 3, 2)), ((0, 2), (1, 3)), ()),
        (propagate.moveaxis(MIXED, 0, -1), ((0, 2), (1, 3)), ()),
        (propagate.swapaxes(MIXED, 0, 1), ((0, 3), (1, 2)), ()),
        (propagate.reshape(MATRIX, (16,)), (), ((0, 1),)),
        (propagate.reshape(MATRIX, (4, 4)), ((0, 1),), ()),
        (propagate.expand_dims(MATRIX, 1), ((0, 2),), ()),
        (propagate.indexing(CUBE, 0), ((0, 1),), ()),
        (propagate.indexing(MATRIX, 0), (), ()),
        (propagate.indexing(CUBE, (slice(0, 2),)), ((1, 2),), ((0, 1, 2),)),
        (propagate.indexing(MATRIX, slice(None, None, -1)), (), ((0, 1),)),
        (propagate.indexing(MATRIX, (Ellipsis, None)), ((0, 1),), ()),
        (propagate.indexing(MATRIX, [0, 1]), (), ((0, 1),)),
        (propagate.along(CUBE, 0, (3, 3, 3)), ((1, 2),), ((0, 1, 2),)),
    ],
)
def test_propagation_of_worked_examples(
    outcome: Outcome, expected: tuple[tuple[int, ...], ...], lost: tuple[tuple[int, ...], ...]
) -> None:
    assert groups(outcome) == expected
    assert outcome.lost == lost
    assert bool(outcome.reason) == bool(lost)


def test_an_operand_without_symmetry_has_the_empty_outcome() -> None:
    for outcome in (
        propagate.unary(None),
        propagate.reduction(None, 0),
        propagate.transpose(None),
        propagate.indexing(None, 0),
        propagate.reshape(None, (3,)),
        propagate.strip(None, "sorting"),
    ):
        assert outcome == Outcome(None)


# ------------------------------------------------------------------------- against real arrays


@given(INFOS, st.data())
def test_the_symmetry_after_indexing_holds_for_the_values(
    info: SymmetryInfo, data: st.DataObject
) -> None:
    part = st.one_of(
        st.just(slice(None)),
        st.just(0),
        st.just(None),
        st.builds(slice, st.integers(-3, 3), st.integers(-3, 3), st.sampled_from([1, 2, -1])),
    )
    key: list[Any] = []
    for axis in range(data.draw(st.integers(0, len(info.shape)))):
        drawn = data.draw(part)
        while drawn is None:
            key.append(None)
            drawn = data.draw(part)
        key.append(drawn)
        if axis == 1 and data.draw(st.booleans()):
            key.append(Ellipsis)
            break
    array = symmetric(info)
    assert holds(array[tuple(key)], propagate.indexing(info, tuple(key)))


@given(INFOS, st.data())
def test_the_symmetry_after_a_reduction_holds_for_the_values(
    info: SymmetryInfo, data: st.DataObject
) -> None:
    axes = st.sets(st.integers(0, len(info.shape) - 1)).map(tuple)
    axis = data.draw(st.one_of(st.none(), axes))
    keepdims = data.draw(st.booleans())
    result = symmetric(info).max(axis=axis, keepdims=keepdims)
    assert holds(result, propagate.reduction(info, axis, keepdims))


@given(INFOS, st.data())
def test_the_symmetry_after_a_transpose_holds_for_the_values(
    info: SymmetryInfo, data: st.DataObject
) -> None:
    array = symmetric(info)
    order = data.draw(st.permutations(range(len(info.shape))))
    outcome = propagate.transpose(info, order)
    assert holds(array.transpose(order), outcome)
    assert outcome.symmetry is not None
    assert outcome.symmetry.unique_elements == info.unique_elements
    source, destination = data.draw(st.permutations(range(len(info.shape))))[:2]
    moved = propagate.moveaxis(info, source, destination)
    assert holds(np.moveaxis(array, source, destination), moved)
    swapped = propagate.swapaxes(info, source, destination)
    assert holds(array.swapaxes(source, destination), swapped)


@settings(deadline=None)
@given(st.data())
def test_the_symmetry_after_a_binary_operation_holds_for_the_values(data: st.DataObject) -> None:
    shapes = st.sampled_from([(3, 3), (3, 3, 3), (3,), (1, 3, 3), (3, 1), (), (1, 1), (3, 3, 1)])
    operands, infos = [], []
    for seed in range(2):
        shape = data.draw(shapes)
        pairs = [
            p for p in itertools.combinations(range(len(shape)), 2) if shape[p[0]] == shape[p[1]]
        ]
        choice = data.draw(st.sampled_from([None, *pairs]))
        if choice is None:
            infos.append(None)
            operands.append(np.random.default_rng(seed).random(shape))
        else:
            infos.append(SymmetryInfo((choice,), shape))
            operands.append(symmetric(infos[-1], seed))
    result = operands[0] + operands[1]
    shapes_used = [x.shape for x in operands]
    outcome = propagate.pointwise(shapes_used, infos, result.shape)
    assert holds(result, outcome)


def test_unique_after_pointwise_counts_the_result() -> None:
    class Operand:
        def __init__(self, shape: tuple[int, ...], info: SymmetryInfo | None) -> None:
            self.shape, self.dtype, self.symmetry_info = shape, "f8", info

    both = Operand((4, 4), MATRIX)
    plain = Operand((4, 4), None)
    assert propagate.unique_after_pointwise((both, both), (4, 4)) == 10
    assert propagate.unique_after_pointwise((both, 2.0), (4, 4)) == 10
    assert propagate.unique_after_pointwise((both, plain), (4, 4)) == 16
    assert propagate.unique_after_pointwise((both, [[1, 2, 3, 4]]), (4, 4)) == 16
