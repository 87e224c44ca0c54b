"""Loops over batches that workers make: waiting, taking, errors and figures."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from shm_echo.errors import LoaderTimeoutError
from shm_echo.loader.batch_layout import BatchLayout, Layouts
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.lane import FailedBatchError, Lane
from shm_echo.loader.loop_errors import ClosedLoaderError, closed_while_running
from shm_echo.loader.messages import FirstItem
from shm_echo.loader.options import LoaderOptions
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.stats import LoaderStats
from shm_echo.loader.worker_main import STATUS_ENDED
from shm_echo.loader.worker_pool import WorkerPool
from shm_echo.uninterrupted import run_uninterrupted

__all__ = ["LoopBatches", "grown_layout"]


class LoopBatches(ABC):
    """A pool of workers, and loops over the batches that they make.

    The training loop calls from one thread at a time. A batch is announced as early as a buffer is
    free for it: before the loop waits, and after it has taken one. Workers and rings outlive a
    loop.

    Args:
        pool: the workers, not started yet.
        layouts: has the layout of batches, or makes it from the first item.
        options: of the loader.
        finish: makes a batch of a tree of arrays; None for the tree itself.
    """

    def __init__(
        self,
        pool: WorkerPool,
        layouts: Layouts,
        options: LoaderOptions,
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        self._layouts = layouts
        self._timeout = options.timeout
        self._restart = options.on_hang == "restart"
        self._reuse = options.reuse
        self._finish = finish
        # A batch on its way to the loop, for the case that an interrupt stops it there.
        self._taken: tuple[Any, int] | None = None
        # The epochs that are drawn from: the present one, and those behind it.
        self._orders: deque[EpochOrder] = deque()
        self._loops = 0
        self._pid = os.getpid()
        self._closed = self._started = False
        self._opening = threading.Lock()  # held while a ring is made
        self.pool = pool

    def start(self) -> None:
        """Start the workers.

        Raises:
            WorkerStartError: they could not be started.
        """
        self.pool.start(self._wake)
        self._started = True

    @property
    @abstractmethod
    def lanes(self) -> Sequence[Lane]:
        """The lanes that are open."""

    def _wake(self) -> None:
        for lane in self.lanes:
            lane.ring.wake()

    @property
    def usable(self) -> bool:
        """Return True if loops can go on here: it works, and belongs to this process."""
        if not self._started or self._closed or self._pid != os.getpid():
            return False
        return not self.pool.failed

    def _new_order(self, epoch: int, batches: Iterator[IndexBatch]) -> EpochOrder:
        order = EpochOrder(self._loops, epoch, batches)
        self._loops += 1
        return order

    def _cancel(self) -> None:
        for order in self._orders:
            order.end()
        self._orders.clear()
        self._taken = None
        for lane in self.lanes:
            lane.cancel()
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
            self._taken = self._wait_and_take(order)
            if self._taken is None:
                order.raise_error()
                self._end_loop(order)
                return None
        self._announce_ahead()
        taken, self._taken = self._taken, None
        return taken

    def _require_current(self, order: EpochOrder) -> None:
        if self._pid != os.getpid():
            raise ClosedLoaderError("this loop over a DataLoader was begun before the fork")
        if self._closed:
            raise closed_while_running()
        if not self._orders or self._orders[0] is not order:
            raise ClosedLoaderError("a later loop over this DataLoader has ended this one")

    def _wait_and_take(self, order: EpochOrder) -> tuple[Any, int] | None:
        waited = 0.0
        while not self._is_at_end(order):
            lane = self._due_lane(order)
            if lane.is_due(order):
                taken = self._take(lane)
                if taken is not None:
                    return taken
                if self._is_at_end(order) or lane is not self._due_lane(order):
                    continue
            # Otherwise claims of cancelled batches use every buffer: wait until one is free.
            seconds, is_open = lane.wait()
            waited += seconds
            self._closed |= not is_open
            self._require_current(order)
            self.pool.check()
            if self._timeout is not None and waited >= self._timeout:
                self._handle_late_batch(lane, self._timeout)
                waited = 0.0
        return None

    @abstractmethod
    def _is_at_end(self, order: EpochOrder) -> bool:
        """Return True if the loop has got all batches of its epoch."""

    @abstractmethod
    def _due_lane(self, order: EpochOrder) -> Lane:
        """Return the lane from which the next batch comes, after announcing what can be."""

    @abstractmethod
    def _announce_ahead(self) -> None:
        """Announce what can be."""

    def _end_loop(self, order: EpochOrder) -> None:
        """End a loop whose batches are all taken; those of later epochs stay announced."""
        if self._orders[0] is order:
            self._orders.popleft()

    def _take(self, lane: Lane) -> tuple[Any, int] | None:
        """Take the batch that is due, or return None if it is not complete.

        Raises:
            Exception: an item of it raised it.
        """
        try:
            return lane.take()
        except FailedBatchError as error:
            failed = error.failed
        if failed[0].status == STATUS_ENDED:
            self._on_shard_end(lane)
            return None
        # All of them: each report is kept until it is asked for.
        failures = [self.pool.failure(run.first_row) for run in failed]
        for failure in failures:
            if failure is not None:
                raise failure.exception()
        self.pool.check()
        raise closed_while_running()

    def _on_shard_end(self, lane: Lane) -> None:  # noqa: B027 - only streams have shards
        """Note that the shard of a lane has no further batch."""

    def _open_lane(
        self, layout: BatchLayout, keep: Callable[[Lane], None], before: Lane | None = None
    ) -> None:
        """Make a lane.

        Args:
            layout: of its ring.
            keep: called with the lane. No interrupt comes between.
            before: the lane that it replaces.
        """
        run_uninterrupted(partial(self._open, layout, keep, before))
        if self._closed:
            raise closed_while_running()

    def _open(self, layout: BatchLayout, keep: Callable[[Lane], None], before: Lane | None) -> None:
        with self._opening:
            if self._closed:
                return
            lane = Lane(
                layout,
                reuse=self._reuse,
                finish=self._finish,
                remakes=layout.spec is not None and self._layouts.may_change,
                parcels=self.pool,
                before=before,
            )
            keep(lane)

    def _handle_late_batch(self, lane: Lane, waited: float) -> None:
        """Restart the worker that holds up the batch, or raise.

        Raises:
            LoaderTimeoutError: always, unless a worker was restarted, or is being replaced.
        """
        late = lane.workers.late_workers(self.pool.pid_of)
        if self._restart:
            restarted = [self.pool.restart(worker) for worker, _ in late]
            if all(restarted) and (late or self.pool.replacing):
                return
        raise self.pool.timeout_error(waited, *(late[0] if late else (None, None)))

    def _ask_for_first(self, first: FirstItem) -> Any | ItemFailure:
        """Have a worker make the first item or batch, and return what it is like.

        Raises:
            LoaderTimeoutError: it was not made in time.
        """
        while True:
            try:
                return self.pool.first_item(first, self._timeout)
            except LoaderTimeoutError:
                if not (self._restart and self.pool.restart(0)):
                    raise

    # ---------------------------------------------------------------- looking at it, the end

    def add_stats(self, stats: LoaderStats) -> LoaderStats:
        """Return the figures of a loader, with those of workers and rings."""
        pool, lanes = self.pool, self.lanes
        stats = replace(stats, worker_cpu_shares=pool.cpu_shares(), worker_deaths=pool.deaths)
        if not lanes:
            return stats
        now = [lane.ring.stats() for lane in lanes]
        rings = [lane.workers for lane in lanes]
        workers = range(rings[0].max_workers)
        return replace(
            stats,
            worker_busy_shares=tuple(
                rings[worker % len(rings)].busy_share(worker + 1) for worker in workers
            ),
            runs_redone=sum(ring.redone for ring in rings),
            items_redone=sum(ring.items_redone for ring in rings),
            copied_batches=sum(lane.copied + n.copied for lane, n in zip(lanes, now, strict=True)),
            held_batches=sum(n.held for n in now),
            ready_batches=sum(n.ready for n in now),
        )

    def close(self) -> None:
        """End the workers, and free the rings once no batch refers to them. Thread-safe.

        An exception of a signal handler may end this call anywhere: the next one goes on.
        """
        self._closed = True
        if self._pid != os.getpid():
            return
        with self._opening:  # from now on no ring is made
            lanes = self.lanes
        for lane in lanes:
            lane.close()
        self.pool.close()


def grown_layout(layouts: Layouts, lane: Lane) -> BatchLayout | None:
    """Return a layout with more room once a lane's parcels did not fit and nothing is announced."""
    if not lane.overflow or lane.announced:
        return None
    layout = layouts.grown(lane.layout, parcel_bytes=lane.overflow)
    lane.overflow = 0  # if it may not grow, parcels go on to come over the sockets
    return layout
