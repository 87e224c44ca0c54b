"""The registry of readers."""

from __future__ import annotations

from shm_echo.ring.readers import Readers


def test_readers_are_listed_in_the_order_in_which_they_attached_until_they_leave() -> None:
    readers = Readers()
    numbers = [readers.attach(pid) for pid in (30, 10, 30)]
    assert [(info.id, info.pid) for info in readers.snapshot()] == [(1, 30), (2, 10), (3, 30)]
    assert all(info.attached_seconds >= 0 for info in readers.snapshot())
    readers.detach(numbers[1])
    readers.detach(numbers[1])
    assert [info.id for info in readers.snapshot()] == [1, 3]


def test_a_number_is_never_used_twice() -> None:
    readers = Readers()
    readers.detach(readers.attach(1))
    assert readers.attach(1) == 2
