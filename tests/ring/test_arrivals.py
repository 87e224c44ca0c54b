"""Counting the producers that have come."""

from __future__ import annotations

import os

import pytest

from shm_echo.ring.arrivals import Arrivals


def test_a_process_counts_as_often_as_it_was_attached_at_the_same_time() -> None:
    arrivals = Arrivals()
    pid = os.getpid()
    for _ in range(3):
        arrivals.leave(arrivals.arrive(1, pid, None))
    assert arrivals.come == 1
    both = [arrivals.arrive(owner, pid, None) for owner in (1, 2)]
    assert arrivals.come == 2
    for who in both:
        arrivals.leave(who)
    three = [arrivals.arrive(owner, pid, None) for owner in (1, 2, 3)]
    assert arrivals.come == 3
    for who in three:
        arrivals.leave(who)
    arrivals.arrive(1, pid, None)
    assert arrivals.come == 3


def test_processes_are_counted_apart() -> None:
    arrivals = Arrivals()
    for pid in (os.getpid(), os.getppid(), os.getpid()):
        arrivals.leave(arrivals.arrive(1, pid, None))
    assert arrivals.come == 2


def test_a_later_process_with_the_number_of_an_earlier_one_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrivals = Arrivals()
    for started in ("100", "100", "200"):
        monkeypatch.setattr("shm_echo.ring.arrivals.start_time", lambda _, at=started: at)
        arrivals.leave(arrivals.arrive(1, 4711, None))
    assert arrivals.come == 2


def test_an_id_counts_once_even_while_its_earlier_process_has_not_ended() -> None:
    arrivals = Arrivals()
    first = arrivals.arrive(1, os.getpid(), "actor 3")
    arrivals.arrive(2, os.getppid(), "actor 3")
    arrivals.leave(first)
    arrivals.arrive(3, os.getpid(), "actor 3")
    assert arrivals.come == 1
    arrivals.arrive(4, os.getpid(), "actor 4")
    assert arrivals.come == 2


def test_an_id_is_no_process() -> None:
    arrivals = Arrivals()
    arrivals.arrive(1, os.getpid(), str(os.getpid()))
    arrivals.arrive(2, os.getpid(), None)
    assert arrivals.come == 2


def test_producers_of_which_nothing_is_known_are_all_different() -> None:
    arrivals = Arrivals()
    for _ in range(3):
        arrivals.leave(arrivals.arrive(1, None, None))
    assert arrivals.come == 3
