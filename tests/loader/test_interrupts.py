"""Ctrl-C at any place of the start, the loop and the end of a loader: nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

import pytest

from shm_echo import DataLoader
from shm_echo.uninterrupted import run_uninterrupted
from tests.support.interrupt_places import InterruptAt
from tests.support.leftovers import child_processes, open_descriptors
from tests.support.loader_pools import METHODS
from tests.support.loop_datasets import Numbers, Stuck
from tests.support.waiting import wait_until

BATCHES = [[0, 1], [2, 3]]


def belongings() -> tuple[Any, ...]:
    """Return what an interrupt could leave behind."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return open_descriptors(), child_processes(os.getpid()), threading.enumerate(), blocked


def run(loader: Any) -> list[list[int]]:
    found = [batch[:, 0].tolist() for batch in loader]
    loader.close()
    return found


def interrupt_everywhere(method: Any, step: int) -> int:
    """Interrupt a loop at every `step`-th place, from start to close; return how often."""
    assert run(DataLoader(Numbers(4), 2, num_workers=2, start_method=method)) == BATCHES
    before = belongings()  # what multiprocessing itself starts once is there now
    place, raised = 0, True
    while raised:
        loader = DataLoader(Numbers(4), 2, num_workers=2, start_method=method)
        with contextlib.suppress(KeyboardInterrupt), InterruptAt(place) as interrupt:
            run(loader)
        loader.close()
        assert belongings() == before, interrupt.where
        if place % 5 == 0:
            assert run(loader) == BATCHES, interrupt.where
        del loader
        raised = interrupt.raised
        place += step
    return place // step


# Primes, so that the places of a round of any loop are all met in time.
@pytest.mark.parametrize(("method", "step"), [("fork", 67), ("spawn", 307), ("forkserver", 307)])
def test_an_interrupt_leaves_nothing_behind(method: str, step: int) -> None:
    assert interrupt_everywhere(method, step) > 3


@pytest.mark.nightly
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_at_every_place_leaves_nothing_behind(method: str) -> None:
    assert interrupt_everywhere(method, 1) > 1000


def test_an_interrupted_call_goes_on() -> None:
    inside, leave = threading.Event(), threading.Event()
    ended: list[int] = []

    def call() -> None:
        inside.set()
        leave.wait()
        ended.append(1)

    def interrupt() -> None:
        inside.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_uninterrupted(call)
    assert ended == []
    leave.set()
    wait_until(lambda: ended, "the call has ended")


def test_a_call_is_not_interrupted_where_no_handler_runs() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: run_uninterrupted(lambda: found.append(name())))
    thread.start()
    thread.join()
    assert found == [thread.name]


def name() -> str:
    return threading.current_thread().name


def test_an_error_of_an_uninterrupted_call_comes_out_of_it() -> None:
    with pytest.raises(ZeroDivisionError):
        run_uninterrupted(lambda: 1 // 0)


def test_a_loader_that_is_closed_while_its_first_item_is_made_says_so(tmp_path: Any) -> None:
    """As by a signal handler that does not raise."""
    blocker = tmp_path / "blocker"
    blocker.touch()
    loader = DataLoader(Stuck(4, 0, str(blocker)), 2, num_workers=1)
    loop = iter(loader)
    threading.Timer(0.05, loader.close).start()
    with pytest.raises(RuntimeError, match="closed"):
        next(loop)
