"""Reading shapes, axes and element sizes without NumPy."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from shm_echo.mechestim.costs import dtypes, operands
from shm_echo.mechestim.costs.operands import broadcast, normalize_axes, shape
from tests.mechestim.costs.shaped import shaped, symmetric


@pytest.mark.parametrize(
    "value",
    [
        1, 2.5, True, 1j, "text", b"bytes", None, [], (), [[]], [[], []], [1, 2], (1.0, [2.0][0]),
        [[1, 2, 3], [4, 5, 6]], [(1, 2), [3, 4]], range(4), collections.deque([1, 2]),
        np.zeros((2, 3)), np.float32(1), [np.zeros(3), [1, 2, 3]], [np.float64(1), 2],
        {"a": 1}, {1, 2}, memoryview(b"abc"), [["a", "b"]], np.ma.array([1, 2]),
        [range(2), range(2)],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_shape_is_what_numpy_makes_of_the_value(value: Any) -> None:
    assert shape(value) == np.array(value).shape
    assert operands.size(value) == np.array(value).size
    assert operands.ndim(value) == np.array(value).ndim


@pytest.mark.parametrize("value", [[[1], [1, 2]], [1, [2]], [np.zeros(2), np.zeros(3)]], ids=repr)
def test_a_ragged_sequence_has_no_shape(value: Any) -> None:
    with pytest.raises(ValueError, match="ragged"):
        shape(value)


def test_an_object_that_converts_to_an_array_has_its_shape() -> None:
    class Lazy:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.zeros((2, 3))

    class Interface:
        def __init__(self) -> None:
            self.held = np.zeros((4, 5))
            self.__array_interface__ = self.held.__array_interface__

    assert shape(Lazy()) == (2, 3)
    assert shape([Lazy(), Lazy()]) == (2, 2, 3)
    assert shape(Interface()) == (4, 5)


@given(mutually_broadcastable_shapes(num_shapes=3, min_side=0, max_side=4, max_dims=4))
def test_shapes_broadcast_as_in_numpy(shapes: Any) -> None:
    assert broadcast(*shapes.input_shapes) == shapes.result_shape


@given(st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), min_size=1, max_size=3))
def test_shapes_that_numpy_does_not_broadcast_are_rejected(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            broadcast(*shapes)
    else:
        assert broadcast(*shapes) == expected


@given(
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.none() | st.integers(-5, 5) | st.lists(st.integers(-5, 5), max_size=3).map(tuple),
    st.booleans(),
)
def test_axes_are_reduced_as_in_numpy(dims: tuple[int, ...], axis: Any, keepdims: bool) -> None:
    array = np.zeros(dims)
    try:
        expected = np.median(array, axis, keepdims=keepdims).shape if array.size else None
    except (ValueError, TypeError):
        with pytest.raises(ValueError, match="axis"):
            operands.reduced_shape(dims, axis, keepdims)
    else:
        if expected is not None:
            assert operands.reduced_shape(dims, axis, keepdims) == expected


def test_axes_may_come_as_numpy_integers_and_arrays() -> None:
    assert normalize_axes(np.int64(-1), 3) == (2,)
    assert normalize_axes(np.array([0, -1]), 3) == (0, 2)
    assert normalize_axes(np.array(1), 3) == (1,)
    with pytest.raises(TypeError):
        normalize_axes(1.5, 3)


def test_a_logarithm_is_rounded_up_and_at_least_one() -> None:
    assert [operands.ceil_log2(n) for n in (0, 1, 2, 3, 4, 5, 1024, 1025)] == [
        1, 1, 1, 2, 2, 3, 10, 11,
    ]  # fmt: skip
    assert operands.ceil_log2(2**200 + 1) == 201


def test_a_shape_argument_is_a_number_or_a_sequence_of_them() -> None:
    assert operands.as_shape(3) == (3,)
    assert operands.as_shape(np.int64(3)) == (3,)
    assert operands.as_shape([2, np.int8(3)]) == (2, 3)
    assert operands.as_shape(()) == ()
    with pytest.raises(ValueError, match="negative"):
        operands.as_shape((2, -1))
    with pytest.raises(TypeError):
        operands.as_shape(2.5)


def test_unique_elements_are_counted_by_declared_symmetry() -> None:
    assert operands.unique(shaped(6, 6)) == 36
    assert operands.unique(symmetric(6, 6)) == 21
    assert operands.unique(symmetric(3, 3, 3)) == 10
    assert operands.unique([[1, 2], [2, 1]]) == 4


DTYPES = (
    "?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "g", "F", "D", "G", "O", "m8[s]", "M8[ns]",
    "S5", "U7", "bool", "int32", "uint8", "float16", "float64", "complex64", "longdouble", ">i2",
    "V3",
)  # fmt: skip


@pytest.mark.parametrize("code", DTYPES)
def test_the_element_size_of_a_dtype_is_numpys(code: str) -> None:
    expected = np.dtype(code)
    assert dtypes.describe(code) == (expected.kind, expected.itemsize)
    assert dtypes.describe(expected) == (expected.kind, expected.itemsize)
    assert operands.itemsize(np.zeros(2, expected)) == expected.itemsize


@pytest.mark.parametrize("kind", [bool, int, float, complex, object, np.float32, np.uint8, np.intp])
def test_the_element_size_of_a_type_is_numpys(kind: Any) -> None:
    assert dtypes.describe(kind)[1] == np.dtype(kind).itemsize


def test_a_structured_dtype_is_as_large_as_its_fields() -> None:
    fields = [("a", "f4"), ("b", "i8", (2, 2)), ("c", "?", 3)]
    assert dtypes.describe(fields)[1] == np.dtype(fields).itemsize


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(["?", "i1", "u1", "i4", "u8", "f2", "f4", "f8", "g", "F", "D", "G"]),
        min_size=1, max_size=3,
    ),
    st.lists(st.sampled_from([True, 3, 2.5, 1j]), max_size=1),
)  # fmt: skip
def test_no_promotion_gives_wider_elements_than_the_bound(
    codes: list[str], weak: list[Any]
) -> None:
    arrays = [np.ones(1, code) for code in codes]
    result = np.result_type(*arrays, *weak)
    assert result.itemsize <= dtypes.promoted(*arrays, *weak)
    assert np.result_type(result, np.float16).itemsize <= dtypes.floating(*arrays, *weak)
