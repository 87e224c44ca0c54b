"""The interface of a transport, which brings samples of other processes or machines into the ring.

A transport is any object with the three members of `Transport`. The server gives it an `Ingress`
when it starts. For each producer that connects, the transport opens an `Inlet` and sends the
arriving samples into it. The inlet does the rest (checks, waiting for room, metrics, recovery after
deaths), in the same way for all transports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from shm_echo.copying import Uncopyable
from shm_echo.errors import ConnectionClosedError, RingCorruptedError, SendTimeoutError
from shm_echo.ring.core import Result
from shm_echo.ring.segment import Backing
from shm_echo.transports.wait_until import WaitUntil, check_wait_until, wait_until_taken
from shm_echo.validation import seconds

if TYPE_CHECKING:
    from shm_echo.ring.broadcast import Publisher
    from shm_echo.ring.ingress_meter import IngressMeter
    from shm_echo.ring.producers import Producers
    from shm_echo.ring.readers import Readers
    from shm_echo.ring.ring import Ring
    from shm_echo.spec import TreeSpec

__all__ = ["Ingress", "IngressOptions", "Inlet", "Transport", "transport_kind"]


@runtime_checkable
class Transport(Protocol):
    """Connects producers to a server. Any object with these three members is a transport."""

    @property
    def backing(self) -> Backing:
        """Return the kind of memory of the ring: "private" unless other processes map it."""

    def start(self, ingress: Ingress) -> None:
        """Begin to accept producers. Called once; an exception makes `Server.start` fail."""

    def close(self) -> None:
        """Detach all producers and free all resources.

        The ring is closed already: blocked sends have raised ConnectionClosedError.
        """


@dataclass(frozen=True)
class IngressOptions:
    """The arguments of a server that concern its transports.

    Attributes:
        num_drainers: threads that empty queues into the ring, for transports that have them.
        producer_queue_size: samples in the queue of one connection, likewise.
        instance_id: 16 random bytes, by which a client knows that it reached this server.
    """

    num_drainers: int
    producer_queue_size: int
    instance_id: bytes


class Ingress(Uncopyable):
    """The part of a server that its transport sees.

    Attributes:
        spec: the structure, shapes and dtypes of a sample.
        options: the arguments of the server that concern its transports.
        transport: the kind of the transport, as `producers()` shows it.
    """

    _copying_advice = "it is a part of a server in this process"

    def __init__(
        self,
        ring: Ring,
        producers: Producers,
        publisher: Publisher | None,
        readers: Readers,
        options: IngressOptions,
        *,
        meters: list[IngressMeter],
        transport: str,
    ) -> None:
        self.spec: TreeSpec = ring.spec
        self.ring = ring
        self.producers = producers
        self.publisher = publisher
        self.readers = readers
        self.options = options
        self.transport = transport
        self._meters = meters

    def for_transport(self, transport: Transport) -> Ingress:
        """Return the ingress of one of several transports of this server."""
        return Ingress(
            self.ring,
            self.producers,
            self.publisher,
            self.readers,
            self.options,
            meters=self._meters,
            transport=transport_kind(transport),
        )

    @property
    def instance_id(self) -> bytes:
        """The 16 random bytes by which a client knows that it reached this server."""
        return self.options.instance_id

    def add_meter(self, meter: IngressMeter) -> None:
        """Include the figures of a transport's own threads in the server's metrics."""
        self._meters.append(meter)

    def open(self, pid: int | None = None, *, producer_id: str | None = None) -> Inlet:
        """Attach a producer.

        Args:
            pid: the producer's process, if it has one of its own; for messages and `producers()`.
                A process counts for `min_producers` as often as it was attached at the same time.
            producer_id: the name of a producer that may come again as another process; each name
                counts once.

        Raises:
            RuntimeError: `max_producers` producers are attached.
            ConnectionClosedError: the server is closed.
        """
        if self.ring.closed:
            raise ConnectionClosedError("the server has closed the ring")
        owner = self.producers.attach(pid, producer_id, transport=self.transport)
        return Inlet(self, owner, pid)


def transport_kind(transport: Transport) -> str:
    """Return the word by which `producers()` shows a transport: its `kind`, or its class."""
    return str(getattr(transport, "kind", type(transport).__name__))


class Inlet(Uncopyable):
    """The entry of one producer into the ring. Threads may share it.

    Call `close` or `died` at its end. Later calls of either do nothing.
    """

    _copying_advice = "it is one producer of a server in this process; open another one"

    def __init__(self, ingress: Ingress, owner: int, pid: int | None) -> None:
        self._producers = ingress.producers
        self._owner = owner
        self._pid = pid
        self._ring = ingress.ring
        self._sender = ingress.ring.sender(owner, partial(_raise_for_result, ingress.ring))
        self._open = True

    def send(self, data: Any, timeout: float | None = None) -> None:
        """Copy one sample into the ring, waiting for room.

        Raises:
            SpecMismatchError: the sample differs from the example; nothing was sent.
            SendTimeoutError: the ring stayed full.
            ConnectionClosedError: the server or this inlet was closed.
        """
        self._sender.send(data, timeout)

    def send_batch(self, data: Any, timeout: float | None = None) -> int:
        """Copy N samples, stacked along a leading axis of every leaf, and return N.

        Raises the errors of `send`, whose attribute `sent` is the number of samples sent before.
        """
        return self._sender.send_batch(data, timeout)

    def wait(self, timeout: float | None = None, *, until: WaitUntil = "taken") -> None:
        """Wait until every sample that was sent has arrived.

        Args:
            timeout: seconds to wait; None waits as long as the server lives.
            until: "taken" waits until the learner has taken the batches of all samples, "stored"
                until the ring has the samples, as it has when a send returns.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this inlet or the server was closed before.
            ValueError: `until` is unknown.
        """
        seconds("timeout", timeout)
        if check_wait_until("until", until) == "taken":
            wait_until_taken(self._sender, self._ring, timeout)
        elif self._ring.closed:
            _raise_for_result(self._ring, Result.CLOSED, 0, timeout)
        elif not self._open:
            _raise_for_result(self._ring, Result.STOPPED, 0, timeout)
        else:
            self._ring.segment.check_intact()

    def close(self) -> None:
        """Detach the producer, which left in good order.

        Calls of other threads that wait for room raise ConnectionClosedError; a sample that is
        being copied is finished. The server counts the producer until the last call has ended.
        """
        self._end(partial(self._producers.close, self._owner))

    def died(self, signal: int | None = None) -> None:
        """Detach the producer, which ended without closing; see `close` and `on_producer_death`.

        Args:
            signal: the signal that ended its process, if known.
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


def _raise_for_result(ring: Ring, result: int, sent: int, timeout: float | None) -> None:
    # Not a method, or the inlet and its sender would form a cycle that keeps the ring mapped.
    if result == Result.TIMEOUT:
        raise SendTimeoutError(timeout or 0.0, sent, ring.lent, ring.config.num_buffers)
    if result == Result.CORRUPTED:
        raise RingCorruptedError(
            "a slot was overwritten by another program, and the sample in it was not sent",
            sent=sent,
        )
    if result == Result.CLOSED:
        raise ConnectionClosedError("the server has closed the ring", sent)
    raise ConnectionClosedError("this inlet is closed", sent)
