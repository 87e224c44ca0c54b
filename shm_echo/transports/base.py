"""What a transport is: how samples of other processes or machines reach a server's ring.

A transport is any object with the three members of `Transport`. The server gives it an
`Ingress` when it starts; for each producer that connects, the transport opens an
`Inlet` and sends what arrives into it. Everything else (checks, waiting for room, metrics,
recovery after deaths) is done behind the inlet, in the same way for all transports.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from shm_echo.errors import ConnectionClosedError, SendTimeoutError
from shm_echo.ring.core import Result
from shm_echo.ring.segment import Backing

if TYPE_CHECKING:
    from shm_echo.ring.broadcast import Publisher
    from shm_echo.ring.producers import Producers
    from shm_echo.ring.ring import Ring
    from shm_echo.spec import TreeSpec

__all__ = ["Ingress", "Inlet", "Transport"]


@runtime_checkable
class Transport(Protocol):
    """How producers reach a server. Write one by providing these three members."""

    @property
    def backing(self) -> Backing:
        """Which memory the ring shall live in: "private" unless other processes map it."""

    def start(self, ingress: Ingress) -> None:
        """Begin to take producers in. Called once; an exception makes `Server.start` fail."""

    def close(self) -> None:
        """Let all producers go, and free everything. The ring has been closed before: sends that
        are blocked have been woken with ConnectionClosedError."""


class Ingress:
    """A server's side towards its transport.

    Attributes:
        spec: the structure, shapes and dtypes of a sample.
    """

    def __init__(self, ring: Ring, producers: Producers, publisher: Publisher | None) -> None:
        self.spec: TreeSpec = ring.spec
        self.ring = ring
        self.producers = producers
        self.publisher = publisher

    def open(self, pid: int | None = None) -> Inlet:
        """Take a producer in.

        Args:
            pid: its process, where it has one of its own; for messages and `producers()`.

        Raises:
            RuntimeError: the ring has as many producers as it was made for.
            ConnectionClosedError: the server is closed.
        """
        if self.ring.closed:
            raise ConnectionClosedError("the server has closed the ring")
        return Inlet(self, self.producers.attach(pid), pid)


class Inlet:
    """The way into the ring for one producer. Its threads may share it.

    It ends with `close` or `died`, exactly one of them; both may be called again.
    """

    def __init__(self, ingress: Ingress, owner: int, pid: int | None) -> None:
        self._producers = ingress.producers
        self._owner = owner
        self._pid = pid
        self._sender = ingress.ring.sender(owner, _raise_for_result)
        self._open = True

    def send(self, data: Any, timeout: float | None = None) -> None:
        """Copy one sample into the ring, waiting for room.

        Raises:
            SpecMismatchError: it differs from the example; nothing was sent.
            SendTimeoutError: the ring stayed full.
            ConnectionClosedError: the server or this inlet was closed.
        """
        self._sender.send(data, timeout)

    def send_batch(self, data: Any, timeout: float | None = None) -> int:
        """Copy N samples, stacked along a leading axis of every leaf; returns N.

        Raises as `send`; the exception's `sent` says how many samples were sent.
        """
        return self._sender.send_batch(data, timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until everything that was sent has been handed to the learner.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
            ConnectionClosedError: this inlet is closed, or the server was before that.
        """
        try:
            self._sender.wait(timeout)
        except SendTimeoutError:
            raise TimeoutError(
                f"not every sample was handed to the learner within {timeout:g} s"
            ) from None

    def close(self) -> None:
        """The producer has left in good order.

        Calls that other threads are in, waiting for room, end with ConnectionClosedError; a sample
        that is being copied is finished. The server counts the producer until the last has ended.
        """
        self._end(partial(self._producers.close, self._owner))

    def died(self, signal: int | None = None) -> None:
        """The producer has gone without a word. Otherwise as `close`.

        Args:
            signal: the signal that ended its process, where known.
        """
        self._end(partial(self._producers.died, self._owner, signal))

    def _end(self, on_idle: Callable[[], None]) -> None:
        was_open, self._open = self._open, False
        if was_open:
            self._sender.leave(on_idle)

    def __enter__(self) -> Inlet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _raise_for_result(result: int, sent: int, timeout: float | None) -> None:
    # Not a method, or the inlet and its sender would form a cycle that keeps the ring mapped.
    if result == Result.TIMEOUT:
        raise SendTimeoutError(timeout or 0.0, sent)
    if result == Result.CLOSED:
        raise ConnectionClosedError("the server has closed the ring", sent)
    raise ConnectionClosedError("this inlet is closed", sent)
