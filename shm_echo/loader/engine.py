"""The engine of a loader: its loops, and the workers and the memory behind them.

`DataLoader` has one, and so have the loaders for other array libraries, which make batches of
another kind (see `Face`).
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import Any

from shm_echo.loader.batch_layout import Layouts
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.face import NUMPY_FACE, Face
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.iterator import BatchIterator
from shm_echo.loader.local_batches import LocalBatches
from shm_echo.loader.messages import Recipe
from shm_echo.loader.options import LoaderOptions
from shm_echo.loader.order import Order
from shm_echo.loader.stats import LoaderStats, LoopMeter
from shm_echo.loader.stream_batches import StreamBatches
from shm_echo.loader.worker_batches import WorkerBatches
from shm_echo.loader.worker_pool import PoolOptions, WorkerPool
from shm_echo.ring.loader_ring import LoaderRing

__all__ = ["LoaderEngine"]


class LoaderEngine:
    """Loops over the batches of a dataset.

    Workers are started by the first loop and live until `close()`, or until neither a loop nor
    anything else refers to the engine.

    Args:
        options: the arguments of the loader.
        order: of its batches.
        face: the way from items to batches.
        meter: counts batches and waits; None makes one.

    Attributes:
        layouts: has the layout of the batches, once it is known.
        meter: counts batches and waits.
    """

    def __init__(
        self,
        options: LoaderOptions,
        order: Order,
        face: Face = NUMPY_FACE,
        meter: LoopMeter | None = None,
    ) -> None:
        self._options = options
        self._order = order
        self._recipe = Recipe(
            face, options.collate_fn, options.stream, options.batch_size, options.drop_last
        )
        self.layouts = Layouts(options, order)
        self.meter = meter or LoopMeter(options.num_workers)
        self._lock = threading.RLock()  # a finalizer of another loop may run under it
        self._batches: WorkerBatches | StreamBatches | None = None
        self._end_batches: weakref.finalize[..., Any] | None = None
        self._loop: weakref.ref[BatchIterator] | None = None

    def begin_loop(self, epoch: int, start: int = 0) -> BatchIterator:
        """Begin a loop over an epoch, at batch number `start`.

        While another loop goes on, the new one gets workers of its own, which end with it.

        Raises:
            WorkerStartError: the workers could not be started.
        """
        with self._lock:
            return self._begin_loop(epoch, start)

    def _begin_loop(self, epoch: int, start: int) -> BatchIterator:
        options = self._options
        if options.num_workers == 0:
            local = LocalBatches(options.dataset, self._hooks(), self.layouts, self._recipe, start)
            order = EpochOrder(0, epoch, self._order.batches(epoch, start))
            return BatchIterator(local, order, self.meter, self)
        running = self._running_loop()
        if running is not None:
            return self._begin_nested_loop(epoch, start)
        batches = self._batches
        if batches is None or not batches.usable:
            self.close()
            self._batches = batches = self._new_batches()
            self._end_batches = weakref.finalize(self, batches.close)
            batches.start()  # last: after an interrupt in it, close() finds what was started
        order = batches.begin_loop(epoch, self._order.batches, self._order.own, start)
        loop = BatchIterator(batches, order, self.meter, self)
        self._loop = weakref.ref(loop)
        return loop

    def _running_loop(self) -> BatchIterator | None:
        loop = None if self._loop is None else self._loop()
        return loop if loop is not None and loop.running else None

    def _begin_nested_loop(self, epoch: int, start: int) -> BatchIterator:
        batches = self._new_batches()
        try:
            batches.start()
            order = batches.begin_loop(epoch, self._order.batches, own=False, start=start)
            loop = BatchIterator(batches, order, self.meter, self, at_end=batches.close)
            weakref.finalize(loop, batches.close)
        except BaseException:
            batches.close()
            raise
        return loop

    def _new_batches(self) -> WorkerBatches | StreamBatches:
        options = self._options
        pool_options = PoolOptions(
            options.num_workers,
            self._hooks(),
            options.seed,
            options.start_method,
            options.worker_init_fn,
            self._recipe,
        )
        return (StreamBatches if options.stream else WorkerBatches)(
            WorkerPool(options.dataset, pool_options),
            self.layouts,
            options,
            self._recipe.face.finish_rows,
        )

    def _hooks(self) -> ItemHooks:
        hooks = ItemHooks(self._options.seed, self._options.rank)
        layout = self.layouts.known
        if layout is not None:
            hooks.spec = layout.spec
        return hooks

    def stats(self) -> LoaderStats:
        """Return the figures of this moment. Any thread may call it."""
        stats, batches = self.meter.stats(), self._batches
        if self.layouts.known is not None:
            stats = replace(stats, nbytes=self.layouts.known.nbytes)
        if batches is None or not batches.usable:
            return stats
        return batches.add_stats(stats)

    @property
    def rings(self) -> tuple[LoaderRing, ...]:
        """The rings that batches may refer to now."""
        batches = self._batches
        return () if batches is None else tuple(lane.ring for lane in batches.lanes)

    def worker_pids(self) -> list[int]:
        """Return the process of each worker; none before the first loop.

        It waits for workers that are being started or replaced.
        """
        batches = self._batches
        return batches.pool.pids() if batches is not None and batches.usable else []

    def leave(self) -> None:
        """End the workers with the loop that runs; now, if none does."""
        running = self._running_loop()
        batches, end = self._batches, self._end_batches
        self._batches = self._end_batches = self._loop = None
        if batches is None or end is None:
            return
        if running is not None:
            weakref.finalize(running, batches.close)
            end.detach()
        else:
            end()

    def close(self) -> None:
        """End the workers and give the memory back; batches that are held stay as they are.

        A loop that runs raises RuntimeError at its next batch. A later loop starts workers again.
        """
        batches, end = self._batches, self._end_batches
        if batches is None:
            return
        batches.close()  # if an interrupt ends it, another close() or the finalizer goes on
        if end is not None:
            end.detach()
        if self._batches is batches:
            self._batches = None
