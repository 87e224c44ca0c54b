"""Workers that die, raise and hang: what is done again, and what the training loop is told."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from shm_echo.errors import ItemError, LoaderTimeoutError, WorkerDiedError, WorkerStartError
from tests.support.loader_datasets import (
    Dying,
    Hanging,
    InPlace,
    Listing,
    Logged,
    Numbers,
    OddError,
    Raising,
    Stacking,
    exit_at_start,
    fail_at_start,
)
from tests.support.loader_pools import METHODS, PoolLoop, first_item
from tests.support.waiting import process_state, wait_until

WAYS: tuple[type[Dying], ...] = (Dying, InPlace, Listing, Stacking)
BATCHED = (Listing, Stacking)


# ---------------------------------------------------------------- deaths


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_worker_is_replaced_and_its_rows_are_done_again(
    tmp_path: Path, method: Any
) -> None:
    dataset = Dying(30, tmp_path / "log", index=13, times=2)
    with PoolLoop(dataset, method=method) as loop:
        assert loop.open().items() == list(range(30))
        assert loop.pool.deaths == 2
    assert dataset.calls().count((13,)) == 3


@pytest.mark.parametrize("way", WAYS)
def test_three_deaths_at_an_item_end_the_loader(tmp_path: Path, way: Any) -> None:
    dataset = way(30, tmp_path / "log", index=13, times=99)
    with PoolLoop(dataset) as loop:
        loop.open()
        with pytest.raises(WorkerDiedError, match="3 workers died at item 13;.*SIGKILL") as caught:
            loop.items()
    error = caught.value
    assert (error.index, error.signal, error.exit_status, error.deaths) == (13, 9, None, 3)
    assert "memory" in str(error)
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize(
    ("number", "text"), [(signal.SIGHUP, "was ended by SIGHUP"), (0, "exited with status 3")]
)
def test_the_error_says_how_the_workers_ended(tmp_path: Path, number: int, text: str) -> None:
    dataset = Dying(9, tmp_path / "log", index=4, times=99, number=number)
    with PoolLoop(dataset) as loop:
        loop.open()
        with pytest.raises(WorkerDiedError, match=text) as caught:
            loop.items()
    assert caught.value.signal == (number or None)
    assert caught.value.exit_status == (None if number else 3)
    assert "memory" not in str(caught.value)


def test_a_crash_shows_the_python_stack(tmp_path: Path) -> None:
    dataset = Dying(9, tmp_path / "log", index=4, times=99, number=signal.SIGSEGV)
    # Forks would inherit pytest's handler of crashes, and keep it.
    with PoolLoop(dataset, method="spawn") as loop:
        loop.open()
        with pytest.raises(WorkerDiedError, match="SIGSEGV") as caught:
            loop.items()
    assert "Segmentation fault" in caught.value.stack
    assert "in die_at" in str(caught.value)


@pytest.mark.parametrize("way", BATCHED)
def test_after_a_death_the_rows_of_a_run_are_made_one_by_one(tmp_path: Path, way: Any) -> None:
    dataset = way(12, tmp_path / "log", index=4, times=1)
    with PoolLoop(dataset) as loop:
        assert loop.open().items() == list(range(12))
    calls = dataset.calls()
    assert calls.count((3, 4, 5)) == 1
    assert [call for call in calls if call in ((3,), (4,), (5,))] == [(3,), (4,), (5,)]
    assert (6, 7, 8) in calls


def test_a_first_item_that_kills_is_an_error(tmp_path: Path) -> None:
    with PoolLoop(Dying(9, tmp_path / "log", index=0, times=99)) as loop:
        with pytest.raises(WorkerDiedError, match="3 workers died at item 0"):
            loop.open()


def test_a_first_item_is_made_again_after_a_death(tmp_path: Path) -> None:
    with PoolLoop(Dying(9, tmp_path / "log", index=0, times=2)) as loop:
        assert loop.open().items() == list(range(9))


def test_workers_that_die_at_their_start_end_the_loader() -> None:
    with PoolLoop(Numbers(9), worker_init_fn=exit_at_start) as loop:
        with pytest.raises(WorkerDiedError, match="3 workers in a row died before") as caught:
            loop.open()
    assert (caught.value.index, caught.value.exit_status) == (None, 7)


def test_random_kills_lose_and_repeat_nothing() -> None:
    rng = random.Random(7)
    with PoolLoop(Numbers(900), 3) as loop:
        loop.open()
        items: list[int] = []
        while len(items) < 900:
            # At most two kills while a row is in the ring: the third at one row ends the loader.
            if len(items) % 12 == 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(loop.pool.pids()), signal.SIGKILL)
            items += loop.rows(loop.next_batch())
        assert items == list(range(900))
        assert loop.pool.deaths > 10


def test_idle_workers_may_be_killed_any_number_of_times() -> None:
    with PoolLoop(Numbers(60)) as loop:
        items = loop.rows(loop.open().next_batch())
        for death in range(8):
            os.kill(loop.pool.pids()[death % 2], signal.SIGKILL)
            wait_until(lambda n=death: loop.pool.deaths > n, "the death is seen")  # type: ignore[misc]
        while len(items) < 60:
            items += loop.rows(loop.next_batch())
    assert items == list(range(60))


def test_the_end_of_the_nursery_ends_the_loader_and_its_workers() -> None:
    with PoolLoop(Numbers(60)) as loop:
        loop.open().next_batch()
        pids = loop.pool.pids()
        nursery = loop.pool.nursery_pid
        os.kill(nursery, signal.SIGKILL)
        with pytest.raises(WorkerStartError, match=rf"pid {nursery}\) was ended by signal 9"):
            loop.items()
        for pid in pids:
            wait_until(lambda pid=pid: process_state(pid) in "Z", "the workers end")  # type: ignore[misc]


# ---------------------------------------------------------------- exceptions


def failure_of(dataset: Any, **options: Any) -> tuple[Exception, list[int]]:
    """Return the exception of the first batch that fails, and the items of all others."""
    failed, items = [], []
    with PoolLoop(dataset, **options) as loop:
        loop.open()
        for _ in range(0, loop.length, 6):
            batch = loop.next_batch()
            if batch.failed:
                failure = loop.pool.failure(batch.failed[0].first_row)
                assert failure is not None
                failed.append(failure.exception())
            else:
                items += loop.rows(batch)
        assert loop.pool.deaths == 0
    return failed[0], items


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_of_an_item_keeps_its_class(method: Any) -> None:
    error, items = failure_of(
        Raising(18, {8: FileNotFoundError(2, "gone", "a.png")}), method=method
    )
    assert isinstance(error, FileNotFoundError)
    assert error.filename == "a.png"
    assert items == [*range(6), *range(12, 18)]
    cause = error.__cause__
    assert isinstance(cause, ItemError)
    assert cause.index == 8
    assert cause.worker in (0, 1)
    assert "item 8 failed in worker" in str(cause)
    assert "in __getitem__" in cause.traceback


@pytest.mark.parametrize(
    "error", [OddError("a", "b"), SystemExit(4), KeyboardInterrupt(), GeneratorExit()]
)
def test_what_cannot_be_raised_as_it_is_becomes_an_item_error(error: BaseException) -> None:
    raised, items = failure_of(Raising(18, {8: error}))
    assert type(raised) is ItemError
    assert raised.index == 8
    assert type(error).__name__ in str(raised)
    assert items == [*range(6), *range(12, 18)]


def test_a_failing_first_item_is_reported_and_the_next_one_is_tried() -> None:
    error, items = failure_of(Raising(12, {0: ValueError("zero"), 1: ValueError("one")}))
    assert isinstance(error, ValueError)
    assert error.args == ("zero",)
    assert items == list(range(6, 12))


def test_a_very_long_error_does_not_fill_the_socket() -> None:
    error, _ = failure_of(Raising(12, {3: ValueError("x" * 10**6)}))
    assert len(str(error)) < 200_000


def test_more_errors_than_a_socket_holds_arrive() -> None:
    errors: dict[int, BaseException] = {i: ValueError("y" * 60_000) for i in range(1, 60)}
    with PoolLoop(Raising(60, errors), 1) as loop:
        loop.open()
        for _ in range(10):
            for failed in loop.next_batch().failed:
                failure = loop.pool.failure(failed.first_row)
                assert failure is not None
                assert isinstance(failure.exception(), ValueError)


def test_an_exception_of_worker_init_fn_is_raised() -> None:
    with PoolLoop(Numbers(9), worker_init_fn=fail_at_start) as loop:
        with pytest.raises(KeyError, match="no such folder") as caught:
            loop.open()
    assert "in fail_at_start" in str(caught.value.__cause__)


# ---------------------------------------------------------------- hangs


def hung_worker(loop: PoolLoop, dataset: Logged, index: int) -> int:
    """Wait until a worker hangs at an item, and return its number."""
    wait_until(lambda: (index,) in dataset.calls(), "the item is begun")
    pid = next(int(line.split()[0]) for line in dataset.lines() if line.split()[1] == str(index))
    return next(worker for worker in (0, 1) if loop.pool.pid_of(worker) == pid)


def test_a_hang_shows_its_python_stack(tmp_path: Path) -> None:
    dataset = Hanging(12, tmp_path / "log", index=4)
    with PoolLoop(dataset) as loop:
        loop.open()
        worker = hung_worker(loop, dataset, 4)
        stack = wait_until(
            lambda: "in hang_here" in (text := loop.pool.stack(worker)) and text, "it hangs there"
        )
        assert "in __getitem__" in str(stack)
        error = loop.pool.timeout_error(2.0, worker, 4)
        assert isinstance(error, LoaderTimeoutError)
        assert isinstance(error, TimeoutError)
        assert isinstance(error, RuntimeError)
        pid = loop.pool.pid_of(worker)
        assert f"within 2 s: worker {worker} (pid {pid}) is at item 4" in str(error)
        assert "in hang_here" in str(error)


def test_a_first_item_that_hangs_is_an_error_with_its_stack(tmp_path: Path) -> None:
    with PoolLoop(Hanging(12, tmp_path / "log", index=0)) as loop:
        with pytest.raises(LoaderTimeoutError, match="worker 0 .* is at item 0") as caught:
            loop.pool.first_item(first_item(0), timeout=1.0)
        assert caught.value.index == 0


def test_a_worker_that_hangs_is_replaced_on_demand(tmp_path: Path) -> None:
    dataset = Hanging(12, tmp_path / "log", index=4)
    with PoolLoop(dataset) as loop:
        loop.open()
        assert loop.pool.restart(hung_worker(loop, dataset, 4))
        assert loop.items() == list(range(12))
        assert loop.pool.deaths == 1


def test_a_stopped_worker_shows_no_stack_and_is_replaced(tmp_path: Path) -> None:
    dataset = Hanging(12, tmp_path / "log", index=4)
    with PoolLoop(dataset) as loop:
        loop.open()
        worker = hung_worker(loop, dataset, 4)
        pid = loop.pool.pid_of(worker)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: process_state(pid) == "T", "it stops")
        assert "it is stopped" in str(loop.pool.timeout_error(1.0, worker, 4))
        assert loop.pool.restart(worker)
        assert loop.items() == list(range(12))
