"""DataLoader with datasets that can only be iterated."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader
from shm_echo.loader import ItemError, WorkerDiedError, item_rng, worker_info
from tests.support.parcel_datasets import Shards, as_plain, text
from tests.support.waiting import process_state, wait_until


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: process_state(pid) in ("", "Z"), "the killed worker has ended")


def shard_batches(length: int, workers: int, size: int, drop_last: bool = False) -> list[Any]:
    """Return the batches that workers give in turn, each from its own shard."""
    shards = []
    for worker in range(workers):
        items = list(range(worker, length, workers))
        batches = [items[i : i + size] for i in range(0, len(items), size)]
        shards.append([b for b in batches if not drop_last or len(b) == size])
    rounds = range(max(map(len, shards), default=0))
    return [shard[r] for r in rounds for shard in shards if r < len(shard)]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("length", [0, 1, 7, 22])
@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_batches_come_from_the_shards_in_turn(
    num_workers: int, length: int, drop_last: bool
) -> None:
    expected = shard_batches(length, max(1, num_workers), 3, drop_last)
    with DataLoader(Shards(length), 3, num_workers=num_workers, drop_last=drop_last) as loader:
        for _ in range(2):
            assert [batch.tolist() for batch in loader] == expected


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_batch_may_be_one_item(num_workers: int) -> None:
    with DataLoader(Shards(5, text), None, num_workers=num_workers) as loader:
        assert list(loader) == [text(index) for index in range(5)]


class Uneven(Shards):
    """Worker 0 has two items, worker 1 none, and worker 2 many."""

    def __iter__(self) -> Iterator[Any]:
        info = worker_info()
        assert info is not None
        return iter([f"{info.id}{i}" for i in range((2, 0, 7)[info.id])])


def test_shards_may_end_at_any_time() -> None:
    with DataLoader(Uneven(0), 2, num_workers=3) as loader:
        expected = [["00", "01"], ["20", "21"], ["22", "23"], ["24", "25"], ["26"]]
        assert [list(loader), list(loader)] == [expected, expected]


class Drawn(Shards):
    """Items with random numbers, from an iterator that draws some for itself."""

    def __iter__(self) -> Iterator[Any]:
        start = random.random()
        for number in super().__iter__():
            yield number, start, item_rng().random(), np.random.rand(), random.random()


def test_kills_at_random_moments_lose_and_double_nothing() -> None:
    draw = random.Random(1)
    with DataLoader(Drawn(60), 2, seed=5, num_workers=2) as loader:
        expected = [[as_plain(batch) for batch in loader] for _ in range(2)]
    kills = 0
    with DataLoader(Drawn(60), 2, seed=5, num_workers=2) as loader:
        for epoch in expected:
            found = []
            for batch in loader:
                found.append(as_plain(batch))
                if draw.random() < 0.3:
                    kill(draw.choice(loader.worker_pids()))
                    kills += 1
            assert found == epoch
    assert kills > 3


@pytest.mark.nightly
def test_hundreds_of_kills_lose_and_double_nothing() -> None:
    for seed in range(15):
        draw = random.Random(seed)
        expected = shard_batches(100, 2, 2)
        with DataLoader(Shards(100), 2, num_workers=2) as loader:
            found = []
            for batch in loader:
                found.append(batch.tolist())
                if draw.random() < 0.3:
                    kill(draw.choice(loader.worker_pids()))
            assert found == expected


class Failing(Shards):
    """An iterator that raises at item 4 and goes on."""

    def __iter__(self) -> Iterator[Any]:
        return Counter(self.length)


class Counter:
    def __init__(self, length: int) -> None:
        self.length, self.number = length, -1

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.number += 1
        if self.number == 4:
            raise KeyError("four")
        if self.number >= self.length:
            raise StopIteration
        return self.number


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_exception_of_an_iterator_is_that_of_its_batch(num_workers: int) -> None:
    with DataLoader(Failing(9), 3, num_workers=num_workers) as loader:
        loop = iter(loader)
        assert next(loop).tolist() == [0, 1, 2]
        with pytest.raises(KeyError, match="four") as caught:
            next(loop)
        if num_workers:
            assert isinstance(caught.value.__cause__, ItemError)
            assert caught.value.__cause__.index == 4
            for pid in loader.worker_pids():
                kill(pid)  # the one that replaces it drops what the failed batch has used
        assert [batch.tolist() for batch in loop] == [[5, 6, 7], [8]]


class Deadly(Shards):
    def __iter__(self) -> Iterator[int]:
        for number in super().__iter__():
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            yield number


def test_an_item_that_kills_three_workers_ends_the_loop() -> None:
    with DataLoader(Deadly(12), 2, num_workers=1) as loader:
        loop = iter(loader)
        assert [next(loop).tolist(), next(loop).tolist()] == [[0, 1], [2, 3]]
        with pytest.raises(WorkerDiedError, match="SIGKILL") as caught:
            next(loop)
        assert caught.value.index == 5


def big_at_nine(number: int) -> Any:
    return np.full(100_000 if number % 20 == 9 else 3, number)


def test_rings_grow_without_changing_the_order() -> None:
    with DataLoader(Shards(60, big_at_nine), None, num_workers=2) as loader:
        for _ in range(2):
            assert [int(batch[0]) for batch in loader] == list(range(60))


def test_breaks_and_nested_loops_keep_the_order() -> None:
    expected = shard_batches(20, 2, 3)
    with DataLoader(Shards(20), 3, num_workers=2) as loader:
        for taken in (1, 3, 2):
            loop = iter(loader)
            assert [next(loop).tolist() for _ in range(taken)] == expected[:taken]
            del loop  # as a break does
        found = []
        for batch in loader:
            found.append(batch.tolist())
            if len(found) == 2:
                assert [inner.tolist() for inner in loader] == expected
        assert found == expected


def test_resume_goes_on_behind_what_was_delivered() -> None:
    expected = shard_batches(17, 2, 3)
    with DataLoader(Shards(17), 3, num_workers=2, seed=0) as stopped:
        states = [stopped.state_dict() for _ in stopped]
    for taken in (1, 3, 6):
        with DataLoader(Shards(17), 3, num_workers=2, seed=0) as again:
            again.load_state_dict(states[taken - 1])
            assert [batch.tolist() for batch in again] == expected[taken:]
    with (
        DataLoader(Shards(17), 3, num_workers=1, seed=0) as other,
        pytest.raises(ValueError, match="shards"),
    ):
        other.load_state_dict(states[0])


def test_a_loader_has_the_length_of_its_dataset_or_none() -> None:
    with pytest.raises(TypeError, match=r"no len\(\), because its dataset \(Shards\)"):
        len(DataLoader(Shards(7)))

    class Sized(Shards):
        def __len__(self) -> int:
            return self.length

    assert len(DataLoader(Sized(7), 3)) == 3
    assert len(DataLoader(Sized(7), 3, drop_last=True)) == 2
