"""Spinning: when it is tried, when it is given up, and that it never takes the last CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.mechestim import adaptive_spin
from shm_echo.mechestim.adaptive_spin import Spinner
from tests.support.processes import start


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """Room for one thread that spins, however many CPUs there are."""
    found: list[None] = [None]
    monkeypatch.setattr(adaptive_spin, "_places", found)
    yield found
    assert found == [None], "a place was not given back"


class Descriptor:
    """Something that becomes ready after so many looks."""

    def __init__(self, after: float) -> None:
        self.after = after
        self.looks = 0

    def __call__(self) -> bool:
        self.looks += 1
        return self.looks > self.after


def test_it_returns_with_the_look_that_finds_something() -> None:
    descriptor = Descriptor(after=3)
    Spinner(descriptor).wait()
    assert descriptor.looks == 4


def test_it_gives_up_when_nothing_comes() -> None:
    descriptor = Descriptor(after=float("inf"))
    Spinner(descriptor).wait()
    assert descriptor.looks > 1


def test_after_many_waits_in_vain_it_is_tried_now_and_then_and_learns_again() -> None:
    descriptor = Descriptor(after=float("inf"))
    spinner = Spinner(descriptor)
    for _ in range(100):
        spinner.wait()
    tried = 0
    for _ in range(160):
        before = descriptor.looks
        spinner.wait()
        tried += descriptor.looks > before
    assert tried == 10
    descriptor.after = 0  # from now on, every look pays
    for _ in range(160):
        spinner.wait()
    before = descriptor.looks
    for _ in range(10):
        spinner.wait()
    assert descriptor.looks == before + 10


def test_an_interrupt_ends_it(places: list[None]) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Spinner(interrupted).wait()


def test_there_is_no_spinning_while_all_places_are_taken(places: list[None]) -> None:
    places.clear()
    descriptor = Descriptor(after=0)
    Spinner(descriptor).wait()
    assert descriptor.looks == 0
    places.append(None)


def test_one_cpu_is_left_for_those_who_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cpus: set(range(n)))
        found: list[None] = []
        with monkeypatch.context() as patch:
            patch.setattr(adaptive_spin, "_places", found)
            adaptive_spin._make_places()
        assert len(found) == cpus - 1


def count_places(pipe: Any) -> None:
    pipe.send(len(adaptive_spin._places))


def test_a_child_process_has_all_the_places() -> None:
    taken = adaptive_spin._places.pop()
    try:
        with start(count_places) as child:
            assert child.hear() == len(os.sched_getaffinity(0)) - 1
    finally:
        adaptive_spin._places.append(taken)
