"""A lane: one ring, and the batches that are announced in it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shm_echo.loader.batch_layout import BatchLayout
from shm_echo.loader.epoch_order import AnnouncedBatch, EpochOrder
from shm_echo.loader.options import FURTHER_BUFFERS
from shm_echo.loader.parcels import unpack
from shm_echo.loader.worker_main import STATUS_ELSEWHERE, STATUS_MISFIT
from shm_echo.loader.worker_ring import WorkerRing, create_ring
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import FailedRun

__all__ = ["FailedBatchError", "Lane", "Parcels"]

# Seconds of one wait. A slice that took much longer was not a wait: the whole process stood still.
_SLICE = 0.1
_LONGEST_SLICE = 0.5


class Parcels(Protocol):
    """The parcels that came over the sockets of workers."""

    def find(self, row: int) -> bytearray:
        """Return the parcel that begins at a row."""

    def forget(self, row: int) -> None:
        """Drop it."""


class FailedBatchError(Exception):
    """The batch that is due has runs that went wrong. It is taken, and its memory is free.

    Attributes:
        announced: the batch.
        failed: its runs that have a status.
    """

    def __init__(self, announced: AnnouncedBatch, failed: tuple[FailedRun, ...]) -> None:
        super().__init__()
        self.announced, self.failed = announced, failed


class Lane:
    """A ring, and what is announced in it.

    Args:
        layout: of the ring.
        reuse: True for batches that are valid until the next one is taken only.
        finish: makes a batch of a tree of arrays; None for the tree itself.
        remakes: True if a batch with an item that fits no row is to be made again as a parcel.
        before: the lane that this one replaces. Its batches are announced first.
        parcels: has the parcels that did not fit into the ring.

    Attributes:
        ring: the ring.
        layout: of the ring.
        announced: the batches that are announced and not taken.
        redo: batches that are to be announced before any other.
        count: number of batches that were announced, ever.
        workers: the ring for the workers.
        copied: batches that were copied in the lanes before.
        overflow: bytes of the largest parcel that did not fit.
        misfit: first row of the run with the item that fits no row; then the lane ends with this
            batch, which stays announced.
        before: the lane that this one replaces, until that is closed.
    """

    def __init__(
        self,
        layout: BatchLayout,
        *,
        reuse: bool,
        finish: Callable[[Any], Any] | None,
        parcels: Parcels,
        remakes: bool = False,
        before: Lane | None = None,
    ) -> None:
        self.layout = layout
        self.ring = create_ring(layout, reuse=reuse)
        self.announced: deque[AnnouncedBatch] = deque()
        self.redo: deque[AnnouncedBatch] = deque()
        self._unflatten = layout.ring_spec.unflatten
        self._finish = finish
        self._parcels = parcels
        self.copied = self.overflow = 0
        self.misfit: int | None = None
        self._remakes = remakes
        self.before = before
        if before is not None:
            self.redo.extend((*before.announced, *before.redo))
            self.copied = before.copied + before.ring.stats().copied
        self.workers: WorkerRing = WorkerRing(
            self.ring,
            layout.spec,
            self.index_of,
            self.rows_of_run,
            0 if layout.spec is not None else layout.run_rows,
            None if before is None else before.workers,
        )
        # The batch that is being announced, and the number of those that the ring has got: an
        # interrupt may come between any two steps, and `settle` finds out after which one.
        self._announcing: AnnouncedBatch | None = None
        self.count = 0

    # ---------------------------------------------------------------- announcing

    def announce(self, batch: AnnouncedBatch, epoch: int, entry: npt.NDArray[np.int64]) -> bool:
        """Announce a batch; return False if no buffer is free.

        Args:
            batch: the batch: the first one of `redo`, or the next one of its order.
            epoch: its epoch.
            entry: what the workers read.
        """
        self._announcing = batch
        is_announced = self.ring.announce(batch.first_row, epoch, entry)
        self.settle()
        return is_announced

    def settle(self) -> None:
        """Take note of the batch that is being announced, if the ring has got it.

        An interrupt may end this method anywhere: the next call goes on.
        """
        announcing = self._announcing
        if announcing is None:
            return
        count = self.ring.stats().announced
        if count > self.count:
            if not self.announced or self.announced[-1] is not announcing:
                self.announced.append(announcing)
            if self.redo and self.redo[0] is announcing:
                self.redo.popleft()
            if announcing.order.peek() is announcing.batch:
                announcing.order.advance()
            self.count = count
        self._announcing = None

    @property
    def prefetch(self) -> int:
        """The number of batches to announce ahead of the loop."""
        return self.layout.sizes.num_buffers - FURTHER_BUFFERS

    def close(self) -> None:
        """Close the ring, and that of the lane before. Batches that are held stay as they are."""
        if self.before is not None:
            self.before.close()
            self.before = None
        self.ring.close()

    def is_due(self, order: EpochOrder) -> bool:
        """Return True if the next batch of the lane belongs to an order."""
        due = self.announced or self.redo
        return bool(due) and due[0].order is order

    def cancel(self) -> None:
        """Cancel what is announced; the next batch is the next one that is announced."""
        self.announced.clear()
        self.redo.clear()
        self._announcing = self.misfit = None
        self.ring.cancel()
        self.count = self.ring.stats().announced

    def index_of(self, row: int) -> Any:
        """Return the item of a row that is announced and not taken; None if it is not known.

        Thread-safe.
        """
        for announced in self._all():
            place = row - announced.first_row
            batch = announced.batch
            if 0 <= place < len(batch.indices):
                key = batch.indices[place]
                return int(key) if isinstance(key, np.integer) else key
        return None

    def rows_of_run(self, row: int) -> int:
        """Return the number of rows in the run of an announced row; 0 if it is not known.

        Thread-safe.
        """
        for announced in self._all():
            place, rows = row - announced.first_row, len(announced.batch.indices)
            if 0 <= place < rows:
                size = rows if self.layout.spec is None else self.layout.run_rows
                return min(size, rows - place // size * size)
        return 0

    def _all(self) -> Iterator[AnnouncedBatch]:
        announcing = self._announcing
        yield from (*self.announced, *((announcing,) if announcing else ()))

    # ---------------------------------------------------------------- taking

    def take(self) -> tuple[Any, int] | None:
        """Take the batch that is due; return it and its number of items, or None if it is late.

        Raises:
            FailedBatchError: runs of it went wrong.
            Exception: a parcel cannot be unpickled here.
        """
        handover = self.ring.handover()
        try:
            handover.begin(-1.0)
            batch = self.ring.take(handover)
            if batch is None:
                handover.confirm()
                return None
            # An interrupt may have come between the two steps of an earlier call.
            while self.announced and self.announced[0].first_row != batch.first_row:
                self.announced.popleft()
            failed, first_row = batch.failed, batch.first_row
            taken: tuple[Any, int] | None = None
            error: Exception | None = None
            try:
                if not failed:
                    taken = self._batch_of(batch.arrays, batch.rows)
                elif failed[0].status == STATUS_ELSEWHERE:
                    data = self._parcels.find(first_row)
                    self.overflow = max(self.overflow, len(data))
                    taken = unpack(data)
            except Exception as raised:  # of a class of the user's that is built here
                error = raised
            if self._remakes and any(run.status == STATUS_MISFIT for run in failed):
                self.misfit = next(r.first_row for r in failed if r.status == STATUS_MISFIT)
                del batch
                handover.drop()
                handover.confirm()
                return None
            if failed or error is not None:
                del batch
                handover.drop()
                handover.confirm()
            else:
                handover.confirm()
            announced = self.announced.popleft()
            if taken is None:
                announced.order.deliver()
        except BaseException:
            handover.put_back()
            raise
        if error is not None:
            raise error
        if taken is None:
            raise FailedBatchError(announced, failed)
        if failed:
            self._parcels.forget(first_row)
        return taken

    def _batch_of(self, arrays: list[Any], rows: int) -> tuple[Any, int]:
        if self.layout.spec is None:
            return unpack(arrays[0].reshape(-1))
        tree = self._unflatten(arrays)
        return tree if self._finish is None else self._finish(tree), rows

    def wait(self) -> tuple[float, bool]:
        """Sleep until something happens.

        Returns:
            The seconds that count as waiting, and True if the ring is open.
        """
        handover = self.ring.handover()
        handover.begin(-1.0)
        began = time.monotonic()
        try:
            result = self.ring.ready_wait(_SLICE)
        finally:
            handover.confirm()
        if result == Result.TIMEOUT:
            now = self.ring.stats()
            if now.announced == now.taken:  # as after an interrupt at the end of `take`
                self.announced.clear()
        # Not the time in which the whole job was stopped (Ctrl-Z): the workers stood still, too.
        return min(time.monotonic() - began, _LONGEST_SLICE), result != Result.CLOSED
