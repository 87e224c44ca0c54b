"""The arrays of a batch: views of the ring, read-only by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shm_echo import Server
from tests.support.numbered import EXAMPLE, numbered, numbers_of

Array = np.ndarray[Any, Any]

RECORD = np.dtype(
    {"names": ["id", "pos", "tag"], "formats": ["<u2", ("<f4", (3,)), "S5"], "itemsize": 24}
)
EXAMPLES: dict[str, Any] = {
    "float16": np.zeros(3, np.float16),
    "float32": np.zeros((2, 3), np.float32),
    "float64 0-d": np.float64(0),
    "int8": np.zeros(5, np.int8),
    "uint64": np.zeros(2, np.uint64),
    "bool": np.zeros(7, bool),
    "complex64": np.zeros(2, np.complex64),
    "big-endian": np.zeros(3, ">i4"),
    "datetime": np.zeros(2, "M8[ns]"),
    "timedelta 0-d": np.timedelta64(0, "us"),
    "text": np.zeros(2, "U4"),
    "bytes": np.zeros(3, "S3"),
    "structured": np.zeros(2, RECORD),
    "nested structure": np.zeros((), [("a", [("b", ">f8")]), ("c", "M8[s]", (2,))]),
    "zero-size": np.zeros((3, 0, 2), np.float32),
    "odd size": np.zeros((3, 7, 11), np.uint8),
}


def batch_of(server: Server, example: Any) -> Any:
    for _ in range(server.batch_size):
        server.submit(example)
    sample = server.sample()
    assert sample is not None
    return sample.batch


# ---------------------------------------------------------------- read-only

# Each gets at the same memory in another way.
WAYS: dict[str, Callable[[Array], Array]] = {
    "itself": lambda a: a,
    "a slice": lambda a: a[1:],
    "every second row": lambda a: a[::2],
    "transposed": lambda a: a.T,
    "ravelled": lambda a: a.ravel(),
    "reshaped": lambda a: a.reshape(a.shape[0], -1) if a.size else a,
    "as bytes": lambda a: a.view(np.uint8) if a.size else a,
    "asarray": lambda a: np.asarray(a),
    "as an ndarray subclass": lambda a: a.view(np.ma.MaskedArray),
    "with one more axis": lambda a: a[:, None],
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "as_strided": lambda a: np.lib.stride_tricks.as_strided(a, writeable=True),
    "a flat iterator's base": lambda a: a.flat.base,
}


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_the_arrays_are_read_only_and_stay_so(example: Any, lease: Any) -> None:
    with Server(example, 4, lease=lease) as server:
        array = batch_of(server, example)
        for way in WAYS.values():
            seen = way(array)
            assert not seen.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                seen[...] = example
            with pytest.raises(ValueError, match="WRITEABLE"):
                seen.flags.writeable = True
            with pytest.raises(ValueError, match="WRITEABLE"):
                seen.setflags(write=True)
        assert not array.flags.owndata


@pytest.mark.parametrize("field", ["id", "pos", "tag"])
def test_a_field_of_a_structure_is_read_only(field: str) -> None:
    example = EXAMPLES["structured"]
    with Server(example, 2) as server:
        column = batch_of(server, example)[field]
        with pytest.raises(ValueError, match="WRITEABLE"):
            column.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            column[...] = 0


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
def test_no_array_in_the_chain_of_bases_is_writable(lease: Any) -> None:
    with Server(EXAMPLE, 2, lease=lease) as server:
        leaf = batch_of(server, numbered(1))["x"][1:].T
        chain = []
        while isinstance(leaf, np.ndarray):
            chain.append(leaf)
            leaf = leaf.base
        for array in chain:
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
        with pytest.raises(TypeError, match="bytes-like object is required"):
            memoryview(leaf)  # the root, which keeps the memory, exports no buffer


@pytest.mark.parametrize("kind", ["float32", "int8", "zero-size", "bool", "complex64"])
def test_a_memoryview_is_read_only(kind: str) -> None:
    with Server(EXAMPLES[kind], 2) as server:
        view = memoryview(batch_of(server, EXAMPLES[kind]))
        assert view.readonly
        again = np.asarray(view)
        with pytest.raises(ValueError, match="WRITEABLE"):
            again.flags.writeable = True


def test_out_arguments_of_ufuncs_refuse_the_arrays() -> None:
    with Server(EXAMPLE, 2) as server:
        batch = batch_of(server, numbered(1))
        with pytest.raises(ValueError, match="read-only"):
            np.add(batch["x"], 1, out=batch["x"])
        with pytest.raises(ValueError, match="read-only"):
            batch["n"].sort()
        assert numbers_of(batch) == [1, 1]


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_writable_arrays_are_an_option(example: Any, lease: Any) -> None:
    with Server(example, 2, writable=True, lease=lease) as server:
        array = batch_of(server, example)
        assert array.flags.writeable
        other = np.ones_like(array) if array.dtype.names is None else np.zeros_like(array)
        array[...] = other
        np.testing.assert_array_equal(array, other)


def test_writes_of_a_learner_do_not_reach_the_next_batch() -> None:
    with Server(EXAMPLE, 2, writable=True, num_buffers=2) as server:
        for i in range(10):
            batch = batch_of(server, numbered(i))
            assert numbers_of(batch) == [i, i]
            batch["x"][...] = -1
            batch["n"][...] = -1


# ---------------------------------------------------------------- where they are


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_each_leaf_of_a_batch_is_one_contiguous_piece_of_the_ring(example: Any) -> None:
    batch_size, num_buffers = 3, 4
    tree = {"before": np.zeros(5, np.uint8), "leaf": example}
    with Server(tree, batch_size, num_buffers=num_buffers) as server:
        leaf = np.asarray(example)
        where = []
        for _ in range(3 * num_buffers):
            array = batch_of(server, tree)["leaf"]
            assert array.shape == (batch_size, *leaf.shape)
            assert array.dtype == leaf.dtype
            assert array.flags.c_contiguous
            where.append(address(array))
        first = where[0]
        assert first % 64 == 0, "a leaf's region begins on a cache line"
        step = batch_size * leaf.nbytes
        assert where == [first + step * (n % num_buffers) for n in range(3 * num_buffers)]


def test_two_batches_of_one_buffer_share_its_memory_and_others_do_not() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=False) as server:
        batches = [batch_of(server, numbered(i)) for i in range(6)]
        for i, left in enumerate(batches):
            for j, right in enumerate(batches):
                same = i % 3 == j % 3
                assert np.shares_memory(left["x"], right["x"]) == same
                assert np.shares_memory(left["n"], right["n"]) == same
                assert not np.shares_memory(left["x"], right["n"])


def test_a_stale_batch_shows_the_samples_that_replaced_it() -> None:
    with Server(EXAMPLE, 2, num_buffers=2, lease=False) as server:
        stale = batch_of(server, numbered(1))
        batch_of(server, numbered(2))
        assert numbers_of(stale) == [1, 1]  # given back, and not yet written again
        batch_of(server, numbered(3))
        assert numbers_of(stale) == [3, 3]


def test_a_batch_stays_as_it_is_until_the_next_sample_however_much_is_submitted() -> None:
    with Server(EXAMPLE, 2, num_buffers=3) as server:
        batch = batch_of(server, numbered(1))
        for i in range(4):
            server.submit(numbered(10 + i))
        assert numbers_of(batch) == [1, 1]


@pytest.mark.parametrize("lease", [False, True, "copy"], ids=["plain", "leased", "copy"])
def test_batches_of_two_servers_never_mix(lease: Any) -> None:
    with (
        Server(EXAMPLE, 2, lease=lease) as left,
        Server(EXAMPLE, 2, lease=lease) as right,
    ):
        kept = []
        for i in range(12):
            one, other = batch_of(left, numbered(i)), batch_of(right, numbered(1000 + i))
            assert numbers_of(one) == [i, i]
            assert numbers_of(other) == [1000 + i] * 2
            for a in one.values():
                assert not any(np.shares_memory(a, b) for b in other.values())
            kept = [one, other]
        left.close()
        right.submit(numbered(2000))
        assert numbers_of(kept[0]) == [11, 11]
        assert numbers_of(kept[1]) == [1011, 1011]


def test_samples_of_no_bytes_at_all_are_counted_too() -> None:
    example = {"a": np.zeros((0, 3)), "b": np.zeros(0, np.uint8)}
    with Server(example, 3) as server:
        for _ in range(5):
            batch = batch_of(server, example)
            assert batch["a"].shape == (3, 0, 3)
            assert batch["b"].shape == (3, 0)
