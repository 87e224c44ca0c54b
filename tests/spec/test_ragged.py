"""Ragged leaves: the declaration, the rows that fit it, and the specs that have them."""

from __future__ import annotations

import copy
import pickle
from array import array as buffer
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import Ragged, RaggedBatch, RaggedRow, SpecMismatchError
from shm_echo.errors import ProtocolError
from shm_echo.spec import TreeSpec
from shm_echo.spec.rebuild import example_from_wire
from tests.spec.trees import refusal
from tests.support.ragged_rows import DTYPES, random_row

TOKENS = Ragged(np.int32, 4)


def lowered(ragged: Ragged, value: Any, **options: Any) -> tuple[list[Any], int]:
    """Return the padded row and the length that a value becomes."""
    padded, length = TreeSpec.from_example([ragged]).check([value], **options)
    return padded.tolist(), int(length)


# ---------------------------------------------------------------- the declaration


def test_a_declaration_says_what_it_is() -> None:
    ragged = Ragged("f4", np.int64(3), [2], truncate=True, padding_value=-1)  # type: ignore[arg-type]
    assert ragged.dtype == np.float32
    assert ragged.max_length == 3
    assert ragged.trailing_shape == (2,)
    assert ragged.truncate is True
    assert ragged.padding_value == -1
    assert str(ragged) == "ragged float32 (<=3, 2) padded with -1.0"
    assert repr(ragged) == (
        "Ragged(float32, max_length=3, trailing_shape=(2,), truncate=True, padding_value=-1.0)"
    )
    assert str(TOKENS) == "ragged int32 (<=4,)"
    assert repr(TOKENS) == "Ragged(int32, max_length=4)"


@pytest.mark.parametrize(
    "other",
    [
        Ragged(np.int64, 4),
        Ragged(np.int32, 5),
        Ragged(np.int32, 4, (1,)),
        Ragged(np.int32, 4, truncate=True),
        Ragged(np.int32, 4, padding_value=1),
    ],
)
def test_declarations_are_equal_by_value(other: Ragged) -> None:
    for each in (TOKENS, other):
        assert pickle.loads(pickle.dumps(each)) == each == copy.deepcopy(each)
        assert hash(copy.copy(each)) == hash(each)
    assert other != TOKENS


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((object, 4), TypeError, "Python objects"),
        (("no such dtype", 4), TypeError, "dtype"),
        ((np.dtype((np.int32, (2,))), 4), TypeError, "trailing_shape"),
        (("U", 4), ValueError, "U16"),
        ((np.int32, 0), ValueError, "max_length"),
        ((np.int32, 2**40, (2**40, 0)), ValueError, "too large"),
        ((np.int32, 2.5), TypeError, "max_length"),
        ((np.int32, 4, (-1,)), ValueError, "trailing_shape"),
        ((np.int32, 4, (1.5,)), TypeError, "trailing_shape"),
    ],
)
def test_a_declaration_that_no_memory_can_have_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Ragged(*arguments)


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.int32, 1.5), (np.uint8, 256), (np.float16, 1e9), ("S3", 1)]
)
def test_a_padding_value_has_to_fit_the_dtype(dtype: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="padding_value"):
        Ragged(dtype, 4, padding_value=value)
    with pytest.raises(TypeError, match="truncate"):
        Ragged(np.int32, 4, truncate=1)  # type: ignore[arg-type]


# ---------------------------------------------------------------- rows


