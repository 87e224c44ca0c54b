"""A pool of workers with a ring, and the plainest training loop over it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from shm_echo.loader.failures import ItemFailure
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.messages import FirstItem
from shm_echo.loader.tasks import KeyTask
from shm_echo.loader.worker_pool import PoolOptions, StartMethod, WorkerPool
from shm_echo.loader.worker_ring import WorkerRing
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import LoaderBatch, LoaderRing, LoaderSizes
from tests.support.waiting import WATCHDOG, wait_until

__all__ = ["METHODS", "PoolLoop", "first_item"]

METHODS: tuple[StartMethod, ...] = ("fork", "spawn", "forkserver")
BATCH = 6
RUN = 3


def first_item(index: int) -> FirstItem:
    """Return the request for the item that is row `index` of epoch 0."""
    return FirstItem(index, 0, KeyTask([index], single=False), whole=False, run_rows=RUN)


class PoolLoop:
    """A pool, and a loop over one epoch of its dataset in order: row i is item i.

    Args:
        dataset: has a length.
        workers: the number of workers.
        method: the start method.
        worker_init_fn: as for the pool.
    """

    def __init__(
        self,
        dataset: Any,
        workers: int = 2,
        method: StartMethod = "fork",
        worker_init_fn: Any = None,
    ) -> None:
        self.length = len(dataset)
        options = PoolOptions(workers, ItemHooks(0), 0, method, worker_init_fn)
        self.pool = WorkerPool(dataset, options)
        self.ring: LoaderRing | None = None
        self._announced = 0

    def open(self) -> PoolLoop:
        """Have the first item made, and hand the ring out."""
        spec = next(
            first.spec
            for index in range(self.length)
            if not isinstance(first := self.pool.first_item(first_item(index)), ItemFailure)
        )
        sizes = LoaderSizes(BATCH, RUN, 4, 8)
        self.ring = LoaderRing.create(spec.tree, sizes)
        self.pool.attach(WorkerRing(self.ring, spec, lambda row: row, lambda row: 1))
        self.announce()
        return self

    def announce(self) -> None:
        """Announce as many batches as there is room for."""
        assert self.ring is not None
        while self._announced < self.length:
            rows = np.arange(self._announced, min(self._announced + BATCH, self.length))
            if not self.ring.announce(self._announced, 0, rows.astype(np.int64)):
                return
            self._announced += len(rows)

    def next_batch(self) -> LoaderBatch:
        """Return the next batch; raise what has ended the workers."""
        ring = self.ring
        assert ring is not None

        def take() -> LoaderBatch | None:
            self.pool.check()
            self.announce()
            handover = ring.handover()
            assert handover.begin(WATCHDOG)
            batch = ring.take(handover)
            if batch is None:
                assert ring.ready_wait(0.05) != Result.CLOSED
            handover.confirm()
            return batch

        return wait_until(take, "the next batch is complete")

    def items(self) -> list[int]:
        """Return the items of all batches that are left, after a check that each row is whole."""
        items: list[int] = []
        while len(items) < self.length:
            items += self.rows(self.next_batch())
        return items

    def rows(self, batch: LoaderBatch) -> list[int]:
        """Return the items of a batch, after a check that each row is whole."""
        assert batch.failed == ()
        assert self.ring is not None
        tree = self.ring.spec.unflatten(batch.arrays)
        assert (tree["x"] == tree["i"][:, None]).all(), tree
        return [int(item) for item in tree["i"]]

    def close(self, grace: float = 2.0) -> None:
        """End everything."""
        if self.ring is not None:
            self.ring.close()
        self.pool.close(grace)

    def __enter__(self) -> PoolLoop:
        self.pool.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
