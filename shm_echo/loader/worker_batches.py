"""Batches that workers make: announces their rows, waits for them, and takes them in order.

The training loop calls from one thread at a time. A batch is announced as early as a buffer is free
for it: before the loop waits, and after it has taken one. Workers and the ring outlive a loop, and
the next epoch of an own sampler is announced behind the end of the present one.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from shm_echo.loader.batch_layout import Layouts
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.stats import LoaderStats, cpu_seconds
from shm_echo.loader.worker_pool import WorkerPool
from shm_echo.loader.worker_ring import WorkerRing
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import LoaderRing
from shm_echo.validation import environment_switch

__all__ = ["ClosedLoaderError", "WorkerBatches"]

# Seconds of one wait. A slice that took much longer was not a wait: the whole process stood still.
_SLICE = 0.1
_LONGEST_SLICE = 0.5


class _Announced(NamedTuple):
    order: EpochOrder
    first_row: int
    indices: np.ndarray[Any, Any]


class WorkerBatches:
    """A pool of workers, their ring, and the batches between them and the loop.

    Args:
        pool: the workers, not yet started.
        layouts: has the layout of batches, or makes it from the first item.
        prefetch: batches that are announced ahead of the loop.
        timeout: seconds to wait for a batch; None for no limit.
        restart: True to kill and replace a worker that hangs; False to raise.
        reuse: True for batches that are valid until the next one is taken only.
    """

    def __init__(
        self,
        pool: WorkerPool,
        layouts: Layouts,
        *,
        prefetch: int,
        timeout: float | None,
        restart: bool,
        reuse: bool,
    ) -> None:
        self.pool = pool
        self.ring: LoaderRing | None = None
        self._layouts = layouts
        self._prefetch = prefetch
        self._timeout = timeout
        self._restart = restart
        self._reuse = reuse
        self._announced: deque[_Announced] = deque()
        # The epochs that are drawn from: the present one, and those behind it.
        self._orders: deque[EpochOrder] = deque()
        self._loops = 0
        self._pid = os.getpid()
        self._closed = False

    def start(self) -> None:
        """Start the workers.

        Raises:
            WorkerStartError: they could not be started.
        """
        self.pool.start(self._wake)

    def _wake(self) -> None:
        ring = self.ring
        if ring is not None:
            ring.wake()

    @property
    def usable(self) -> bool:
        """Return True if loops can go on here: it works, and belongs to this process."""
        if self._closed or self._pid != os.getpid():
            return False
        try:
            self.pool.check()
        except Exception:
            return False
        return True

    # ---------------------------------------------------------------- loops

    def begin_loop(
        self, epoch: int, batches: Callable[[int], Iterator[IndexBatch]], own: bool
    ) -> EpochOrder:
        """Begin a loop over an epoch, and return its order; a loop before it is over.

        Args:
            epoch: epoch.
            batches: returns the batches of an epoch.
            own: True if the order of later epochs is known ahead.
        """
        self._batches_of = batches if own else None
        if self._orders and self._orders[0].epoch == epoch:
            return self._orders[0]  # announced ahead, at the end of the loop before
        self._cancel()
        order = self._new_order(epoch, batches(epoch))
        self._orders.append(order)
        return order

    def end_loop(self, order: EpochOrder) -> None:
        """End a loop whose batches are all taken; those of later epochs stay announced."""
        if self._orders and self._orders[0] is order:
            self._orders.popleft()

    def _new_order(self, epoch: int, batches: Iterator[IndexBatch]) -> EpochOrder:
        order = EpochOrder(self._loops, epoch, batches)
        self._loops += 1
        return order

    def _cancel(self) -> None:
        for order in self._orders:
            order.end()
        self._orders.clear()
        self._announced.clear()
        if self.ring is not None:
            self.ring.cancel()

    # ---------------------------------------------------------------- batches

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch of a loop and its number of items; None at the end.

        Raises:
            Exception: an item of this batch raised it, or the sampler; the next call goes on.
            WorkerDiedError: workers died again and again.
            LoaderTimeoutError: the batch was not ready in time.
        """
        self._require_current(order)
        ring = self.ring
        if ring is None:
            batch = order.peek()
            if batch is None:
                return self._end(order)
            ring = self._open_ring(order, batch)
        self._announce(ring)
        if not self._is_due(order):
            if order.peek() is None:
                return self._end(order)
            # Every buffer is in use by claims of cancelled batches: wait until one is free.
        waited = 0.0
        while True:
            if self._is_due(order):
                taken = self._take(ring)
                if taken is not None:
                    self._announce(ring)
                    return taken
            waited += self._wait(ring)
            self._require_current(order)
            self.pool.check()
            self._announce(ring)
            if self._timeout is not None and waited >= self._timeout:
                self._handle_late_batch(ring, waited)
                waited = 0.0

    def _require_current(self, order: EpochOrder) -> None:
        if self._closed:
            raise ClosedLoaderError("the DataLoader was closed while this loop ran")
        if not self._orders or self._orders[0] is not order:
            raise ClosedLoaderError("another loop over this DataLoader has ended this one")

    def _is_due(self, order: EpochOrder) -> bool:
        return bool(self._announced) and self._announced[0].order is order

    def _end(self, order: EpochOrder) -> None:
        order.raise_error()
        self.end_loop(order)

    def _open_ring(self, order: EpochOrder, batch: IndexBatch) -> LoaderRing:
        layout = self._layouts.get()
        if layout is None:
            row, index = order.row_number(batch), int(batch.indices[0])
            first = self.pool.first_item(row, batch.epoch, index, self._timeout)
            if isinstance(first, ItemFailure):
                order.advance()  # its batch is dropped
                raise first.exception()
            layout = self._layouts.set(first)
        ring = LoaderRing.create(
            layout.spec.tree,
            layout.sizes,
            reuse=self._reuse,
            poisoned=environment_switch("SHM_ECHO_DEBUG"),
        )
        self.ring, self._unflatten = ring, layout.spec.tree.unflatten
        self._workers = WorkerRing(ring, layout.spec, self._index_of)
        self.pool.attach(self._workers)
        return ring

    def _announce(self, ring: LoaderRing) -> None:
        """Announce batches until enough are ahead of the loop, or no buffer is free."""
        while len(self._announced) < self._prefetch:
            order = self._orders[-1]
            batch = order.peek()
            if batch is None:
                if not self._draw_next_epoch(order):
                    return
                continue
            row = order.row_number(batch)
            indices = np.ascontiguousarray(batch.indices, np.int64)
            if not ring.announce(row, batch.epoch, indices):
                return
            order.advance()
            self._announced.append(_Announced(order, row, indices))

    def _index_of(self, row: int) -> int | None:
        """Return the item of a row that is announced and not taken. Thread-safe."""
        for announced in tuple(self._announced):
            place = row - announced.first_row
            if 0 <= place < len(announced.indices):
                return int(announced.indices[place])
        return None

    def _draw_next_epoch(self, order: EpochOrder) -> bool:
        """Begin the epoch behind the last one; return False if its order is not known yet."""
        if self._batches_of is None or order.error is not None or order.drawn == 0:
            return False
        try:
            batches = self._batches_of(order.epoch + 1)
        except Exception:  # the dataset has changed: iter() will raise it
            return False
        self._orders.append(self._new_order(order.epoch + 1, batches))
        return True

    def _take(self, ring: LoaderRing) -> tuple[Any, int] | None:
        """Take the batch that is due, or return None if it is not complete.

        Raises:
            Exception: an item of it raised it.
        """
        handover = ring.handover()
        announced = None
        try:
            handover.begin(-1.0)
            batch = ring.take(handover)
            if batch is None:
                handover.confirm()
                return None
            announced = self._announced.popleft()
            if not batch.failed:
                tree = self._unflatten(batch.arrays)
                handover.confirm()
                return tree, len(announced.indices)
            failed = [run.first_row for run in batch.failed]
            del batch
            handover.drop()
        except BaseException:
            # The batch is the next one again.
            if announced is not None:
                self._announced.appendleft(announced)
            handover.put_back()
            raise
        failures = [self.pool.failure(row) for row in failed]  # all: each is kept until asked for
        for failure in failures:
            if failure is not None:
                raise failure.exception()
        self.pool.check()
        raise ClosedLoaderError("the DataLoader was closed while this loop ran")

    def _wait(self, ring: LoaderRing) -> float:
        """Sleep until something happens, and return the seconds that count as waiting."""
        handover = ring.handover()
        handover.begin(-1.0)
        began = time.monotonic()
        try:
            result = ring.ready_wait(_SLICE)
        finally:
            handover.confirm()
        if result == Result.CLOSED:
            self._closed = True
        # Not the time in which the whole job was stopped (Ctrl-Z): the workers stood still, too.
        return min(time.monotonic() - began, _LONGEST_SLICE)

    def _handle_late_batch(self, ring: LoaderRing, waited: float) -> None:
        """Restart the worker that holds up the batch, or raise.

        Raises:
            LoaderTimeoutError: always, unless a worker was restarted.
        """
        late = ring.straggler()
        worker = None if late is None or late.owner is None else late.owner - 1
        if self._restart and worker is not None and self.pool.restart(worker):
            return
        index = None if late is None else late.index
        raise self.pool.timeout_error(self._timeout or waited, worker, index)

    def add_stats(self, stats: LoaderStats) -> LoaderStats:
        """Return the figures of a loader, with those of workers and ring."""
        shares = tuple(used / age for used, age in cpu_seconds(self.pool.pids()))
        stats = replace(stats, worker_cpu_shares=shares, worker_deaths=self.pool.deaths)
        ring, layout = self.ring, self._layouts.known
        if ring is None or layout is None:
            return stats
        now = ring.stats()
        return replace(
            stats,
            runs_redone=self._workers.redone,
            copied_batches=now.copied,
            held_batches=now.held,
            ready_batches=now.ready,
            nbytes=layout.nbytes,
        )

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """End the workers, and free the ring once no batch refers to it. Thread-safe."""
        self._closed = True
        if self._pid != os.getpid():
            return
        if self.ring is not None:
            self.ring.close()
        self.pool.close()


class ClosedLoaderError(RuntimeError):
    """A loop asks for a batch of a loader that was closed, or that another loop took over."""
