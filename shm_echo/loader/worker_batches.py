"""Batches that workers make: announces their rows, waits for them, and takes them in order.

The training loop calls from one thread at a time. A batch is announced as early as a buffer is free
for it: before the loop waits, and after it has taken one. Workers and the ring outlive a loop, and
the next epoch of an own sampler is announced behind the end of the present one.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from shm_echo.errors import LoaderTimeoutError
from shm_echo.loader.batch_layout import BatchLayout, Layouts
from shm_echo.loader.epoch_order import AnnouncedBatch, EpochOrder
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.items import ItemSpec
from shm_echo.loader.loop_errors import ClosedLoaderError, closed_while_running
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.stats import LoaderStats
from shm_echo.loader.worker_pool import WorkerPool
from shm_echo.loader.worker_ring import WorkerRing, create_ring
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import LoaderRing
from shm_echo.uninterrupted import run_uninterrupted

__all__ = ["WorkerBatches"]

# Seconds of one wait. A slice that took much longer was not a wait: the whole process stood still.
_SLICE = 0.1
_LONGEST_SLICE = 0.5


class WorkerBatches:
    """A pool of workers, their ring, and the batches between them and the loop.

    Args:
        pool: the workers, not started yet.
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
        self.ring: LoaderRing | None = None
        self._layouts = layouts
        self._prefetch = prefetch
        self._timeout = timeout
        self._restart = restart
        self._reuse = reuse
        self._announced: deque[AnnouncedBatch] = deque()
        # The batch that is being announced, and the number of those that the ring has got: an
        # interrupt may come between any two steps, and `_settle` finds out after which one.
        self._announcing: AnnouncedBatch | None = None
        self._count = 0
        # A batch on its way to the loop, for the case that an interrupt stops it there.
        self._taken: tuple[Any, int] | None = None
        self._attached = False
        # The epochs that are drawn from: the present one, and those behind it.
        self._orders: deque[EpochOrder] = deque()
        self._loops = 0
        self._pid = os.getpid()
        self._started = self._closed = False
        self._opening = threading.RLock()  # held while the ring is made
        self.pool = pool

    def start(self) -> None:
        """Start the workers. Call it when something that `close`s this object refers to it.

        Raises:
            WorkerStartError: the workers could not be started.
        """
        self.pool.start(self._wake)
        self._started = True

    def _wake(self) -> None:
        ring = self.ring
        if ring is not None:
            ring.wake()

    @property
    def usable(self) -> bool:
        """Return True if loops can go on here: it works, and belongs to this process."""
        if not self._started or self._closed or self._pid != os.getpid():
            return False
        return not self.pool.failed

    # ---------------------------------------------------------------- loops

    def begin_loop(
        self, epoch: int, batches: Callable[..., Iterator[IndexBatch]], own: bool, start: int = 0
    ) -> EpochOrder:
        """Begin a loop over an epoch, and return its order; a loop before it is over.

        Args:
            epoch: epoch.
            batches: returns the batches of an epoch, from a number of batches on.
            own: True if the order of later epochs is known ahead.
            start: the first batch.
        """
        self._batches_of = batches if own else None
        ahead = self._orders[0] if self._orders else None
        if ahead is not None and not ahead.begun and ahead.epoch == epoch and not start:
            return ahead  # announced at the end of the loop before
        self._cancel()
        order = self._new_order(epoch, batches(epoch, start))
        self._orders.append(order)
        return order

    def _new_order(self, epoch: int, batches: Iterator[IndexBatch]) -> EpochOrder:
        order = EpochOrder(self._loops, epoch, batches)
        self._loops += 1
        return order

    def _cancel(self) -> None:
        for order in self._orders:
            order.end()
        self._orders.clear()
        self._announced.clear()
        self._announcing = self._taken = None
        if self.ring is not None:
            self.ring.cancel()
            self._count = self.ring.stats().announced
        self.pool.forget_failures()

    # ---------------------------------------------------------------- batches

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch of a loop and its number of items; None at the end.

        Raises:
            Exception: an item of this batch raised it, or the sampler; the next call goes on.
            WorkerDiedError: workers died again and again.
            LoaderTimeoutError: the batch was not ready in time.
        """
        self._require_current(order)
        if self._taken is None:
            if self._is_at_end(order):
                order.raise_error()
                self._end_loop(order)
                return None
            self._taken = self._wait_and_take(order)
        if self.ring is not None:
            self._announce(self.ring)
        taken, self._taken = self._taken, None
        return taken

    def _require_current(self, order: EpochOrder) -> None:
        if self._pid != os.getpid():
            raise ClosedLoaderError("this loop over a DataLoader was begun before the fork")
        if self._closed:
            raise closed_while_running()
        if not self._orders or self._orders[0] is not order:
            raise ClosedLoaderError("a later loop over this DataLoader has ended this one")

    def _is_at_end(self, order: EpochOrder) -> bool:
        if self.ring is not None:
            self._settle(self.ring)
        return not self._is_due(order) and order.peek() is None

    def _wait_and_take(self, order: EpochOrder) -> tuple[Any, int] | None:
        ring = self.ring
        if ring is None:
            ring = self._open_ring(order)
        if not self._attached:
            self.pool.attach(self._workers)
            self._attached = True
        waited = 0.0
        while True:
            self._announce(ring)
            if self._is_due(order):
                taken = self._take(ring)
                if taken is not None:
                    return taken
            # Otherwise claims of cancelled batches use every buffer: wait until one is free.
            waited += self._wait(ring)
            self._require_current(order)
            self.pool.check()
            if self._timeout is not None and waited >= self._timeout:
                self._handle_late_batch(self._timeout)
                waited = 0.0

    def _is_due(self, order: EpochOrder) -> bool:
        return bool(self._announced) and self._announced[0].order is order

    def _end_loop(self, order: EpochOrder) -> None:
        """End a loop whose batches are all taken; those of later epochs stay announced."""
        if self._orders[0] is order:
            self._orders.popleft()

    def _open_ring(self, order: EpochOrder) -> LoaderRing:
        layout = self._layouts.get()
        if layout is None:
            layout = self._layouts.set(self._spec_of_first_item(order))
        run_uninterrupted(partial(self._make_ring, layout))
        if self.ring is None:
            raise closed_while_running()
        return self.ring

    def _make_ring(self, layout: BatchLayout) -> None:
        with self._opening:
            if self.ring is not None or self._closed:
                return
            ring = create_ring(layout, reuse=self._reuse)
            self._unflatten = layout.spec.tree.unflatten
            self._workers = WorkerRing(ring, layout.spec, self._index_of)
            self.ring = ring

    def _spec_of_first_item(self, order: EpochOrder) -> ItemSpec:
        """Have a worker make the first item of the next batch.

        Raises:
            Exception: the item raised it; its batch is dropped.
        """
        batch = order.peek()
        assert batch is not None
        row, index = order.row_number(batch), int(batch.indices[0])
        while True:
            try:
                first = self.pool.first_item(row, batch.epoch, index, self._timeout)
            except LoaderTimeoutError:
                if self._restart and self.pool.restart(0):
                    continue
                raise
            if isinstance(first, ItemFailure):
                order.advance()
                order.deliver()
                raise first.exception()
            spec: ItemSpec = first
            return spec

    def _announce(self, ring: LoaderRing) -> None:
        """Announce batches until enough are ahead of the loop, or no buffer is free."""
        self._settle(ring)
        while len(self._announced) < self._prefetch:
            order = self._orders[-1]
            batch = order.peek()
            if batch is None:
                if not self._draw_next_epoch(order):
                    return
                continue
            row = order.row_number(batch)
            self._announcing = AnnouncedBatch(order, batch, row)
            is_announced = ring.announce(row, batch.epoch, batch.indices)
            self._settle(ring)
            if not is_announced:
                return

    def _settle(self, ring: LoaderRing) -> None:
        """Take note of the batch that is being announced, if the ring has got it.

        An interrupt may end this method anywhere: the next call goes on.
        """
        announcing = self._announcing
        if announcing is None:
            return
        count = ring.stats().announced
        if count > self._count:
            if not self._announced or self._announced[-1] is not announcing:
                self._announced.append(announcing)
            if announcing.order.peek() is announcing.batch:
                announcing.order.advance()
            self._count = count
        self._announcing = None

    def _index_of(self, row: int) -> int | None:
        """Return the item of a row that is announced and not taken. Thread-safe."""
        announcing = self._announcing
        for announced in (*self._announced, *((announcing,) if announcing else ())):
            place = row - announced.first_row
            if 0 <= place < len(announced.batch.indices):
                return int(announced.batch.indices[place])
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
        try:
            handover.begin(-1.0)
            batch = ring.take(handover)
            if batch is None:
                handover.confirm()
                return None
            # An interrupt may have come between the two steps of an earlier call.
            while self._announced and self._announced[0].first_row != batch.first_row:
                self._announced.popleft()
            if not batch.failed:
                tree = self._unflatten(batch.arrays)
                handover.confirm()
                self._announced.popleft()
                return tree, batch.rows
            failed = [run.first_row for run in batch.failed]
            del batch
            handover.drop()
            self._announced.popleft().order.deliver()
        except BaseException:
            handover.put_back()
            raise
        failures = [self.pool.failure(row) for row in failed]  # all: each is kept until asked for
        for failure in failures:
            if failure is not None:
                raise failure.exception()
        self.pool.check()
        raise closed_while_running()

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
        if result == Result.TIMEOUT:
            now = ring.stats()
            if now.announced == now.taken:  # as after an interrupt at the end of `_take`
                self._announced.clear()
        # Not the time in which the whole job was stopped (Ctrl-Z): the workers stood still, too.
        return min(time.monotonic() - began, _LONGEST_SLICE)

    def _handle_late_batch(self, waited: float) -> None:
        """Restart the worker that holds up the batch, or raise.

        Raises:
            LoaderTimeoutError: always, unless a worker was restarted.
        """
        late = self._workers.late_workers(self.pool.pid_of)
        if self._restart and late:
            restarted = [self.pool.restart(worker) for worker, _ in late]
            if all(restarted):
                return
        raise self.pool.timeout_error(waited, *(late[0] if late else (None, None)))

    def add_stats(self, stats: LoaderStats) -> LoaderStats:
        """Return the figures of a loader, with those of workers and ring."""
        pool, ring = self.pool, self.ring
        stats = replace(stats, worker_cpu_shares=pool.cpu_shares(), worker_deaths=pool.deaths)
        if ring is None:
            return stats
        now = ring.stats()
        return replace(
            stats,
            worker_busy_shares=self._workers.busy_shares(),
            runs_redone=self._workers.redone,
            copied_batches=now.copied,
            held_batches=now.held,
            ready_batches=now.ready,
        )

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """End the workers, and free the ring once no batch refers to it. Thread-safe.

        An exception of a signal handler may end this call anywhere: the next one goes on.
        """
        self._closed = True
        if self._pid != os.getpid():
            return
        with self._opening:  # from now on no ring is made
            ring = self.ring
        if ring is not None:
            ring.close()
        self.pool.close()
