"""Spinning is tried where it pays, ends where it does not, and leaves one CPU free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.mechestim import adaptive_spin
from shm_echo.mechestim.adaptive_spin import Spinner
from tests.support.processes import start


@pytest.fixture(autouse=True)
def permits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """Allow one thread to spin, on a machine with any number of CPUs."""
    one: list[None] = [None]
    monkeypatch.setattr(adaptive_spin, "_permits", one)
    yield one
    assert one == [None], "a permit was not returned"


class Descriptor:
    """Becomes ready after so many polls."""

    def __init__(self, after: float) -> None:
        self.after = after
        self.polls = 0

    def __call__(self) -> bool:
        self.polls += 1
        return self.polls > self.after


def test_it_returns_with_the_first_poll_that_finds_something() -> None:
    descriptor = Descriptor(after=3)
    Spinner(descriptor).wait()
    assert descriptor.polls == 4


def test_it_gives_up_when_nothing_comes() -> None:
    descriptor = Descriptor(after=float("inf"))
    Spinner(descriptor).wait()
    assert descriptor.polls > 1


def test_after_many_waits_in_vain_it_is_tried_now_and_then_and_resumes_when_it_pays() -> None:
    descriptor = Descriptor(after=float("inf"))
    spinner = Spinner(descriptor)
    for _ in range(100):
        spinner.wait()
    tried = 0
    for _ in range(160):
        before = descriptor.polls
        spinner.wait()
        tried += descriptor.polls > before
    assert tried == 10
    descriptor.after = 0  # from now on, every poll finds something
    for _ in range(160):
        spinner.wait()
    before = descriptor.polls
    for _ in range(10):
        spinner.wait()
    assert descriptor.polls == before + 10


def test_an_interrupt_ends_it_and_returns_the_permit(permits: list[None]) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Spinner(interrupted).wait()


def test_there_is_no_spinning_while_other_threads_hold_all_permits(permits: list[None]) -> None:
    permits.clear()
    descriptor = Descriptor(after=0)
    Spinner(descriptor).wait()
    assert descriptor.polls == 0
    permits.append(None)


def test_one_cpu_is_left_for_the_process_that_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cpus in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cpus: set(range(n)))
        found: list[None] = []
        with monkeypatch.context() as patch:
            patch.setattr(adaptive_spin, "_permits", found)
            adaptive_spin._reset_permits()
        assert len(found) == cpus - 1


def send_permits(pipe: Any) -> None:
    pipe.send(len(adaptive_spin._permits))


def test_a_child_process_has_all_permits() -> None:
    taken = adaptive_spin._permits.pop()
    try:
        with start(send_permits) as child:
            assert child.hear() == len(os.sched_getaffinity(0)) - 1
    finally:
        adaptive_spin._permits.append(taken)
