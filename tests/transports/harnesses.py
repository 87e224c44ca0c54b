"""Adapters of the conformance suite to the transports of the project.

A further transport needs one more `TransportHarness`, and a class in `test_conformance.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from shm_echo import Server, ShmClient, ShmTransport, Transport
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
        name: the words by which messages call it: "pid 12", or the address of its connection.
        die: end it with SIGKILL, or as if by it.
        words: what the log says of its end.
    """

    name: str
    die: Callable[[], object]
    words: str = "without closing"


class TransportHarness(Protocol):
    """Attaches producers to a server by one transport.

    Attributes:
        transport: not started yet, with room for MAX_PRODUCERS.
        queues: True if a sample for which the ring has no room waits in a queue of the server.
    """

    queues: bool

    @property
    def transport(self) -> Transport: ...

    def served_by(self, server: Server) -> None:
        """Called with the server, once it runs."""

    def attach(self) -> Producer:
        """Attach a new producer of EXAMPLE, in this process. The server lists it then."""

    def doomed(self, numbers: Sequence[int]) -> AbstractContextManager[Doomed]:
        """Return a producer that has sent the samples of these numbers."""


class ShmHarness:
    """Clients in shared memory; a death is the end of a real process."""

    queues = False

    def __init__(self, name: str) -> None:
        self._name = name
        self.transport = ShmTransport(name, max_producers=MAX_PRODUCERS)

    def served_by(self, server: Server) -> None:
        """See `TransportHarness`."""

    def attach(self) -> Producer:
        """See `TransportHarness`."""
        return ShmClient(self._name, EXAMPLE)

    @contextmanager
    def doomed(self, numbers: Sequence[int]) -> Iterator[Doomed]:
        """See `TransportHarness`."""
        with start(send_and_stay, self._name, list(numbers), method="forkserver") as child:
            child.expect("sent")
            yield Doomed(f"pid {child.pid}", child.end)


def send_and_stay(pipe: Any, name: str, numbers: Sequence[int]) -> None:
    """Send samples and wait to be killed: the program of the doomed process."""
    client = ShmClient(name, EXAMPLE)
    client.send_batch(stacked(numbers))
    pipe.send("sent")
    pipe.recv()
    client.close()


class MemoryHarness:
    """Objects of this process; a death is what the transport says."""

    queues = False

    def __init__(self, name: str) -> None:
        self.transport = MemoryTransport(MAX_PRODUCERS)
        self._pids = iter(range(2_000_000_000, 2_100_000_000))  # none of them exists

    def served_by(self, server: Server) -> None:
        """See `TransportHarness`."""

    def attach(self) -> Producer:
        """See `TransportHarness`."""
        return self.transport.connect()

    @contextmanager
    def doomed(self, numbers: Sequence[int]) -> Iterator[Doomed]:
        """See `TransportHarness`."""
        pid = next(self._pids)
        client = self.transport.connect(pid)
        client.send_batch(stacked(numbers))
        yield Doomed(f"pid {pid}", lambda: client.die(signal.SIGKILL))
