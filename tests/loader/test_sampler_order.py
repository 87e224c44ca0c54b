"""The order of samplers and batch samplers of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.loader.order import make_order
from shm_echo.loader.sampler_order import BatchSamplerOrder, SamplerOrder


class Recorder:
    """A sampler that records how often it was iterated, and how many keys were drawn."""

    def __init__(self, keys: list[Any], fails_at: int | None = None) -> None:
        self.keys, self.fails_at = keys, fails_at
        self.iterated = self.drawn = 0

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Any]:
        self.iterated += 1
        return self._keys()

    def _keys(self) -> Iterator[Any]:
        for number, key in enumerate(self.keys):
            if number == self.fails_at:
                raise KeyError("the sampler's own")
            self.drawn += 1
            yield key


class Distributed:
    """A sampler in the manner of torch's DistributedSampler."""

    def __init__(self, length: int) -> None:
        self.length, self.epoch = length, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng(self.epoch).permutation(self.length).tolist())


def lists(order: Any, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [batch.indices.tolist() for batch in order.batches(epoch, start)]


def chunks(keys: list[int], size: int, drop_last: bool) -> list[list[int]]:
    whole = [keys[i : i + size] for i in range(0, len(keys), size)]
    return whole[:-1] if drop_last and whole and len(whole[-1]) < size else whole


@settings(max_examples=100, deadline=None)
@given(
    keys=st.lists(st.integers(-5, 2**62), max_size=40),
    size=st.integers(1, 9),
    drop_last=st.booleans(),
    start=st.integers(0, 6),
)
def test_the_batches_are_the_sampler_s_keys_in_its_order(
    keys: list[int], size: int, drop_last: bool, start: int
) -> None:
    order = SamplerOrder(keys, batch_size=size, drop_last=drop_last)
    wanted = chunks(keys, size, drop_last)
    assert lists(order) == wanted
    assert len(order) == len(wanted)
    batches = list(order.batches(epoch=3, start=start))
    assert [b.indices.tolist() for b in batches] == wanted[start:]
    assert [b.first_row for b in batches] == [i * size for i in range(start, len(wanted))]
    assert {b.epoch for b in batches} <= {3}


@settings(max_examples=100, deadline=None)
@given(
    given_lists=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=7), max_size=80),
    start=st.integers(0, 6),
)
def test_the_batches_are_the_batch_sampler_s_lists(
    given_lists: list[list[int]], start: int
) -> None:
    longest = max(map(len, given_lists), default=1)
    sampler = type("Sampler", (list,), {"batch_size": longest})(given_lists)
    order = BatchSamplerOrder(sampler)
    assert order.batch_size == longest
    assert lists(order) == given_lists
    assert lists(order, start=start) == given_lists[start:]
    firsts = [batch.first_row for batch in order.batches(0)]
    assert firsts == [sum(map(len, given_lists[:i])) for i in range(len(given_lists))]
    assert len(order) == len(given_lists)


@pytest.mark.parametrize("argument", ["sampler", "batch_sampler"])
def test_nothing_is_drawn_before_an_epoch_begins(argument: str) -> None:
    recorder = Recorder([[1], [2], [3]] if argument == "batch_sampler" else [1, 2, 3])
    order = make_order(range(9), batch_size=1, seed=0, **{argument: recorder})
    assert (len(order), order.own) == (3, False)
    order.description()
    assert (recorder.iterated, recorder.drawn) == (0, 0)
    batches = order.batches(0)
    assert recorder.iterated == 1  # in this call, which a loader makes in iter()
    assert [batch.indices.tolist() for batch in batches] == [[1], [2], [3]]
    assert (recorder.iterated, recorder.drawn) == (1, 3)


def test_a_sampler_is_drawn_from_one_batch_at_a_time() -> None:
    recorder = Recorder(list(range(10)))
    batches = SamplerOrder(recorder, batch_size=3).batches(0)
    assert recorder.drawn == 0
    next(batches)
    assert recorder.drawn == 3
    next(batches)
    assert recorder.drawn == 6


def test_a_sampler_without_end_is_possible() -> None:
    order = SamplerOrder(count(), batch_size=2)
    assert [b.indices.tolist() for b in islice(order.batches(0), 2)] == [[0, 1], [2, 3]]
    with pytest.raises(TypeError, match=r"no len\(\), because its sampler= \(itertools.count\)"):
        len(order)


