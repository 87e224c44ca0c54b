"""A loader's ring for tests: items that say which ones they are, and workers that make them."""

from __future__ import annotations

import itertools
import os
import signal
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from shm_echo.errors import ConnectionClosedError
from shm_echo.ring._core_cpython import Run, Sender
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import LoaderBatch, LoaderRing, LoaderSizes, loader_sender
from shm_echo.spec import TreeSpec
from tests.support.processes import Child, start
from tests.support.waiting import WATCHDOG, wait_until

__all__ = [
    "ITEM",
    "SPEC",
    "WorkerProcesses",
    "admit",
    "announce",
    "attach",
    "indices_of",
    "item",
    "loader_ring",
    "make",
    "make_all",
    "poll",
    "take",
    "work",
]

ITEM = {"image": np.zeros((3, 5), np.float32), "label": np.int64(0)}
SPEC = TreeSpec.from_example(ITEM)


def item(index: int) -> dict[str, Any]:
    """Return the item of an index; no two are alike."""
    return {"image": np.full((3, 5), index, np.float32), "label": index}


@contextmanager
def loader_ring(sizes: LoaderSizes, **options: Any) -> Iterator[LoaderRing]:
    """Make a ring of ITEMs, and close it in the end."""
    ring = LoaderRing.create(SPEC, sizes, **options)
    try:
        yield ring
    finally:
        ring.close()


_owners: weakref.WeakKeyDictionary[LoaderRing, Iterator[int]] = weakref.WeakKeyDictionary()


def admit(ring: LoaderRing) -> int:
    """Admit a worker, and return its owner id: all ids in turn, then the first one again."""
    ids = _owners.setdefault(ring, itertools.cycle(range(1, ring.sizes.max_workers + 1)))
    owner = next(ids)
    ring.admit(owner)
    return owner


def attach(ring: LoaderRing) -> tuple[int, Sender]:
    """Return the owner id and the sender of a new worker in this process."""
    owner = admit(ring)
    return owner, loader_sender(ring.spec, ring.sizes, os.dup(ring.fileno()), owner)


def make(run: Run) -> None:
    """Make the rows of a run, and commit it."""
    for row, index in enumerate(run.indices):
        run.at_row(row)
        run.write(row, item(index))
    run.commit()


def make_all(sender: Sender) -> list[tuple[int, ...]]:
    """Make every run that can be claimed; return their indices, in the order of the claims."""
    made = []
    while True:
        try:
            run = sender.claim_run(0)
        except TimeoutError:
            return made
        made.append(run.indices)
        make(run)


def announce(ring: LoaderRing, batches: Iterable[range], first_row: int = 0) -> int:
    """Announce batches of consecutive rows, and return the number of the next row."""
    for batch in batches:
        assert ring.announce(first_row, 0, np.array(batch, np.int64))
        first_row += len(batch)
    return first_row


def poll(ring: LoaderRing) -> LoaderBatch | None:
    """Take the next batch if it is complete."""
    handover = ring.handover()
    assert handover.begin(WATCHDOG)
    batch = ring.take(handover)
    handover.confirm()
    return batch


def take(ring: LoaderRing) -> LoaderBatch:
    """Wait for the next batch, and take it."""

    def wait_and_poll() -> LoaderBatch | None:
        handover = ring.handover()
        assert handover.begin(WATCHDOG)
        assert ring.ready_wait(0.1) != Result.CLOSED
        handover.confirm()
        return poll(ring)

    return wait_until(wait_and_poll, "the next batch is complete")


def indices_of(batch: LoaderBatch) -> list[int]:
    """Return the items of a batch, after a check that each is whole."""
    images, labels = batch.arrays
    assert images.shape == (batch.rows, 3, 5)
    assert labels.shape == (batch.rows,)
    assert (images == labels[:, None, None]).all(), labels
    return [int(label) for label in labels]


def work(
    pipe: Any, sizes: LoaderSizes, fd: int, owner: int, hold: bool = False, trainer: int = 0
) -> None:
    """Make runs until the ring closes, as the main function of a process.

    Args:
        pipe: hears "attached", and why the claims ended.
        sizes, fd, owner: of the ring and of this worker.
        hold: say the indices of the first run once half of it is written, and then wait.
        trainer: the process of the training loop; 0 for none.
    """
    pidfd = os.pidfd_open(trainer) if trainer else -1
    sender = loader_sender(SPEC, sizes, fd, owner, trainer=pidfd)
    pipe.send("attached")
    try:
        while True:
            run = sender.claim_run(None)
            if hold:
                half = len(run) // 2
                for row in range(half):
                    run.write(row, item(-1))
                run.at_row(half)
                pipe.send(run.indices)
                signal.pause()
            make(run)
    except ConnectionClosedError as error:
        pipe.send(str(error))


class WorkerProcesses:
    """Worker processes of one ring, which the test kills and replaces.

    Args:
        ring: the ring that they fill.
    """

    def __init__(self, ring: LoaderRing) -> None:
        self.ring = ring
        self.children: dict[int, Child] = {}

    def hire(self, hold: bool = False) -> int:
        """Start a worker, and return its owner id once it has opened the ring."""
        owner = next(
            id_ for id_ in range(1, self.ring.sizes.max_workers + 1) if id_ not in self.children
        )
        self.ring.admit(owner)
        fd = os.dup(self.ring.fileno())
        child = start(work, self.ring.sizes, fd, owner, hold)
        os.close(fd)
        child.expect("attached")
        self.children[owner] = child
        return owner

    def kill(self, owner: int) -> None:
        """Kill a worker, and give what it held to the others."""
        self.children.pop(owner).end()
        self.ring.recover(owner)

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.end()
