"""The requests that a worker answers, in the process of the test: no nursery, no ring."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo.errors import ConnectionClosedError
from shm_echo.loader.channel import Channel
from shm_echo.loader.current_worker import set_worker_info
from shm_echo.loader.face import NUMPY_FACE
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.messages import (
    Attach,
    Claimed,
    End,
    Left,
    Ready,
    Recipe,
    Singly,
    WorkerSetup,
)
from shm_echo.loader.randomness import saved_generators
from shm_echo.loader.worker_main import run_worker
from tests.support.loader_datasets import Listing, Numbers
from tests.support.waiting import WATCHDOG


class FakeRun:
    """A run that keeps what is written."""

    first_row, epoch, indices, tree, views = 3, 0, (3, 4, 5), None, ()

    def __init__(self) -> None:
        self.status: int | None = None
        self.rows: list[Any] = []

    def row(self, place: int) -> Any:
        raise AssertionError("no dataset here writes in place")

    def at_row(self, place: int | None) -> None:
        """Take no note."""

    def write(self, place: int, tree: Any) -> None:
        self.rows.append((place, tree["i"]))

    def commit(self, status: int = 0) -> None:
        self.status = status


class FakeSender:
    """Hands out one run, and then closes."""

    def __init__(self, run: FakeRun) -> None:
        self._runs = [run]

    def claim_run(self, timeout: float | None) -> FakeRun:
        if not self._runs:
            raise ConnectionClosedError("closed")
        return self._runs.pop()


RUNS: list[FakeRun] = []


def open_fake(fd: int, owner: int, trainer: int, hooks: ItemHooks) -> FakeSender:
    """Open the fake ring of this process."""
    os.close(fd)
    hooks.spec_of(Numbers(1)[0], 0)
    RUNS.append(FakeRun())
    return FakeSender(RUNS[-1])


@pytest.fixture
def trainer() -> Iterator[int]:
    pidfd = os.pidfd_open(os.getpid())
    with saved_generators():
        yield pidfd
    set_worker_info(None)
    os.close(pidfd)


def setup_of(dataset: Any) -> WorkerSetup:
    """Return what a worker gets that makes the rows of a dataset."""
    return WorkerSetup(dataset, ItemHooks(0), None, 1, 0, Recipe(NUMPY_FACE))


def run_in_thread(dataset: Any, trainer: int) -> tuple[Channel, threading.Thread]:
    """Start a worker, and wait until it is ready."""
    channel, theirs = Channel.pair()
    setup = setup_of(dataset)
    thread = threading.Thread(target=run_worker, args=(setup, 0, theirs, trainer))
    thread.start()
    return channel, thread


def test_a_note_that_comes_with_the_ring_is_not_lost(tmp_path: Path, trainer: int) -> None:
    dataset = Listing(9, tmp_path / "log", index=-1, times=0)
    channel, theirs = Channel.pair()
    null = os.open(os.devnull, os.O_RDONLY)
    channel.send(Attach(open_fake, 1, ()), [null])
    channel.send(Singly(3))
    os.close(null)
    assert run_worker(setup_of(dataset), 0, theirs, trainer) == 0
    assert [message for message, _ in channel.receive_all()] == [
        Ready(batched=True),
        Claimed(),
        Left(),
    ]
    channel.close()
    assert dataset.calls() == [(3,), (4,), (5,)]
    assert RUNS.pop().rows == [(0, 3), (1, 4), (2, 5)]


def test_a_worker_without_a_ring_ends_on_request(trainer: int) -> None:
    channel, thread = run_in_thread(Numbers(3), trainer)
    assert channel.receive()[0] == Ready(batched=False)
    channel.send(End(0.0))
    thread.join(WATCHDOG)
    assert not thread.is_alive()
    channel.close()


def test_a_worker_ends_when_its_channel_does(trainer: int) -> None:
    channel, thread = run_in_thread(Numbers(3), trainer)
    assert channel.receive()[0] == Ready(batched=False)
    channel.close()
    thread.join(WATCHDOG)
    assert not thread.is_alive()
