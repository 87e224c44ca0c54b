"""DataLoader with batches that a worker collates as a whole."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader
from shm_echo.errors import SpecMismatchError
from shm_echo.loader import ItemError, LoaderTimeoutError, WorkerDiedError, WorkerStartError
from tests.support.loop_datasets import Numbers, Stuck
from tests.support.parcel_datasets import (
    KINDS,
    Made,
    as_plain,
    big,
    growing,
    numbers,
    pad,
    pid_and_items,
    text,
    tokens,
)
from tests.support.waiting import process_state, wait_until

WORKERS = [0, 1, 2]


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: process_state(pid) in ("", "Z"), "the killed worker has ended")


def epochs(loader: DataLoader, number: int = 2) -> list[Any]:
    return [[as_plain(batch) for batch in loader] for _ in range(number)]


# ---------------------------------------------------------------- the same with any workers


@pytest.mark.parametrize(("dataset", "options"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_batches_are_equal_for_any_number_of_workers(dataset: Any, options: dict[str, Any]) -> None:
    expected = epochs(DataLoader(dataset, seed=3, **options))
    assert len(expected[0]) >= 3
    for num_workers in (1, 2):
        with DataLoader(dataset, seed=3, num_workers=num_workers, **options) as loader:
            assert epochs(loader) == expected


def kill_at_random(kind: tuple[str, Any, dict[str, Any]], seed: int) -> int:
    """Run two epochs, kill workers meanwhile, and compare; return the number of kills."""
    _, dataset, options = kind
    draw = random.Random(seed)
    expected = epochs(DataLoader(dataset, seed=seed, **options))
    kills = 0
    with DataLoader(dataset, seed=seed, num_workers=2, **options) as loader:
        for epoch in expected:
            found = []
            for batch in loader:
                found.append(as_plain(batch))
                if draw.random() < 0.3:
                    kill(draw.choice(loader.worker_pids()))
                    kills += 1
            assert found == epoch
    return kills


@pytest.mark.parametrize("kind", KINDS[::4], ids=[k[0] for k in KINDS[::4]])
def test_kills_at_random_moments_lose_and_double_nothing(kind: Any) -> None:
    assert sum(kill_at_random(kind, seed) for seed in (0, 1)) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS, ids=[k[0] for k in KINDS])
def test_hundreds_of_kills_lose_and_double_nothing(kind: Any) -> None:
    kills = seed = 0
    while kills < 40:
        kills += kill_at_random(kind, seed)
        seed += 1


def test_resume_goes_on_at_any_batch() -> None:
    def make(num_workers: int) -> DataLoader:
        return DataLoader(
            Made(14, tokens), 3, shuffle=True, seed=1, collate_fn=pad, num_workers=num_workers
        )

    expected = epochs(make(0), 1)[0]
    with make(1) as stopped:
        states = [stopped.state_dict() for _ in stopped]
    for taken in (1, 2, 4):
        with make(2) as again:
            again.load_state_dict(states[taken - 1])
            assert [as_plain(batch) for batch in again] == expected[taken:]


# ---------------------------------------------------------------- which way is chosen


@pytest.mark.parametrize("num_workers", WORKERS)
def test_a_loader_that_leaves_rows_says_so_once(
    num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "shm_echo")
    with DataLoader(Made(30, numbers), 4, num_workers=num_workers) as loader:
        epochs(loader)
    (record,) = [r for r in caplog.records if "collates and pickles" in r.getMessage()]
    assert "item 12 of the dataset differs from the first one" in record.getMessage()


@pytest.mark.parametrize("num_workers", WORKERS)
def test_what_is_asked_for_needs_no_word(
    num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    with DataLoader(Made(9, text), None, num_workers=num_workers) as loader:
        epochs(loader)
    assert caplog.records == []


@pytest.mark.parametrize("num_workers", WORKERS)
def test_an_example_is_a_promise(num_workers: int) -> None:
    with DataLoader(Made(30, numbers), 4, example=1, num_workers=num_workers) as loader:
        loop = iter(loader)
        assert [next(loop).tolist() for _ in range(3)][2] == [8, 9, 10, 11]
        with pytest.raises(SpecMismatchError, match="item 12 .* expected int64"):
            next(loop)


@pytest.mark.parametrize("num_workers", WORKERS)
def test_items_of_one_batch_must_be_alike(num_workers: int) -> None:
    with DataLoader(Made(6, sometimes_none), 3, num_workers=num_workers) as loader:
        loop = iter(loader)
        assert as_plain(next(loop)) == as_plain({"x": np.array([0, 1, 2])})
        with pytest.raises(SpecMismatchError, match=r"item 4 .* item 3, .*\['x'\]: .* NoneType"):
            next(loop)
        with pytest.raises(StopIteration):
            next(loop)


def sometimes_none(index: int) -> Any:
    return {"x": None if index == 4 else index}


# ---------------------------------------------------------------- memory


def test_arrays_alias_the_ring_and_stay_as_they_are() -> None:
    with DataLoader(Made(40, big), None, num_workers=2, prefetch_batches=1) as loader:
        kept = list(loader)
        assert loader.stats().copied_batches > 0  # the loop holds more than the ring has
        for index, batch in enumerate(kept):
            assert (batch == index).all()
            batch[:] = -1
        assert all((batch == -1).all() for batch in kept)
        first = next(iter(loader))
        assert (first == 0).all()
        del kept, batch
        gc.collect()
        assert loader.stats().held_batches <= 1


def test_a_ring_grows_once_a_parcel_does_not_fit() -> None:
    with DataLoader(Made(40, big), None, num_workers=1) as loader:
        loop = iter(loader)
        next(loop)
        small = loader.stats().nbytes
        assert [len(batch) for batch in loop][8] == 100_000
        large = loader.stats().nbytes
        assert large > small + 800_000
        list(loader)
        assert loader.stats().nbytes == large


def test_a_ring_that_may_not_grow_gets_parcels_over_the_sockets() -> None:
    with DataLoader(Made(40, big), None, num_workers=2, max_bytes=200_000) as loader:
        assert epochs(loader) == epochs(DataLoader(Made(40, big), None))
        assert 0 < loader.stats().nbytes <= 200_000
    with (
        DataLoader(Made(4, big), None, num_workers=1, max_bytes=1000) as loader,
        pytest.raises(ValueError, match="max_bytes is 1,000"),
    ):
        next(iter(loader))


def test_reused_batches_are_valid_until_the_next_one() -> None:
    with DataLoader(Made(12, growing), None, num_workers=2, reuse=True) as loader:
        assert [batch.tolist() for batch in loader] == [list(range(i)) for i in range(12)]
        assert loader.stats().copied_batches == 0


# ---------------------------------------------------------------- when something goes wrong


@pytest.mark.parametrize("num_workers", WORKERS)
def test_the_exception_of_a_collate_fn_is_that_of_its_batch(num_workers: int) -> None:
    with DataLoader(Numbers(9), 3, collate_fn=fail_at_four, num_workers=num_workers) as loader:
        loop = iter(loader)
        assert next(loop) == [0, 1, 2]
        with pytest.raises(KeyError, match="four") as caught:
            next(loop)
        if num_workers:
            assert isinstance(caught.value.__cause__, ItemError)
            assert "collate_fn failed in worker" in str(caught.value.__cause__)
        assert next(loop) == [6, 7, 8]


def fail_at_four(items: list[Any]) -> Any:
    listed = [int(item[0]) for item in items]
    if 4 in listed:
        raise KeyError("four")
    return listed


def test_a_batch_that_cannot_be_pickled_is_said_to_be_one() -> None:
    with DataLoader(Numbers(9), 3, collate_fn=unpicklable_at_four, num_workers=1) as loader:
        loop = iter(loader)
        assert next(loop) == [0, 1, 2]
        with pytest.raises(Exception, match="pickle") as caught:
            next(loop)
        assert "the pickling of what collate_fn returned failed" in str(caught.value.__cause__)
        assert next(loop) == [6, 7, 8]


def unpicklable_at_four(items: list[Any]) -> Any:
    listed = [int(item[0]) for item in items]
    return (lambda: listed) if 4 in listed else listed


@pytest.mark.parametrize("num_workers", WORKERS)
def test_a_key_that_fails_is_named(num_workers: int) -> None:
    with DataLoader(
        Made(3, fail_at_b), None, sampler=["a", ("b", 1), "c"], num_workers=num_workers
    ) as loader:
        loop = iter(loader)
        assert next(loop) == "a"
        with pytest.raises(ValueError, match="no b") as caught:
            next(loop)
        if num_workers:
            cause = caught.value.__cause__
            assert isinstance(cause, ItemError)
            assert cause.index == ("b", 1)
        assert next(loop) == "c"


def fail_at_b(key: Any) -> Any:
    if "b" in key:
        raise ValueError("no b")
    return key


def test_a_batch_that_can_not_be_pickled_is_an_error_of_its_own() -> None:
    with DataLoader(Numbers(6), 2, collate_fn=unpicklable_at_two, num_workers=1) as loader:
        loop = iter(loader)
        assert next(loop) == 0
        with pytest.raises(Exception, match="pickle"):
            next(loop)
        assert next(loop) == 4


def unpicklable_at_two(items: list[Any]) -> Any:
    first = int(items[0][0])
    return (lambda: None) if first == 2 else first


def test_an_item_that_kills_three_workers_ends_the_loop() -> None:
    with DataLoader(Made(12, deadly), 4, num_workers=2) as loader:
        loop = iter(loader)
        assert next(loop) == ["0", "1", "2", "3"]
        with pytest.raises(WorkerDiedError, match="SIGKILL") as caught:
            list(loop)
        assert caught.value.index == 6


def deadly(index: int) -> str:
    if index == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return str(index)


def test_a_batch_that_hangs_is_named_or_made_again(tmp_path: Any) -> None:
    blocker = tmp_path / "blocker"
    blocker.touch()
    options: dict[str, Any] = {"collate_fn": fail_at_four, "num_workers": 2, "timeout": 1}
    with DataLoader(Stuck(12, 7, str(blocker)), 3, sampler=[0, 1, 2, 7, 8], **options) as loader:
        loop = iter(loader)
        assert next(loop) == [0, 1, 2]
        with pytest.raises(LoaderTimeoutError, match="item 7") as caught:
            next(loop)
        assert caught.value.index == 7
        blocker.unlink()
        assert next(loop) == [7, 8]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_collate_fn_that_can_not_be_pickled_is_named(method: Any) -> None:
    loader = DataLoader(
        Numbers(3), collate_fn=lambda items: items, num_workers=1, start_method=method
    )
    with pytest.raises(WorkerStartError, match=r"^collate_fn \(.*lambda.*cannot be pickled"):
        iter(loader)


def test_a_spawned_worker_collates() -> None:
    options: dict[str, Any] = {"collate_fn": pad, "shuffle": True, "seed": 1}
    expected = epochs(DataLoader(Made(12, tokens), 4, **options))
    with DataLoader(Made(12, tokens), 4, num_workers=1, start_method="spawn", **options) as loader:
        assert epochs(loader) == expected


# ---------------------------------------------------------------- loops


def test_breaks_and_nested_loops_keep_the_order() -> None:
    with DataLoader(Made(30, numbers), 4, num_workers=2) as loader:
        expected = epochs(DataLoader(Made(30, numbers), 4), 1)[0]
        for taken in (1, 3, 4, 6):
            loop = iter(loader)
            assert [as_plain(next(loop)) for _ in range(taken)] == expected[:taken]
            del loop  # as a break does
        found = []
        for batch in loader:
            found.append(as_plain(batch))
            if len(found) == 2:
                assert [as_plain(inner) for inner in loader] == expected
        assert found == expected


def test_all_workers_take_part() -> None:
    with DataLoader(
        range(400), 2, num_workers=2, collate_fn=pid_and_items, prefetch_batches=8
    ) as loader:
        pids: set[int] = set()
        for _ in range(50):
            pids |= {batch["pid"] for batch in loader}
            if len(pids) == 2:
                break
        assert pids == set(loader.worker_pids())
