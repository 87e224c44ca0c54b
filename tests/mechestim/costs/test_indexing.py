"""The shapes that an index selects, compared with NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices, integer_array_indices

from shm_echo.mechestim.costs.flops.indexing import setitem, target_shape

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@settings(max_examples=200)
@given(st.data())
def test_slices_and_integers_select_what_numpy_selects(data: Any) -> None:
    shape = data.draw(SHAPES)
    key = data.draw(basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    assert target_shape(shape, key) == np.zeros(shape)[key].shape


@given(st.data())
def test_index_arrays_select_as_many_elements_as_in_numpy(data: Any) -> None:
    shape = data.draw(SHAPES)
    key = data.draw(integer_array_indices(shape))
    assert np.prod(target_shape(shape, key)) == np.zeros(shape)[key].size


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (np.zeros((3, 4, 5), bool), 60),
        (np.ones((3, 4, 5), bool), 60),
        (np.zeros((3, 4), bool), 60),
        (np.array([True, False, True]), 60),
        ([True, False, True], 60),
        ((slice(None), np.zeros(4, bool), 0), 12),
        ((np.zeros(3, bool), np.array([0, 1])), 15),
        (True, 60),
        (False, 60),
        (np.True_, 60),
        ((0, 0, 0), 1),
        ((), 60),
        (Ellipsis, 60),
        (None, 60),
        ([0, 2], 40),
        ([], 0),
        ((np.array([[0], [1]]), np.array([0, 1, 2])), 30),
        ((slice(None, None, -2), ..., slice(1, 3)), 16),
        (np.uint8(1), 20),
    ],
    ids=str,
)
def test_a_write_costs_its_target_and_a_mask_its_own_size(key: Any, expected: int) -> None:
    assert setitem(np.zeros((3, 4, 5)), key, 0) == expected


@pytest.mark.parametrize(
    "key",
    [3, -4, (0, 0, 0, 0), (Ellipsis, Ellipsis), np.zeros((3, 3), bool), [1.5], 1.5, "x" * 0 or 2.0],
    ids=str,
)
def test_an_index_that_numpy_rejects_is_rejected(key: Any) -> None:
    array = np.zeros((3, 4, 5))
    with pytest.raises(IndexError):
        array[key] = 0
    with pytest.raises((IndexError, TypeError)):
        setitem(array, key, 0)


def test_writing_a_field_costs_every_element_of_the_array() -> None:
    array = np.zeros((2, 3), [("a", "f4"), ("b", "i4")])
    assert setitem(array, "a", 1) == 6
    assert setitem(array, ["a", "b"], 1) == 6
