"""Batches that workers make of the items of keys: announced, and taken in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shm_echo.loader.batch_layout import BatchLayout
from shm_echo.loader.epoch_order import AnnouncedBatch, EpochOrder
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.lane import Lane
from shm_echo.loader.loop_batches import LoopBatches, grown_layout
from shm_echo.loader.messages import FirstItem, ParcelSize, RowSpec
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.tasks import KeyTask, words_needed

__all__ = ["WorkerBatches"]


class WorkerBatches(LoopBatches):
    """The batches of a dataset that is asked for items: one ring, which all workers fill.

    The next epoch of an own sampler is announced behind the end of the present one.
    """

    lane: Lane | None = None
    _attached: Lane | None = None  # the lane that the workers know
    _batches_of: Callable[..., Iterator[IndexBatch]] | None = None

    @property
    def lanes(self) -> Sequence[Lane]:
        lane = self.lane
        return () if lane is None else (lane,)

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

    def _is_at_end(self, order: EpochOrder) -> bool:
        lane = self.lane
        if lane is not None:
            lane.settle()
            if lane.is_due(order):
                return False
        return order.peek() is None

    def _due_lane(self, order: EpochOrder) -> Lane:
        if self.lane is None:
            layout = self._layouts.get() or self._layout_of_first(order)
            self._open_lane(layout, self._set_lane)
        assert self.lane is not None
        return self._announce(self.lane)

    def _set_lane(self, lane: Lane) -> None:
        self.lane = lane

    def _layout_of_first(self, order: EpochOrder) -> BatchLayout:
        """Have a worker make the first item of the next batch.

        Raises:
            Exception: the item raised it; its batch is dropped.
        """
        batch = order.peek()
        assert batch is not None
        others = isinstance(batch.indices, tuple)
        whole = self._layouts.whole or others
        task = KeyTask(batch.keys(), batch.single)
        run_rows = self._layouts.run_rows
        first = self._ask_for_first(
            FirstItem(
                order.row_number(batch), batch.epoch, task, whole, run_rows, self._layouts.measures
            )
        )
        if isinstance(first, ItemFailure):
            order.advance()
            order.deliver()
            raise first.exception()
        if isinstance(first, RowSpec):
            return self._layouts.set(first.spec, first.run_rows)
        assert isinstance(first, ParcelSize)
        reason = "its sampler gives keys that are no integers" if others else first.reason
        return self._layouts.set_parcels(
            first.nbytes,
            words=words_needed(batch),
            reason="" if self._layouts.whole else reason,
        )

    def _announce_ahead(self) -> None:
        if self.lane is not None:
            self._announce(self.lane)

    def _announce(self, lane: Lane) -> Lane:
        """Announce batches until enough are ahead of the loop, or no buffer is free.

        Returns:
            The lane, or the one that replaces it: once nothing is announced in the old one, or if
            its batches are to be made in another way.
        """
        lane.settle()
        while True:
            layout = self._changed_layout(lane)
            if layout is not None:
                lane = self._replace(lane, layout)
            if self._attached is not lane:
                before = lane.before
                self.pool.attach(lane.workers, *(() if before is None else (before.workers,)))
                self._attached, lane.before = lane, None
            if len(lane.announced) >= lane.prefetch:
                return lane
            batch = self._next_to_announce(lane)
            if batch is None:
                return lane
            entry = lane.layout.encode(batch.batch)
            if entry is None:
                if lane.announced:
                    return lane  # until they are taken
                layout = self._layouts.fitting(lane.layout, batch.batch)
                lane = self._replace(lane, layout)
            elif not lane.announce(batch, batch.batch.epoch, entry):
                return lane

    def _replace(self, before: Lane, layout: BatchLayout) -> Lane:
        """Go over to another lane, which announces what is left in this one."""
        self._open_lane(layout, self._set_lane, before)
        assert self.lane is not None
        return self.lane

    def _changed_layout(self, lane: Lane) -> BatchLayout | None:
        """Return the layout of a lane that is to replace this one now; None if it goes on."""
        if lane.misfit is not None:
            spec = lane.layout.spec
            assert spec is not None
            failure = self.pool.failure(lane.misfit)
            self.pool.forget_failures()  # those of batches that are made again
            return self._layouts.set_parcels(
                spec.nbytes * lane.layout.sizes.batch_size,
                run_rows=lane.layout.run_rows,
                reason=str(failure.exception())
                if failure
                else "an item differs from the first one",
            )
        return grown_layout(self._layouts, lane)

    def _next_to_announce(self, lane: Lane) -> AnnouncedBatch | None:
        if lane.redo:
            return lane.redo[0]
        if lane.overflow:
            return None  # until those that are announced are taken
        while True:
            order = self._orders[-1]
            batch = order.peek()
            if batch is not None:
                return AnnouncedBatch(order, batch, order.row_number(batch))
            if not self._draw_next_epoch(order):
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
