"""Adapters of the conformance suite to the two transports of the project.

A further transport needs one more `TransportHarness`, and a class in `test_conformance.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from shm_echo import ShmClient, ShmTransport, Transport
from tests.support.numbered import EXAMPLE, stacked
from tests.support.processes import start
from tests.transports.memory import MemoryTransport

__all__ = ["MAX_PRODUCERS", "Doomed", "MemoryHarness", "Producer", "ShmHarness", "TransportHarness"]

MAX_PRODUCERS = 4


class Producer(Protocol):
    """The part of `ShmClient` that sends samples."""

    def send(self, data: Any, timeout: float | None = None) -> None: ...

    def send_batch(self, data: Any, timeout: float | None = None) -> int: ...

    def wait(self, timeout: float | None = None) -> None: ...

    def close(self) -> None: ...


@dataclass
class Doomed:
    """A producer that the test can kill.

    Attributes:
        pid: its process.
        die: end it with SIGKILL, or as if by it.
    """

    pid: int
    die: Callable[[], object]


class TransportHarness(Protocol):
    """Attaches producers to a server by one transport.

    Attributes:
        transport: not started yet, with room for MAX_PRODUCERS.
    """

    @property
    def transport(self) -> Transport: ...

    def attach(self) -> Producer:
        """Attach a new producer of EXAMPLE, in this process."""

    def doomed(self, numbers: Sequence[int]) -> AbstractContextManager[Doomed]:
        """Return a producer that has sent the samples of these numbers."""


class ShmHarness:
    """Clients in shared memory; a death is the end of a real process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.transport = ShmTransport(name, max_producers=MAX_PRODUCERS)

    def attach(self) -> Producer:
        """See `TransportHarness`."""
        return ShmClient(self._name, EXAMPLE)

    @contextmanager
    def doomed(self, numbers: Sequence[int]) -> Iterator[Doomed]:
        """See `TransportHarness`."""
        with start(send_and_stay, self._name, list(numbers), method="forkserver") as child:
            child.expect("sent")
            yield Doomed(child.pid, child.end)


def send_and_stay(pipe: Any, name: str, numbers: Sequence[int]) -> None:
    """Send samples and wait to be killed: the program of the doomed process."""
    client = ShmClient(name, EXAMPLE)
    client.send_batch(stacked(numbers))
    pipe.send("sent")
    pipe.recv()
    client.close()


class MemoryHarness:
    """Objects of this process; a death is what the transport says."""

    def __init__(self, name: str) -> None:
        self.transport = MemoryTransport(MAX_PRODUCERS)
        self._pids = iter(range(2_000_000_000, 2_100_000_000))  # none of them exists

    def attach(self) -> Producer:
        """See `TransportHarness`."""
        return self.transport.connect()

    @contextmanager
    def doomed(self, numbers: Sequence[int]) -> Iterator[Doomed]:
        """See `TransportHarness`."""
        pid = next(self._pids)
        client = self.transport.connect(pid)
        client.send_batch(stacked(numbers))
        yield Doomed(pid, lambda: client.die(signal.SIGKILL))
