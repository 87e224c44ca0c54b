"""Batches of ragged rows, and the row of one sample, in private memory."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import optree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import Ragged, RaggedBatch, RaggedRow, SpecMismatchError
from shm_echo.spec import TreeSpec
from tests.support.ragged_rows import DTYPES, random_row, require_padding


def batch_of(rows: list[list[int]], most: int = 4, **options: Any) -> RaggedBatch:
    spec = TreeSpec.from_example(Ragged(np.int32, most, **options))
    batch = spec.unflatten(spec.check_stacked(rows)[1])
    assert isinstance(batch, RaggedBatch)
    return batch


ROWS = [[1, 2], [], [3, 4, 5]]


@settings(max_examples=100)
@given(data=st.data())
def test_every_form_of_a_batch_has_the_same_rows(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    trailing = tuple(data.draw(st.lists(st.integers(1, 3), max_size=1)))
    lengths = data.draw(st.lists(st.integers(0, 5), max_size=6))
    rows = [random_row(length, dtype, trailing) for length in lengths]
    spec = TreeSpec.from_example(Ragged(dtype, 5, trailing))
    batch = spec.unflatten(spec.check_stacked(rows)[1])
    require_padding(batch)
    values, offsets = batch.packed()
    assert values.dtype == dtype
    assert offsets.dtype == np.int64
    assert len(offsets) == len(rows) + 1 == len(batch) + 1
    assert values.shape == (sum(lengths), *trailing)
    for i, row in enumerate(rows):
        for found in (
            batch[i],
            batch.to_list()[i],
            batch[i - len(rows)],
            values[offsets[i] : offsets[i + 1]],
            batch.padded[i][batch.mask()[i]],
            batch[i : i + 1].trim().padded[0],
        ):
            assert found.shape == row.shape
            assert found.tobytes() == row.tobytes()


def test_rows_and_selections() -> None:
    batch = batch_of(ROWS)
    assert [row.tolist() for row in batch] == ROWS
    assert (len(batch), batch.max_length, batch.dtype) == (3, 4, np.int32)
    assert [row.tolist() for row in batch[1:]] == ROWS[1:]
    assert [row.tolist() for row in batch[np.array([2, 0])]] == [ROWS[2], ROWS[0]]
    assert [row.tolist() for row in batch[batch.lengths > 0]] == [ROWS[0], ROWS[2]]
    assert np.shares_memory(batch[0], batch.padded)
    assert np.shares_memory(batch[1:].padded, batch.padded)
    assert np.shares_memory(batch.trim().padded, batch.padded)
    assert batch.trim().padded.shape == (3, 3)
    assert batch.mask().tolist()[0] == [True, True, False, False]
    for key in (3, -4):
        with pytest.raises(IndexError):
            batch[key]
    with pytest.raises(IndexError, match="one index"):
        batch[0, 1]


def test_a_batch_without_rows() -> None:
    batch = batch_of([])
    assert (len(batch), batch.to_list(), list(batch)) == (0, [], [])
    assert batch.packed().offsets.tolist() == [0]
    assert batch.packed().values.shape == (0,)
    assert batch.trim().padded.shape == (0, 0)
    assert repr(batch) == "<RaggedBatch of 0 rows, int32>"


def test_its_array_is_the_padded_one() -> None:
    batch = batch_of(ROWS)
    assert np.asarray(batch) is batch.padded
    assert not np.shares_memory(np.array(batch, copy=True), batch.padded)
    assert np.asarray(batch, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(batch, np.float64, copy=False)
    row = RaggedRow(batch.padded[0], batch.lengths[0, ...])
    assert np.asarray(row).tolist() == [1, 2]
    assert row[1] == 2
    assert list(row) == [1, 2]


def test_writing_a_row_rewrites_the_padding() -> None:
    batch = batch_of(ROWS, padding_value=-1)
    batch.padded[...] = 9
    batch[2] = [7]
    batch[0] = np.arange(4, dtype=np.int32)
    batch[np.int64(1)] = ()
    assert batch.padded.tolist() == [[0, 1, 2, 3], [-1] * 4, [7, -1, -1, -1]]
    assert batch.lengths.tolist() == [4, 0, 1]
    before = batch.padded.copy()
    for bad in (np.zeros(5, np.int32), [1.5], None):
        with pytest.raises(SpecMismatchError, match="the row: expected ragged int32"):
            batch[0] = bad
    assert batch.padded.tolist() == before.tolist()
    with pytest.raises(TypeError, match="one by one"):
        batch[0:1] = [[1]]  # type: ignore[index]


def test_a_row_is_written_by_set_or_by_memory_and_length() -> None:
    memory, length = np.full(4, 9, np.int16), np.array(-1)
    row = RaggedRow(memory, length)
    assert row.length == -1
    assert repr(row) == "<RaggedRow int16 (4,), length -1>"
    for use in (lambda: row.values, lambda: len(row), lambda: np.asarray(row)):
        with pytest.raises(ValueError, match="not set"):
            use()
    row.padded[:2] = 5
    row.length = 2
    assert memory.tolist() == [5, 5, 0, 0]
    row.set([1, 2, 3])
    assert (memory.tolist(), int(length)) == ([1, 2, 3, 0], 3)
    for bad in (5, -1):
        with pytest.raises(ValueError, match="length"):
            row.length = bad
    assert row.values.tolist() == [1, 2, 3]
    with pytest.raises(TypeError, match="memory"):
        RaggedRow(memory, 3).length = 2


@pytest.mark.parametrize("wrong", [-1, -7, 5, 2**62])
def test_a_length_that_no_row_has_is_an_error_and_never_an_offset(wrong: int) -> None:
    batch = batch_of(ROWS)
    batch.lengths[1] = wrong
    for use in (batch.packed, batch.mask, batch.to_list, lambda: batch[1]):
        with pytest.raises(ValueError, match="row 1"):
            use()
    assert batch[0].tolist() == [1, 2]
    assert repr(batch).startswith("<RaggedBatch of 3 rows")


# ---------------------------------------------------------------- copies and nodes


def test_copies() -> None:
    batch = batch_of(ROWS, padding_value=-1)
    batch.padded.flags.writeable = False
    shallow = copy.copy(batch)
    assert shallow.padded is batch.padded
    for other in (copy.deepcopy(batch), pickle.loads(pickle.dumps(batch)), batch.copy()):
        assert [row.tolist() for row in other] == ROWS
        assert not np.shares_memory(other.padded, batch.padded)
    private = batch.copy()
    private[0] = [6]  # the declaration came along
    assert private.padded[0].tolist() == [6, -1, -1, -1]


def test_a_pickle_takes_the_arrays_out_of_band() -> None:
    batch = batch_of(ROWS * 1000)
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    assert len(content) < 1000
    other = pickle.loads(content, buffers=buffers)
    assert np.shares_memory(other.padded, batch.padded)
    assert [row.tolist() for row in other] == ROWS * 1000


def test_a_tree_map_reaches_both_arrays() -> None:
    batch = batch_of(ROWS, padding_value=-1)
    tree = {"t": batch, "n": np.arange(3)}
    doubled = optree.tree_map(lambda array: array * 2, tree)
    assert isinstance(doubled["t"], RaggedBatch)
    assert doubled["t"].padded.tolist() == (batch.padded * 2).tolist()
    assert doubled["t"].lengths.tolist() == [4, 0, 6]
    assert optree.tree_paths(tree) == [("n",), ("t", "padded"), ("t", "lengths")]
    first = optree.tree_map(lambda array: array[:1], tree)["t"]
    assert [row.tolist() for row in first] == ROWS[:1]
    first[0] = [5]
    assert batch.padded[0].tolist() == [5, -1, -1, -1]
    row = optree.tree_map(np.copy, RaggedRow(np.arange(3), np.array(2)))
    assert row.values.tolist() == [0, 1]


def test_arrays_of_other_libraries_may_be_its_children() -> None:
    class Foreign:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __len__(self) -> int:
            return len(self.array)

        def __getitem__(self, key: Any) -> Any:
            return self.array[key]

        @property
        def shape(self) -> Any:
            return self.array.shape

    batch = optree.tree_map(Foreign, batch_of(ROWS))
    assert repr(batch) == "<RaggedBatch of Foreign and Foreign>"
    assert len(batch) == 3
    assert batch[0].tolist() == [1, 2]
    assert isinstance(batch[1:], RaggedBatch)
