"""Batches of iterables: each worker makes those of its own shard.

Each worker has a ring of its own. The loop gets batches from the workers in turn, and leaves those
out whose shards have ended: the order depends on the shards only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from shm_echo.loader.batch_layout import BatchLayout, Layouts
from shm_echo.loader.epoch_order import AnnouncedBatch, EpochOrder
from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.lane import Lane
from shm_echo.loader.loop_batches import LoopBatches, grown_layout
from shm_echo.loader.messages import FirstItem, ParcelSize
from shm_echo.loader.options import LoaderOptions
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.tasks import StreamTask, encode_stream
from shm_echo.loader.worker_pool import WorkerPool
from shm_echo.loader.worker_ring import WorkerRing

__all__ = ["StreamBatches"]


class _Rings:
    """The rings of the workers, for the pool: one each."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._rings = [lane.workers for lane in lanes]

    def of(self, owner: int) -> WorkerRing:
        """Return the ring of a worker, by its owner id."""
        return self._rings[owner - 1]


class _Shard:
    """A worker's part of the present loop.

    Attributes:
        worker: number of the worker.
        place: its ring; and, when the loop or the ring began, the number of the shard's next batch,
            and the number of batches that were announced in the ring. None before the first ring.
        ended: True once the loop has come to its end.
    """

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.place: tuple[Lane, int, int] | None = None
        self.ended = False

    @property
    def lane(self) -> Lane:
        assert self.place is not None
        return self.place[0]

    @property
    def next_number(self) -> int:
        """The number of the batch to be announced next."""
        assert self.place is not None
        lane, number, count = self.place
        lane.settle()
        return number + lane.count - count

    @property
    def taken(self) -> int:
        """The number of batches that the loop has taken."""
        return self.next_number - len(self.lane.announced)

    def begin_loop(self) -> None:
        """Begin with the first batch."""
        self.ended = False
        if self.place is not None:
            self.place = self.lane, 0, self.lane.count

    def replace(self, lane: Lane) -> None:
        """Go on in a ring. Nothing is announced in the one before."""
        self.place = lane, 0 if self.place is None else self.next_number, 0


class StreamBatches(LoopBatches):
    """The batches of a dataset that is iterated."""

    _left_out = 0  # batches to drop at the begin of a loop
    _attached: tuple[Lane, ...] = ()  # the rings that the workers know

    def __init__(
        self,
        pool: WorkerPool,
        layouts: Layouts,
        options: LoaderOptions,
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        self._shards = tuple(_Shard(worker) for worker in range(options.num_workers))
        self._batch_size = options.batch_size or 1
        super().__init__(pool, layouts, options, finish)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(shard.place[0] for shard in self._shards if shard.place is not None)

    def begin_loop(
        self, epoch: int, batches: Callable[..., Iterator[IndexBatch]], own: bool, start: int = 0
    ) -> EpochOrder:
        """Begin a loop over an epoch, and return its order, which is empty; see `WorkerBatches`.

        Batches before `start` are made, because nobody knows which shards have ended, and dropped.
        """
        self._cancel()
        self._left_out = start
        for shard in self._shards:
            shard.begin_loop()
        order = self._new_order(epoch, iter(()))
        self._orders.append(order)
        return order

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch of a loop and its number of items; see `LoopBatches`."""
        while self._left_out:
            position = order.position
            try:
                if super().next_batch(order) is None:
                    self._left_out = 0
                    return None
            except Exception:
                if order.position is position:
                    raise  # no batch was dropped: the workers have failed
            order.position = position
            self._left_out -= 1
        return super().next_batch(order)

    # ---------------------------------------------------------------- whose turn it is

    def _is_at_end(self, order: EpochOrder) -> bool:
        return all(shard.ended for shard in self._shards)

    def _due_shard(self) -> _Shard:
        # Those that go on have given equally many batches, or those of lower numbers one more.
        left = (shard for shard in self._shards if not shard.ended)
        return min(left, key=lambda shard: (shard.taken, shard.worker))

    def _on_shard_end(self, lane: Lane) -> None:
        for shard in self._shards:
            if shard.lane is lane:
                shard.ended = True

    # ---------------------------------------------------------------- announcing

    def _due_lane(self, order: EpochOrder) -> Lane:
        if len(self.lanes) < len(self._shards):
            layout = self._layouts.get() or self._layout_of_first(order)
            for shard in self._shards:
                if shard.place is None:
                    self._open_lane(layout, shard.replace)
        self._announce_ahead()
        return self._due_shard().lane

    def _layout_of_first(self, order: EpochOrder) -> BatchLayout:
        first = self._ask_for_first(FirstItem(order.loop_row, order.epoch, StreamTask(0), True, 1))
        if isinstance(first, ItemFailure):
            return self._layouts.set_parcels(0)  # the batch fails again when it is due
        assert isinstance(first, ParcelSize)
        return self._layouts.set_parcels(first.nbytes)

    def _announce_ahead(self) -> None:
        """Announce batches of each shard until enough are ahead, or no buffer is free."""
        if len(self.lanes) < len(self._shards):
            return  # no batch has been asked for
        for shard in self._shards:
            layout = grown_layout(self._layouts, shard.lane)
            if layout is not None:
                self._open_lane(layout, shard.replace, before=shard.lane)
        lanes = self.lanes
        if lanes != self._attached:
            retired = [lane.before.workers for lane in lanes if lane.before is not None]
            self.pool.attach(_Rings(lanes), *retired)
            self._attached = lanes
            for lane in lanes:
                lane.before = None
        for shard in self._shards:
            self._announce(shard)

    def _announce(self, shard: _Shard) -> None:
        lane, order = shard.lane, self._orders[0]
        while not (shard.ended or lane.overflow or len(lane.announced) >= lane.prefetch):
            number = shard.next_number
            first = number * self._batch_size
            items = np.arange(first, first + self._batch_size)
            place = (number * len(self._shards) + shard.worker) * self._batch_size
            batch = AnnouncedBatch(
                order, IndexBatch(place, order.epoch, items), order.loop_row + place
            )
            entry = encode_stream(number, lane.layout.sizes.batch_size)
            if not lane.announce(batch, order.epoch, entry):
                return