@settings(max_examples=150)
@given(data=st.data())
def test_a_row_of_any_length_comes_out_as_it_was_put_in(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    trailing = tuple(data.draw(st.lists(st.integers(0, 3), max_size=2)))
    most = data.draw(st.integers(1, 9))
    row = random_row(data.draw(st.integers(0, most)), dtype, trailing)
    ragged = Ragged(dtype, most, trailing)
    padded, length = TreeSpec.from_example(ragged).check(row)
    assert padded.shape == (most, *trailing)
    assert padded.dtype == dtype
    assert length.dtype == np.int64
    assert length == len(row)
    assert padded[: len(row)].tobytes() == row.tobytes()
    assert not any(padded[len(row) :].tobytes())
    found = RaggedRow(padded, length)
    assert found.values.tobytes() == row.tobytes()
    assert len(found) == len(row)


@pytest.mark.parametrize(
    ("ragged", "value", "row"),
    [
        (TOKENS, [1, True, np.int8(3)], [1, 1, 3, 0]),
        (TOKENS, (), [0, 0, 0, 0]),
        (TOKENS, (2**31 - 1, -(2**31)), [2**31 - 1, -(2**31), 0, 0]),
        (TOKENS, range(3), [0, 1, 2, 0]),
        (TOKENS, buffer("h", [5]), [5, 0, 0, 0]),
        (TOKENS, np.array([1, 2, 3, 4], np.int32)[::2], [1, 3, 0, 0]),
        (Ragged(np.uint8, 4), b"ab", [97, 98, 0, 0]),
        (Ragged(np.uint8, 4), bytearray(b""), [0, 0, 0, 0]),
        (Ragged(np.float32, 3), [1, 2.5], [1.0, 2.5, 0.0]),
        (Ragged(np.float32, 2, (2,)), [[1, 2]], [[1.0, 2.0], [0.0, 0.0]]),
        (Ragged(np.float32, 2, (2,)), [], [[0.0, 0.0], [0.0, 0.0]]),
        (Ragged("U3", 2), ["a"], ["a", ""]),
        (Ragged(np.int64, 3, padding_value=-100), [7], [7, -100, -100]),
        (Ragged(np.int64, 2, truncate=True), [7, 8, 9], [7, 8]),
        (Ragged(np.int32, 2, truncate=True), np.arange(5, dtype=np.int32), [0, 1]),
        (TOKENS, RaggedRow(np.array([3, 4, 9], np.int32), 2), [3, 4, 0, 0]),
    ],
)
def test_rows_may_come_in_many_forms(ragged: Ragged, value: Any, row: list[Any]) -> None:
    padded, _ = lowered(ragged, value)
    assert padded == row


@pytest.mark.parametrize(
    ("ragged", "value", "words"),
    [
        (TOKENS, np.zeros(5, np.int32), ["int32 (5,)", "length is 5", "max_length 4"]),
        (TOKENS, [0] * 5, ["list of 5", "length is 5", "max_length 4"]),
        (TOKENS, np.zeros(2, np.int64), ["int64 (2,)"]),
        (TOKENS, np.zeros(2, ">i4"), [">i4 (2,)"]),
        (TOKENS, np.zeros((2, 1), np.int32), ["int32 (2, 1)"]),
        (TOKENS, np.int32(3), ["int32 ()"]),
        (TOKENS, 3, ["Python int"]),
        (TOKENS, None, ["None"]),
        (TOKENS, "abc", ["Python str"]),
        (TOKENS, b"abc", ["Python bytes"]),
        (TOKENS, {1, 2}, ["builtins.set"]),
        (TOKENS, [1, 1.5], ["element 1", "Python float"]),
        (TOKENS, [2**31], ["element 0", "not between"]),
        (TOKENS, [2**70], ["element 0", "not between"]),
        (TOKENS, ["a"], ["element 0", "Python str"]),
        (TOKENS, [[1], [2]], ["(2, 1)"]),
        (TOKENS, [1, [2]], ["do not make an array"]),
        (TOKENS, np.ma.zeros(2, np.int32), ["masked"]),
        (TOKENS, RaggedRow(np.zeros(4, np.int32), -1), ["not set"]),
        (TOKENS, RaggedRow(np.zeros(4, np.int32), 5), ["no length 5"]),
        (Ragged(np.float16, 3), [1e6], ["element 0", "overflows"]),
        (Ragged(np.bool_, 3), [1], ["element 0", "safely"]),
        (Ragged(np.int8, 3, (1,)), [[1.5]], ["without loss", "float64"]),
        (Ragged("U2", 3), ["abc"], ["element 0", "Python str"]),
    ],
)
def test_other_values_are_refused_with_path_and_expectation(
    ragged: Ragged, value: Any, words: list[str]
) -> None:
    error = refusal({"a": {"tokens": value}}, {"a": {"tokens": ragged}})
    assert error.path == "['a']['tokens']"
    assert str(error).startswith("['a']['tokens']: ")
    for word in words:
        assert word in str(error)


def test_arrays_of_other_dtypes_are_cast_on_demand() -> None:
    ragged = Ragged(np.float32, 3, truncate=True)
    row = np.arange(5)
    assert refusal(row, ragged).path == ""
    assert lowered(ragged, row, same_kind=True) == ([0.0, 1.0, 2.0], 3)
    assert refusal(np.zeros(1), TOKENS, same_kind=True).path == ""
    stacked = TreeSpec.from_example(ragged).check_stacked([row], same_kind=True)
    assert stacked[1][0].tolist() == [[0.0, 1.0, 2.0]]


# ---------------------------------------------------------------- stacks of samples


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [], [3]],
        ([1, 2], np.zeros(0, np.int32), (3,)),
        RaggedBatch(np.array([[1, 2, 9], [9, 9, 9], [3, 9, 9]], np.int32), np.array([2, 0, 1])),
        RaggedBatch(np.full((3, 7), 9, np.int32), np.array([0, 0, 0])),
    ],
)
def test_a_stack_is_a_list_of_rows_or_a_batch(value: Any) -> None:
    spec = TreeSpec.from_example({"t": TOKENS, "n": np.int64(0)})
    count, (_, padded, lengths) = spec.check_stacked({"t": value, "n": np.arange(3)})
    assert count == 3
    assert lengths.dtype == np.int64
    rows = [list(row) for row in value]
    assert lengths.tolist() == [len(row) for row in rows]
    assert padded.tolist() == [row + [0] * (4 - len(row)) for row in rows]


