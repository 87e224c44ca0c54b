"""The server: owns the ring and hands its batches to the learner.

`shm_echo.ring` implements the ring, a transport attaches producers. This module has the calls of a
learner; `shm_echo.consumer` waits for batches and raises the errors when none comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.async_sampling import AsyncSampling
from shm_echo.consumer import Sample
from shm_echo.errors import ConnectionClosedError
from shm_echo.metrics import HeldBatch, ProducerInfo, ReaderInfo, SampleInfo
from shm_echo.ring.ring import Lease
from shm_echo.server_options import (
    OnProducerDeath,
    ServerOptions,
    producers_that_end,
    transport_member,
)
from shm_echo.transports.base import Transport
from shm_echo.validation import seconds

if TYPE_CHECKING:
    from shm_echo.transports.connector import Connector

__all__ = ["Server"]


class Server(AsyncSampling):
    """Owns a ring of `num_buffers` batches and hands them out, oldest first.

    The arrays of a batch are views of the ring, and a batch that is still referred to is never
    overwritten: if its buffer is the last one that the producers have, it comes as a private copy.
    `lease` chooses otherwise. Arrays stay readable after `close()`. With SHM_ECHO_DEBUG=1 (or true,
    yes, on) in the environment when the server is made, a released batch is filled with 0xff bytes
    (NaN in floats), so that a stale read shows.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server
        >>> with Server({"x": np.zeros(2, np.float32)}, batch_size=2) as server:
        ...     for i in range(2):
        ...         server.submit({"x": np.full(2, i, np.float32)})
        ...     server.sample().batch["x"].tolist()
        [[0.0, 0.0], [1.0, 1.0]]

    Args:
        example: a sample: a pytree whose leaves are NumPy arrays or scalars, of any dtype without
            Python objects. It fixes structure, shapes and dtypes.
        batch_size: samples per batch.
        transport: how producers reach this server, such as ShmTransport("name") or
            TcpTransport(port=0); a list of several, which start and end together; None for samples
            of this process only, through `submit`.
        num_buffers: batches in the ring, at least 2 (3 with `lease=True`).
        num_drainers: threads that move queued samples into the ring, in a TcpTransport; an
            ShmTransport has none.
        producer_queue_size: samples that a TcpTransport queues for each connection while the ring
            is full.
        detailed_metrics: also measure claims, copies and waiting times of samples.
        lease: "copy" lends a batch until nothing refers to it any more, and copies it if no other
            buffer would stay with the producers. True never copies: `sample()` waits while every
            buffer is held. False reuses the memory of a batch at the next `sample()`.
        writable: hand out writable arrays; otherwise writing into them is an error.
        publishes: an example of the values that `publish` sends back to the producers.
        on_producer_death: the effect of a producer that dies without closing: "warn" logs it,
            "raise" makes the next `sample()` raise ProducerDiedError, "raise_if_last" does so when
            no other producer is attached and no complete batch is left.
        lease_timeout: seconds to wait for held batches before a BatchesHeldError; None waits
            without limit.
        pin_host_memory: page-lock the ring for copies to a GPU, through PyTorch or cuda-python.

    Raises:
        TypeError: an argument of the wrong type, or a leaf that holds Python objects.
        ValueError: an argument out of range, or an example above a limit.
        ValueError: SHM_ECHO_DEBUG or SHM_ECHO_SIGBUS is neither on nor off.
    """

    _copying_advice = (
        "it owns the memory of the ring; send server.connector() to the other process, and call "
        "its connect() there"
    )

    def __init__(
        self,
        example: Any,
        batch_size: int,
        transport: Transport | Sequence[Transport] | None = None,
        num_buffers: int = 3,
        num_drainers: int = 8,
        producer_queue_size: int = 8,
        *,
        detailed_metrics: bool = False,
        lease: Lease = "copy",
        writable: bool = False,
        publishes: Any = None,
        on_producer_death: OnProducerDeath = "warn",
        lease_timeout: float | None = 5.0,
        pin_host_memory: bool = False,
    ) -> None:
        options = ServerOptions.check(
            example,
            batch_size,
            transport,
            num_buffers,
            num_drainers,
            producer_queue_size,
            detailed_metrics=detailed_metrics,
            lease=lease,
            writable=writable,
            publishes=publishes,
            on_producer_death=on_producer_death,
            lease_timeout=lease_timeout,
            pin_host_memory=pin_host_memory,
        )
        self.batch_size = options.config.batch_size
        self.num_buffers = options.config.num_buffers
        self.num_drainers = options.ingress.num_drainers
        self.producer_queue_size = options.ingress.producer_queue_size
        super().__init__(options)

    # ---------------------------------------------------------------- the way in

    @property
    def address(self) -> str:
        """Return the address of this server, before `start` too.

        Raises:
            RuntimeError: the server has no transport, or one without an address.
        """
        return str(transport_member(self._transport, "address"))

    @property
    def port(self) -> int:
        """Return the TCP port of this server: of its first TcpTransport, if it has several.

        Raises:
            RuntimeError: the server has no TcpTransport, was not started, or is closed.
        """
        return int(transport_member(self._transport, "port"))

    @property
    def ports(self) -> list[int]:
        """Return the TCP ports of all transports, in their order.

        Raises:
            RuntimeError: the server has no TcpTransport, was not started, or is closed.
        """
        return list(transport_member(self._transport, "ports"))

    def connector(self) -> Connector:
        """Return the way to this server: a small value to send to other processes.

        Raises:
            RuntimeError: the server has no transport, or one without a connector.
        """
        connector: Connector = transport_member(self._transport, "connector")()
        return connector

    # ---------------------------------------------------------------- taking batches

    def sample(self, timeout: float | None = None, *, partial: bool = False) -> Sample | None:
        """Wait for the next batch and return it; return None after `close()`.

        One thread samples at a time; others wait for it. A call that an exception interrupts, of a
        signal handler for example, loses no batch: the next call returns it.

        Args:
            timeout: seconds to wait; None waits without limit, 0 does not wait.
            partial: end an incomplete batch here: the samples committed so far come with a short
                leading axis (0 without samples). Samples that are being written at that moment are
                waited for, within `timeout`.

        Raises:
            TimeoutError: no batch was complete in time; no sample was lost.
            ProducerDiedError: see `on_producer_death`.
            BatchesHeldError: arrays of leased batches hold every batch buffer.
            RuntimeError: the server was not started.
        """
        if not self._ensure_running():
            return None
        handover = self._consumer.handover()
        try:
            sample = self._consumer.take(handover, timeout, partial)
            handover.confirm()
            return sample
        except BaseException:
            handover.put_back()
            raise

    def flush(self, timeout: float | None = None) -> Sample | None:
        """Return the samples that the ring holds now: `sample(timeout, partial=True)`."""
        if not self._ensure_running():
            return None
        handover = self._consumer.handover()
        try:  # not through sample(): CPython 3.10 runs signal handlers after each call
            sample = self._consumer.take(handover, timeout, partial=True)
            handover.confirm()
            return sample
        except BaseException:
            handover.put_back()
            raise

    def dataset_iter(
        self,
        *,
        copy: bool = False,
        until: Literal["producers_closed"] | None = None,
        min_producers: int = 1,
        timeout: float | None = None,
    ) -> Iterator[Sample]:
        """Iterate over batches until the server is closed.

        Args:
            copy: yield private, writable copies, and free the ring's memory at once.
            until: "producers_closed" also ends after every producer has closed (or died), the last
                batch being partial if the samples do not fill it.
            min_producers: producers that must have come before `until` can end the stream. Set it
                to the number of workers, or a quick one may end it before the others attach. A
                process counts as often as it was attached at the same time, a `producer_id` once.
            timeout: seconds to wait for each batch; None waits without limit. The iterator
                continues after the TimeoutError.

        Raises:
            TimeoutError: no batch was complete in time; no sample was lost.
            ValueError: `until` is unknown.
            ProducerDiedError: see `on_producer_death`.
            BatchesHeldError: arrays of leased batches hold every batch buffer.
            RuntimeError: the server was not started.
        """
        ending = producers_that_end(until, min_producers)
        timeout = seconds("timeout", timeout)
        # Not a generator: its frame would hold a leased batch while the caller works.
        return iter(partial(self._next, timeout, ending, copy), None)

    def _next(self, timeout: float | None, ending: int | None, copy: bool) -> Sample | None:
        if not self._ensure_running():
            return None
        handover = self._consumer.handover()
        try:  # as in sample(), since each call in between is a place for an interrupt
            sample = self._consumer.take(handover, timeout, False, ending, copy)
            handover.confirm()
            return sample
        except BaseException:
            handover.put_back()
            raise

    def held(self) -> list[HeldBatch]:
        """List the batches whose memory in the ring is lent, oldest first.

        With SHM_ECHO_DEBUG on it also names the containers that hold their arrays and the stack of
        the `sample()` that took each; the search takes a while.
        """
        return self._consumer.held.list() if self._ensure_running() else []

    # ---------------------------------------------------------------- this process as a producer

    def submit(self, data: Any, timeout: float | None = None) -> None:
        """Copy one sample of this process into the ring, waiting for room.

        Any thread may submit. If the ring is full and no other thread will empty it, the call fails
        at once instead of waiting without end.

        Args:
            data: a tree like the example.
            timeout: seconds to wait for room; None waits as long as another thread samples.

        Raises:
            SpecMismatchError: the sample differs from the example; nothing was stored.
            RingFullError: the ring is full and no thread samples, or stayed full for `timeout`.
            ConnectionClosedError: the server is closed.
        """
        if not self._ensure_running():
            raise ConnectionClosedError("this server is closed")
        self._parts.local_producer.submit(data, timeout)

    # ---------------------------------------------------------------- broadcast and metrics

    def publish(self, value: Any) -> int:
        """Publish `value` for clients' `latest()`; return its version, counted from 1.

        Args:
            value: a tree like the `publishes` example.

        Raises:
            SpecMismatchError: `value` differs from that example; nothing was published.
            RuntimeError: the server was made without `publishes`, or was not started.
            ConnectionClosedError: the server is closed.
        """
        if not self._ensure_running():
            raise ConnectionClosedError("this server is closed")
        if self._parts.publisher is None:
            raise RuntimeError("give the Server publishes=example to publish")
        return self._parts.publisher.publish(value)

    @property
    def published_version(self) -> int:
        """Return the newest published version; 0 before the first."""
        if self._state != "running" or self._parts.publisher is None:
            return 0
        return self._parts.publisher.version

    def producers(self) -> list[ProducerInfo]:
        """List the producers that are attached now, in the order in which they attached."""
        return self._producers.snapshot() if self._ensure_running() else []

    def readers(self) -> list[ReaderInfo]:
        """List the readers that are attached now, in the order in which they attached.

        A reader is a client that only reads published values: `ShmClient(name, role="reader")`. It
        counts as no producer.
        """
        return self._parts.readers.snapshot() if self._ensure_running() else []

    def info(self) -> SampleInfo:
        """Return the metrics now, without taking a batch.

        Raises:
            RuntimeError: the server was not started.
            ConnectionClosedError: the server is closed.
        """
        if not self._ensure_running():
            raise ConnectionClosedError("this server is closed")
        return self._consumer.info()

    def reset_histograms(self) -> None:
        """Restart the histograms of later SampleInfos. Counters go on."""
        if self._ensure_running():
            self._consumer.reset_histograms()

    def __repr__(self) -> str:
        return f"<Server of {self._transport!r}, batch_size={self.batch_size}, {self._state}>"
