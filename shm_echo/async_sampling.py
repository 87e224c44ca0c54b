"""The calls of a `Server` for coroutines and event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from shm_echo.consumer import Sample
from shm_echo.errors import ConnectionClosedError
from shm_echo.server_life import ServerLife
from shm_echo.server_options import producers_that_end
from shm_echo.validation import seconds

__all__ = ["AsyncSampling"]


class AsyncSampling(ServerLife):
    """The calls of a [Server][shm_echo.Server] for coroutines; it derives from this class."""

    async def sample_async(
        self, timeout: float | None = None, *, partial: bool = False
    ) -> Sample | None:
        """Await the next batch and return it; return None after `close()`.

        As `sample()`, for asyncio. A task that is cancelled has taken no batch. Several tasks may
        wait, in one event loop or in several: each batch goes to one of them.

        Args:
            timeout: seconds to wait; None waits without limit.
            partial: end an incomplete batch here, as in `sample()`.

        Raises:
            TimeoutError: no batch was complete in time; no sample was lost.
            ProducerDiedError: see `on_producer_death`.
            BatchesHeldError: arrays of leased batches hold every batch buffer.
            RuntimeError: the server was not started.
        """
        if not self._ensure_running():
            return None
        return await self._parts.async_consumer().take(timeout, partial)

    def dataset_iter_async(
        self,
        *,
        copy: bool = False,
        until: Literal["producers_closed"] | None = None,
        min_producers: int = 1,
        timeout: float | None = None,
    ) -> AsyncIterator[Sample]:
        """Iterate over batches with `async for` until the server is closed.

        Args:
            copy: yield private, writable copies, and free the ring's memory at once.
            until: "producers_closed" also ends after every producer has closed (or died), as in
                `dataset_iter()`.
            min_producers: producers that must have come before `until` can end the stream.
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
        return _Batches(self, seconds("timeout", timeout), ending, copy)

    def fileno(self) -> int:
        """Return a descriptor that is readable when `sample(timeout=0)` may have a batch.

        For `select`, `loop.add_reader` and event loops other than asyncio's. The next `sample()`
        makes it unreadable again. It is readable, too, when a producer has left or died, when
        another thread has taken the batch, and for good after `close()`: expect TimeoutError and
        None. It stays open until the server is collected.

        Raises:
            RuntimeError: the server was not started.
            ConnectionClosedError: the server is closed.
        """
        if not self._ensure_running():
            raise ConnectionClosedError("this server is closed")
        return self._parts.async_consumer().fileno()


class _Batches(AsyncIterator[Sample]):
    """The iterator over batches. Not a generator: its frame would hold a leased batch."""

    def __init__(
        self, server: AsyncSampling, timeout: float | None, ending: int | None, copy: bool
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._ending = ending
        self._copy = copy

    async def __anext__(self) -> Sample:
        server = self._server
        if server._ensure_running():
            consumer = server._parts.async_consumer()
            sample = await consumer.take(self._timeout, False, self._ending, self._copy)
            if sample is not None:
                return sample
        raise StopAsyncIteration
