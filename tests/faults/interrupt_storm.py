"""Child processes that work through a storm of interrupts, one after the other.

An exception may be raised between any two steps of Python code, so a call that is interrupted may
have done its work or not; but nothing that it leaves behind may stop the next call. Each interrupt
is reported, with the next one held back meanwhile: what is tested is our code, not the test's.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
from typing import Any

from shm_echo import Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.samples import Audit, Maker, example

__all__ = ["client", "learner"]

MAKER = Maker(1)


class Interrupts:
    """Raises KeyboardInterrupt once for each signal, and only while that is allowed.

    A signal mask would not do: the signal would be handled by another thread, and raise here.
    """

    def __init__(self) -> None:
        self._allowed = self._pending = False
        signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self._allowed:
            self._allowed = False
            raise KeyboardInterrupt
        self._pending = True

    def look(self) -> None:
        """Raise again what was raised in a destructor, where Python swallows it."""
        if not self._allowed:
            raise KeyboardInterrupt

    def allow(self) -> None:
        """From now on until one has come."""
        self._allowed = True
        if self._pending:
            self._allowed = self._pending = False
            raise KeyboardInterrupt


def client(pipe: Any, address: str, how: str) -> None:
    """Send until the stop; report the samples that were sent for certain.

    A sample whose call was interrupted may have been sent; its number is not used again.
    """
    interrupts = Interrupts()
    certain: list[int] = []
    first = 0
    with attach(address) as attached:
        pipe.send("at work")
        while True:
            try:
                _send(pipe, interrupts, attached, how, first, certain)
                break
            except KeyboardInterrupt:
                first = max([first, *certain[-1:]]) + 100
                pipe.send("interrupted")
        last = max([first, *certain[-1:]]) + 1000
        attached.send(MAKER.sample(last))
        certain.append(last)
    pipe.send(certain)


def _send(
    pipe: Any,
    interrupts: Interrupts,
    attached: ShmClient,
    how: str,
    first: int,
    certain: list[int],
) -> None:
    interrupts.allow()
    for n in itertools.count(first):
        interrupts.look()
        if how == "reserve":
            with attached.reserve() as slot:
                MAKER.write(slot, n)
        else:
            attached.send(MAKER.sample(n))
        certain.append(n)
        if n % 8 == 0 and pipe.poll():
            return


def learner(pipe: Any, address: str) -> None:
    """Take batches until the stop, then report one more."""
    interrupts = Interrupts()
    audit = Audit()
    with Server(example(), 2, ShmTransport(address), num_buffers=2) as server:
        pipe.send("at work")
        while True:
            try:
                _take(pipe, interrupts, server, audit)
                break
            except KeyboardInterrupt:
                pipe.send("interrupted")
        pipe.recv()
        sample = server.sample()
        pipe.send(sample is not None)
        pipe.send(audit.received)


def _take(pipe: Any, interrupts: Interrupts, server: Server, audit: Audit) -> None:
    interrupts.allow()
    while not pipe.poll():
        interrupts.look()
        with contextlib.suppress(TimeoutError):
            sample = server.sample(timeout=0.002)
            assert sample is not None
            audit.take(sample.batch)
