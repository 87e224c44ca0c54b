"""Loops over a DataLoader: their ends, several at once, kept batches, forks."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader
from tests.support.leftovers import child_processes
from tests.support.loop_datasets import Augmented, Failing, Numbers, Pids, as_lists
from tests.support.waiting import process_state, wait_until

ROOT = Path(__file__).resolve().parents[2]


def firsts(loop: Any) -> list[int]:
    return [int(batch[0, 0]) for batch in loop]


def gone(pids: list[int]) -> bool:
    return all(process_state(pid) in ("", "Z") for pid in pids)


# ---------------------------------------------------------------- the end of a loop


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_hundred_breaks_lose_nothing_of_the_next_loops(num_workers: int) -> None:
    draw = random.Random(0)
    expected = DataLoader(Augmented(50), 4, shuffle=True, seed=2)
    with DataLoader(Augmented(50), 4, shuffle=True, seed=2, num_workers=num_workers) as loader:
        for _ in range(100):
            wanted = iter(expected)
            last = draw.randrange(0, 6)
            for number, batch in enumerate(loader):
                assert as_lists(batch) == as_lists(next(wanted))
                if number == last:
                    break
        assert [as_lists(b) for b in loader] == [as_lists(b) for b in expected]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_live_on_and_the_next_epoch_follows(num_workers: int) -> None:
    with DataLoader(Pids(20), 4, num_workers=num_workers) as loader:
        pids = {int(pid) for _ in range(4) for batch in loader for pid in batch["pid"]}
    assert len(pids) <= max(1, num_workers)
    assert (os.getpid() in pids) == (num_workers == 0)


def test_an_exception_in_the_loop_leaves_the_loader_usable() -> None:
    with DataLoader(Numbers(12), 2, num_workers=2) as loader:
        pids: list[int] = []
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                for batch in loader:
                    assert 1 // int(batch[0, 0])
            pids = pids or loader.worker_pids()
            assert len(pids) == 2
        assert loader.worker_pids() == pids
        assert firsts(loader) == [0, 2, 4, 6, 8, 10]


def test_an_error_of_an_item_that_is_kept_does_not_keep_the_workers() -> None:
    """As in a notebook, where the last traceback refers to the iterator."""
    with DataLoader(Failing(12, 3), 2, num_workers=1) as loader:
        with pytest.raises(KeyError) as kept:
            list(loader)
        pids = loader.worker_pids()
        with pytest.raises(KeyError):
            list(loader)
        assert loader.worker_pids() == pids
        assert kept.tb is not None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loops_over_one_loader_may_be_nested(num_workers: int) -> None:
    with DataLoader(Numbers(8), 2, num_workers=num_workers) as loader:
        before = set(child_processes(os.getpid()))
        found = []
        for outer in loader:
            found.append((int(outer[0, 0]), firsts(loader)))
        assert found == [(first, [0, 2, 4, 6]) for first in (0, 2, 4, 6)]
        if num_workers:
            # Each inner loop had workers of its own, which have ended with it.
            started = set(child_processes(os.getpid())) - before
            assert len(started) <= 1


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_abandoned_loop_may_be_taken_up_again(num_workers: int) -> None:
    with DataLoader(Numbers(8), 2, num_workers=num_workers) as loader:
        first = iter(loader)
        assert int(next(first)[0, 0]) == 0
        second = iter(loader)
        assert int(next(second)[0, 0]) == 0
        assert firsts(first) == [2, 4, 6]
        assert firsts(second) == [2, 4, 6]


def test_close_ends_workers_and_loops_and_a_later_loop_starts_again() -> None:
    loader = DataLoader(Numbers(8), 2, num_workers=2)
    loop = iter(loader)
    kept = next(loop)
    pids = loader.worker_pids()
    loader.close()
    assert gone(pids)
    with pytest.raises(RuntimeError, match="the DataLoader was closed"):
        next(loop)
    assert kept[:, 0].tolist() == [0, 1]
    assert firsts(loader) == [0, 2, 4, 6]
    loader.close()
    loader.close()


def test_garbage_collection_ends_the_workers() -> None:
    loader = DataLoader(Numbers(8), 2, num_workers=2)
    kept = list(loader)
    pids = loader.worker_pids()
    del loader
    gc.collect()
    assert gone(pids)
    assert [int(batch[0, 0]) for batch in kept] == [0, 2, 4, 6]


def test_a_loop_keeps_its_loader_alive() -> None:
    assert firsts(DataLoader(Numbers(8), 2, num_workers=1)) == [0, 2, 4, 6]
    loop = iter(DataLoader(Numbers(8), 2, num_workers=1))
    gc.collect()
    assert firsts(loop) == [0, 2, 4, 6]


# ---------------------------------------------------------------- batches that are kept


@pytest.mark.parametrize("num_workers", [0, 2])
def test_kept_batches_stay_as_they_are(num_workers: int) -> None:
    with DataLoader(Numbers(200), 4, num_workers=num_workers) as loader:
        kept = list(loader)
        kept += list(loader)
        copied = loader.stats().copied_batches
    assert [int(b[0, 0]) for b in kept] == 2 * list(range(0, 200, 4))
    assert all((batch == batch[:, :1]).all() for batch in kept)
    assert copied > 50 or num_workers == 0


def test_kept_batches_are_dropped_in_any_order_by_another_thread() -> None:
    draw = random.Random(1)
    kept: list[Any] = []
    done = threading.Event()

    def drop() -> None:
        while not done.is_set():
            if kept:
                kept.pop(draw.randrange(len(kept)))

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        with DataLoader(Numbers(2000), 4, num_workers=2) as loader:
            for number, batch in enumerate(loader):
                assert batch[:, 0].tolist() == list(range(4 * number, 4 * number + 4))
                kept.append(batch)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_loop_may_write_into_its_batches(num_workers: int) -> None:
    with DataLoader(Numbers(40), 4, num_workers=num_workers) as loader:
        for _ in range(3):
            for number, batch in enumerate(loader):
                assert batch[:, 0].tolist() == list(range(4 * number, 4 * number + 4))
                batch[...] = -1


# ---------------------------------------------------------------- other threads and processes


def test_a_thread_may_run_the_loop() -> None:
    found: list[int] = []
    loader = DataLoader(Numbers(20), 2, num_workers=2)
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.extend(firsts(loader)))
        thread.start()
        thread.join()
    loader.close()
    assert found == 2 * list(range(0, 20, 2))


def test_a_forked_child_gets_workers_of_its_own() -> None:
    with DataLoader(Numbers(8), 2, num_workers=1) as loader:
        loop = iter(loader)
        next(loop)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                inherited = ""
                try:
                    next(loop)
                except RuntimeError as error:
                    inherited = str(error)
                text = f"{inherited}: {firsts(loader)}"
                loader.close()
                os.write(write, text.encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as answer:
            assert answer.read() == (
                "this loop over a DataLoader was begun before the fork: [0, 2, 4, 6]"
            )
        assert firsts(loop) == [2, 4, 6]


PROGRAM = """
import os, sys, time
from shm_echo import DataLoader
from tests.support.loop_datasets import Pids
if __name__ == "__main__":
    loader = DataLoader(Pids(1000, 0.01), 4, num_workers=2, start_method=sys.argv[1])
    for batch in loader:
        print(*loader.worker_pids(), flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_survives_its_trainer(
    tmp_path: Path, method: str, number: signal.Signals
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, str(script), method],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2, program.communicate()
    # Ctrl-C goes to the whole group.
    (os.killpg if number == signal.SIGINT else os.kill)(program.pid, number)
    _, said = program.communicate(timeout=100)
    assert program.returncode != 0
    wait_until(lambda: gone(pids), "the workers have ended")
    assert said.count("Traceback") == (number == signal.SIGINT), said
    assert said.count("KeyboardInterrupt") <= 1, said


def test_interrupts_at_any_moment_leave_the_loader_usable() -> None:
    """The main thread gets Ctrl-C while it waits, again and again."""
    expected = [list(range(first, first + 4)) for first in range(0, 60, 4)]
    with DataLoader(Pids(60, 0.001), 4, num_workers=2) as loader:
        for delay in range(30):
            timer = threading.Timer(
                0.002 * delay, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
            )
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                while True:
                    for number, batch in enumerate(loader):
                        assert batch["index"].tolist() == expected[number]
            timer.join()
        assert [batch["index"].tolist() for batch in loader] == expected


def test_an_interrupted_loop_can_go_on() -> None:
    expected = [list(range(first, first + 4)) for first in range(0, 400, 4)]
    with DataLoader(Pids(400, 0.0005), 4, num_workers=2) as loader:
        for delay in range(20):
            timer = threading.Timer(
                0.003 * delay, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
            )
            found: list[list[int]] = []
            loop = iter(loader)
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                while True:
                    for batch in loop:
                        found.append(batch["index"].tolist())
            timer.join()
            for batch in loop:
                found.append(batch["index"].tolist())
            # At most the batch that the interrupted call had in its hands is missing.
            assert found == sorted(found)
            assert len(found) >= len(expected) - 1
            assert all(batch in expected for batch in found)


def test_arrays_hold_their_memory_after_the_loader() -> None:
    loader = DataLoader(np.arange(40.0), 4, num_workers=1)
    batches = list(loader)
    row = batches.pop(0)[1:3]
    loader.close()
    del loader
    gc.collect()
    assert row.tolist() == [1.0, 2.0]