def test_a_stack_may_be_an_array_of_equal_rows() -> None:
    spec = TreeSpec.from_example(Ragged(np.int32, 3, (2,)))
    _, (padded, lengths) = spec.check_stacked(np.ones((4, 2, 2), np.int32))
    assert padded.shape == (4, 3, 2)
    assert lengths.tolist() == [2] * 4
    assert padded[:, 2].tolist() == [[0, 0]] * 4


@pytest.mark.parametrize(
    ("value", "path", "word"),
    [
        ([[1], [1] * 5], "['t'][1]", "max_length 4"),
        ([[1], 2], "['t'][1]", "Python int"),
        (RaggedBatch(np.zeros((2, 9), np.int32), np.array([1, 5])), "['t'][1]", "max_length 4"),
        (RaggedBatch(np.zeros((2, 9), np.int32), np.array([1, -1])), "['t']", "row 1"),
        (RaggedBatch(np.zeros((2, 9), np.int32), np.array([10, 1])), "['t']", "row 0"),
        (RaggedBatch(np.zeros((2, 9)), np.array([1, 1])), "['t']", "float64"),
        (np.zeros((2, 5), np.int32), "['t'][0]", "max_length 4"),
        (np.zeros(2, np.int32), "['t']", "list of rows"),
        (7, "['t']", "list of rows"),
        ([[1]], "['t']", "2 samples"),
    ],
)
def test_a_stack_that_does_not_fit_names_the_row(value: Any, path: str, word: str) -> None:
    spec = TreeSpec.from_example({"n": np.int64(0), "t": TOKENS})
    with pytest.raises(SpecMismatchError, match=word) as caught:
        spec.check_stacked({"n": np.zeros(2, np.int64), "t": value})
    assert caught.value.path == path


# ---------------------------------------------------------------- specs


