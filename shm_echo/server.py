"""The server: owns the ring and hands its batches to the learner.

`shm_echo.ring` implements the ring, a transport attaches producers. This module has the calls of a
learner; `shm_echo.consumer` waits for batches and raises the errors when none comes.
"""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.consumer import Sample
from shm_echo.copying import Uncopyable
from shm_echo.errors import ConnectionClosedError, ForkedHandleError
from shm_echo.metrics import ProducerInfo, ReaderInfo, SampleInfo
from shm_echo.server_options import OnProducerDeath, ServerOptions, transport_member
from shm_echo.server_parts import ServerParts
from shm_echo.transports.base import Transport
from shm_echo.validation import check_count, seconds

if TYPE_CHECKING:
    from shm_echo.transports.connector import Connector

__all__ = ["Server"]


class Server(Uncopyable):
    """Owns a ring of `num_buffers` batches and hands them out, oldest first, without copying.

    The arrays of a batch are views of the ring. They are valid until the next `sample()`, unless
    `lease=True`; after that they show other samples, but never crash, not even after `close()`.
    With SHM_ECHO_DEBUG=1 (or true, yes, on) in the environment when the server is made, a released
    batch is filled with 0xff bytes (NaN in floats), so that a stale read shows.

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
        transport: how producers reach this server, such as ShmTransport("name"); None for samples
            of this process only, through `submit`.
        num_buffers: batches in the ring, at least 2 (3 with `lease=True`).
        num_drainers: used by transports that have drainer threads; ShmTransport has none.
        producer_queue_size: likewise, for transports that have per-connection queues.
        detailed_metrics: also measure claims, copies and waiting times of samples.
        lease: reuse the memory of a batch only when nothing refers to it any more.
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
        transport: Transport | None = None,
        num_buffers: int = 3,
        num_drainers: int = 8,
        producer_queue_size: int = 8,
        *,
        detailed_metrics: bool = False,
        lease: bool = False,
        writable: bool = False,
        publishes: Any = None,
        on_producer_death: OnProducerDeath = "warn",
        lease_timeout: float | None = 5.0,
        pin_host_memory: bool = False,
    ) -> None:
        self._options = ServerOptions.check(
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
        config = self._options.config
        self.batch_size, self.num_buffers = config.batch_size, config.num_buffers
        self.num_drainers = self._options.num_drainers
        self.producer_queue_size = self._options.producer_queue_size
        self._transport = transport
        # Guards start() and close(). Re-entrant: a signal handler may close what it interrupts.
        self._lock = threading.RLock()
        self._state: Literal["new", "running", "closed", "inherited"] = "new"
        _servers.add(self)

    # ---------------------------------------------------------------- life

    def start(self) -> Server:
        """Allocate the whole ring and accept producers.

        Raises:
            ShmTooSmallError: the ring does not fit into the available memory.
            AddressInUseError: another live process serves at the transport's address.
            RuntimeError: the server was started before, or its memory could not be pinned.
        """
        with self._lock:
            if self._state != "new":
                raise RuntimeError(f"this server {_STATES[self._state]}: make a new one")
            self._start()
        return self

    def _start(self) -> None:
        parts = ServerParts(self._options)
        self._parts = parts
        self._consumer, self._producers = parts.consumer, parts.producers
        interrupted, self._state = self._state == "closed", "running"
        if interrupted:  # a signal handler has closed the server during the start
            self.close()

    def close(self) -> None:
        """End the stream: `sample()` returns None, producers get ConnectionClosedError.

        Arrays that were handed out stay readable. Any thread may call this, more than once.
        """
        with self._lock:
            if self._state != "running":
                if self._state == "new":
                    self._state = "closed"
                return
            self._state = "closed"
            self._parts.close()

    @property
    def address(self) -> str:
        """Return the address of this server, before `start` too.

        Raises:
            RuntimeError: the server has no transport, or one without an address.
        """
        return str(transport_member(self._transport, "address"))

    def connector(self) -> Connector:
        """Return the way to this server: a small value to send to other processes.

        Raises:
            RuntimeError: the server has no transport, or one without a connector.
        """
        connector: Connector = transport_member(self._transport, "connector")()
        return connector

    @property
    def closed(self) -> bool:
        """Return True if `close` was called."""
        return self._state == "closed"

    def __enter__(self) -> Server:
        if self._state != "running":
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_state", None) == "running":
            try:  # a server without a transport holds only memory: no warning
                if self._transport is not None:
                    warnings.warn(f"{self!r} was not closed", ResourceWarning, 2, source=self)
            finally:  # where warnings are errors, too
                self.close()

    def _ensure_running(self) -> bool:
        """Return True if the server runs, False if it was closed; start an in-process server.

        Raises:
            RuntimeError: a server with a transport was not started.
            ForkedHandleError: the server was inherited through a fork.
        """
        state = self._state
        if state == "running":
            return True
        if state == "inherited":
            raise ForkedHandleError(
                "this server belongs to the parent process: call its connector().connect() in the "
                "child instead"
            )
        if state == "new":
            if self._transport is not None:
                raise RuntimeError("call start() first, or use the server in a with statement")
            with self._lock:  # several threads may arrive at once; the first one starts it
                if self._state == "new":
                    self._start()
            return not self.closed
        return False

    # ---------------------------------------------------------------- taking batches

    def sample(self, timeout: float | None = None, *, partial: bool = False) -> Sample | None:
        """Wait for the next batch and return it; return None after `close()`.

        Releases the previous batch first (unless leased). One thread samples at a time; others
        wait for it.

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
        return self._take(timeout, partial=partial)

    def flush(self, timeout: float | None = None) -> Sample | None:
        """Return the samples that the ring holds now: `sample(timeout, partial=True)`."""
        return self.sample(timeout, partial=True)

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
            timeout: seconds to wait for each batch; None waits without limit. The iterator goes on
                after the TimeoutError.

        Raises:
            TimeoutError: no batch was complete in time; no sample was lost.
            ValueError: `until` is unknown.
            ProducerDiedError: see `on_producer_death`.
            BatchesHeldError: arrays of leased batches hold every batch buffer.
            RuntimeError: the server was not started.
        """
        if until not in (None, "producers_closed"):
            raise ValueError(f"until must be None or 'producers_closed', not {until!r}")
        min_producers = check_count("min_producers", min_producers, 1)
        timeout = seconds("timeout", timeout)
        ending = None if until is None else min_producers
        # Not a generator: its frame would hold a leased batch while the caller works.
        return iter(partial(self._take, timeout, until_closed_by=ending, copy=copy), None)

    def _take(self, timeout: float | None, **options: Any) -> Sample | None:
        if not self._ensure_running():
            return None
        taken = self._consumer.take(timeout, **options)
        return None if taken is None else Sample(self._options.spec.unflatten(taken[0]), taken[1])

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

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if self._state == "running":
            self._state = "inherited"


_STATES = {
    "running": "is running already",
    "closed": "was closed",
    "inherited": "belongs to the parent process",
}
_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for server in list(_servers):
        server._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
