"""The parts of a server that runs: its ring, its consumer, its broadcast and its transport."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from shm_echo.consumer import Consumer
from shm_echo.local_producer import LocalProducer
from shm_echo.ring.broadcast import Publisher
from shm_echo.ring.host_pinning import find_cuda
from shm_echo.ring.readers import Readers
from shm_echo.ring.ring import Ring
from shm_echo.ring.segment import Backing, sweep
from shm_echo.server_options import ServerOptions
from shm_echo.transports.base import Ingress, Transport, transport_kind
from shm_echo.transports.own_servers import own_servers

if TYPE_CHECKING:
    from shm_echo.async_consumer import AsyncConsumer

__all__ = ["ServerParts"]


class ServerParts:
    """Starts and ends the parts of a server together.

    Args:
        options: the arguments of the server.

    Raises:
        ShmTooSmallError: the ring does not fit into the available memory.
        AddressInUseError: another live process serves at the transport's address.
        RuntimeError: the ring could not be page-locked.
    """

    def __init__(self, options: ServerOptions) -> None:
        sweep()
        cuda = find_cuda() if options.pin_host_memory else None
        self._lock = threading.RLock()  # guards the two below
        self._closed = False
        self._async_consumer: AsyncConsumer | None = None
        self.transport = options.transport
        backing: Backing = "private" if self.transport is None else self.transport.backing
        guarded = options.sigbus_guard
        self.ring = Ring.create(options.spec, options.config, backing, guarded=guarded)
        self.publisher: Publisher | None = None
        self.readers = Readers()
        try:
            if cuda is not None:
                self.ring.segment.pin(cuda)
            if options.publishes is not None:
                self.publisher = Publisher(options.publishes, backing, guarded=guarded)
            self.consumer = Consumer(self.ring, options)
            self.producers = self.consumer.producers
            self.local_producer = LocalProducer(self.ring, self.consumer)
            own_servers.add(options.ingress.instance_id, self.consumer)
            if self.transport is not None:
                self.transport.start(self._ingress(self.transport, options))
        except BaseException:
            if self.publisher is not None:
                self.publisher.close()
            self.ring.segment.close()
            raise

    def _ingress(self, transport: Transport, options: ServerOptions) -> Ingress:
        return Ingress(
            self.ring,
            self.producers,
            self.publisher,
            self.readers,
            options.ingress,
            meters=self.consumer.meters,
            transport=transport_kind(transport),
        )

    def async_consumer(self) -> AsyncConsumer:
        """Return the consumer for coroutines and event loops, made at first use."""
        from shm_echo.async_consumer import AsyncConsumer  # imports asyncio, which takes a while

        with self._lock:
            if self._async_consumer is None:
                self._async_consumer = AsyncConsumer(self.consumer)
                if self._closed:
                    self._async_consumer.close()
            return self._async_consumer

    def _close_async_consumer(self) -> None:
        with self._lock:
            self._closed = True
            if self._async_consumer is not None:
                self._async_consumer.close()

    def close(self) -> None:
        """End all parts, each even if the end of another is interrupted or fails."""
        with contextlib.ExitStack() as steps:
            steps.callback(self.ring.segment.close)
            if self.transport is not None:
                steps.callback(self.transport.close)
            if self.publisher is not None:
                steps.callback(self.publisher.close)
            steps.callback(self._close_async_consumer)
            steps.callback(self.ring.close)
            steps.callback(self.consumer.close)