EXAMPLES = {
    "root": TOKENS,
    "dict": {"t": TOKENS, "a": np.zeros(3), "z": Ragged("f4", 2, (3,), padding_value=1)},
    "list": [np.int64(0), TOKENS, (TOKENS, np.zeros(2))],
    "none": {"n": None, "t": TOKENS},
    "truncate": [Ragged(np.int32, 4, truncate=True)],
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_spec_survives_pickles_and_the_wire(example: Any) -> None:
    spec = TreeSpec.from_example(example)
    for other in (
        pickle.loads(pickle.dumps(spec)),
        TreeSpec.from_example(example_from_wire(spec.to_wire())),
    ):
        assert other.digest() == spec.digest()
        assert other.leaf_table == spec.leaf_table
        assert other.shown == spec.shown
        TreeSpec.compare(spec.to_wire(), other.to_wire())


def test_an_ordered_dict_has_its_own_order_on_the_wire_of_echo() -> None:
    from collections import OrderedDict

    example = OrderedDict(z=TOKENS, a=np.zeros(2))
    spec = TreeSpec.from_example(example)
    assert [leaf.path for leaf in spec.leaves] == ["['a']", "['z']", "['z'].length"]
    assert spec.optree_order == (1, 2, 0)
    assert [leaf.path for leaf in pickle.loads(pickle.dumps(spec)).leaves] == [
        leaf.path for leaf in spec.leaves
    ]
    arrays = spec.check({"a": np.zeros(2), "z": [1, 2]})
    tree = spec.unflatten(arrays)
    assert list(tree) == ["z", "a"]
    assert tree["z"].values.tolist() == [1, 2]


def test_an_array_is_no_substitute_for_a_ragged_leaf_in_an_example() -> None:
    ours = TreeSpec.from_example([TOKENS])
    for theirs, words in {
        Ragged(np.int32, 5): "ragged int32 (<=5,)",
        Ragged(np.int64, 4): "ragged int64 (<=4,)",
        Ragged(np.int32, 4, (1,)): "ragged int32 (<=4, 1)",
        Ragged(np.int32, 4, padding_value=7): "padded with 7",
    }.items():
        with pytest.raises(SpecMismatchError) as caught:
            TreeSpec.from_example([theirs]).require_equal(ours.to_wire())
        assert words in str(caught.value)
        assert "ragged int32 (<=4,)" in str(caught.value)
        assert caught.value.path == "[0]"
        assert TreeSpec.from_example([theirs]).digest() != ours.digest()
    with pytest.raises(SpecMismatchError, match=r"int32 \(4,\)"):
        TreeSpec.from_example([np.zeros(4, np.int32)]).require_equal(ours.to_wire())


def test_truncation_concerns_one_producer_alone() -> None:
    plain, cutting = (
        TreeSpec.from_example([Ragged(np.int32, 4, truncate=cut)]) for cut in (False, True)
    )
    plain.require_equal(cutting.to_wire())
    assert plain.digest() == cutting.digest()


@pytest.mark.parametrize(
    "record",
    [
        ["ragged", "<i4", [4], ""],
        ["ragged", "<i4", [4], "", 2],
        ["ragged", "<i4", [4], "", None],
        ["ragged", "<i4", [], "", 0],
        ["ragged", "<i4", [0], "", 0],
        ["ragged", "<i4", [-1], "", 0],
        ["ragged", "<i4", [4], "0", 0],
        ["ragged", "<i4", [4], "XY", 0],
        ["ragged", "<i4", [4], 0, 0],
        ["ragged", 4, [4], "", 0],
    ],
)
def test_a_malformed_description_is_refused(record: Any) -> None:
    wire = {"version": 1, "nodes": [record]}
    with pytest.raises(ProtocolError, match="malformed"):
        TreeSpec.compare(TreeSpec.from_example(TOKENS).to_wire(), wire)


@pytest.mark.parametrize(
    "record",
    [
        ["ragged", "<i4", [4], "00", 0],
        ["ragged", "|O", [4], "", 0],
        ["ragged", "no", [4], "", 0],
        ["ragged", "<U0", [4], "", 0],
        ["ragged", "<i4", [2**63 - 1], "", 0],
    ],
)
def test_a_description_without_a_possible_leaf_makes_no_example(record: Any) -> None:
    wire = {"version": 1, "nodes": [record]}
    with pytest.raises(ValueError, match=r"."):
        example_from_wire(wire)
    with pytest.raises(SpecMismatchError):
        TreeSpec.compare(TreeSpec.from_example(TOKENS).to_wire(), wire)