def test_set_epoch_decides_about_the_next_iteration() -> None:
    sampler = Distributed(20)
    order = SamplerOrder(sampler, batch_size=20)
    seen = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        seen.append(lists(order, epoch=len(seen))[0])
    assert seen[0] == seen[2] != seen[1]
    assert seen[1] == np.random.default_rng(1).permutation(20).tolist()


# ---------------------------------------------------------------- keys


class Index:
    """An integer of a class of its own, like a tensor without axes."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("key", "index"),
    [
        (3, 3),
        (-1, -1),
        (np.int32(5), 5),
        (np.uint64(9), 9),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
    ],
)
def test_integers_of_python_and_numpy_are_indices(key: Any, index: int) -> None:
    assert lists(SamplerOrder([key], batch_size=1)) == [[index]]
    assert lists(BatchSamplerOrder([[key]])) == [[index]]
    assert lists(BatchSamplerOrder([(key, key)])) == [[index, index]]


OTHERS = ["a", (1, 2), 1.0, None, True, Index(), np.float64(1), np.array(6), [1], 2**63, -(10**30)]


@pytest.mark.parametrize("argument", ["sampler", "batch_sampler"])
@pytest.mark.parametrize("key", OTHERS)
def test_other_keys_reach_the_dataset_as_they_are(argument: str, key: Any) -> None:
    given_keys = [0, key] if argument == "sampler" else [[0, key]]
    order = make_order(range(9), batch_size=2, seed=0, **{argument: given_keys})
    (batch,) = order.batches(0)
    assert batch.indices == (0, key)
    assert batch.keys()[1] is key


@pytest.mark.parametrize(
    ("given_list", "error", "text"),
    [
        ([], ValueError, "empty list"),
        (3, TypeError, r"gave 3 \(int\).*sampler="),
        ("ab", TypeError, "str"),
        (None, TypeError, "None"),
    ],
)
def test_what_is_no_list_of_indices_is_named(
    given_list: Any, error: type[Exception], text: str
) -> None:
    batches = BatchSamplerOrder([[1, 2], given_list]).batches(0)
    assert next(batches).indices.tolist() == [1, 2]
    with pytest.raises(error, match=text):
        next(batches)


# ---------------------------------------------------------------- errors of the sampler


@pytest.mark.parametrize("known", [True, False])
def test_an_error_of_the_sampler_comes_after_the_batches_before_it(known: bool) -> None:
    recorder = Recorder([[0], [1], [2], [3]], fails_at=2)
    if known:
        recorder.batch_size = 1  # type: ignore[attr-defined]
    batches = BatchSamplerOrder(recorder).batches(0)
    assert [next(batches).indices.tolist() for _ in range(2)] == [[0], [1]]
    with pytest.raises(KeyError, match="the sampler's own"):
        next(batches)
    assert list(batches) == []


def test_an_error_in_the_middle_of_a_batch_loses_that_batch() -> None:
    batches = SamplerOrder(Recorder(list(range(6)), fails_at=3), batch_size=2).batches(0)
    assert next(batches).indices.tolist() == [0, 1]
    with pytest.raises(KeyError):
        next(batches)
    assert list(batches) == []


# ---------------------------------------------------------------- the longest list


@pytest.mark.parametrize("size", [None, 0, -1, 2.0, "4", True])
def test_without_a_batch_size_the_first_64_lists_decide(size: Any) -> None:
    recorder = Recorder([[i] * (1 + i % 5) for i in range(100)])
    recorder.batch_size = size  # type: ignore[attr-defined]
    order = BatchSamplerOrder(recorder)
    assert order.batch_size is None
    batches = order.batches(0)
    assert (order.batch_size, recorder.drawn) == (5, 64)
    assert [batch.indices.tolist() for batch in batches] == recorder.keys
    assert lists(order, epoch=1) == recorder.keys


def test_a_later_list_may_be_longer() -> None:
    order = BatchSamplerOrder([[0]] * 64 + [[1, 2]])
    assert lists(order)[63:] == [[0], [1, 2]]
    assert order.batch_size == 1


def test_a_batch_sampler_without_lists_has_no_batches() -> None:
    order = BatchSamplerOrder([])
    assert lists(order) == []
    assert order.batch_size is None
    with pytest.raises(TypeError, match="batch_sampler="):
        len(BatchSamplerOrder(iter([[0]])))
