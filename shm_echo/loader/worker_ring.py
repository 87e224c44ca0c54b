"""The ring as the pool of workers sees it: by worker, and without batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from shm_echo.loader.batch_layout import BatchLayout
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.items import ItemSpec
from shm_echo.loader.stats import is_stopped
from shm_echo.ring.loader_ring import LoaderRing, LoaderSizes, loader_sender
from shm_echo.spec import TreeSpec
from shm_echo.validation import environment_switch

__all__ = ["WorkerRing", "create_ring"]


def create_ring(layout: BatchLayout, *, reuse: bool) -> LoaderRing:
    """Allocate the ring for the batches of a layout; `reuse` as for `LoaderRing`.

    Raises:
        ShmTooSmallError: there is no room for it.
    """
    return LoaderRing.create(
        layout.ring_spec,
        layout.sizes,
        reuse=reuse,
        poisoned=environment_switch("SHM_ECHO_DEBUG"),
    )


class WorkerRing:
    """The calls that `WorkerPool` makes on a ring. Thread-safe.

    Args:
        ring: the ring.
        spec: of an item that is a row; None for a ring of parcels.
        index_of: returns the item of an announced row; None if it is not known.
        rows_of_run: returns the number of rows in the run of an announced row.
        run_rows: for a ring of parcels, the rows after which the global generators are set anew.
        before: the ring that this one replaces.

    Attributes:
        redone: runs that dead workers had begun, and that others make again.
        items_redone: items of those runs.
    """

    def __init__(
        self,
        ring: LoaderRing,
        spec: ItemSpec | None,
        index_of: Callable[[int], Any],
        rows_of_run: Callable[[int], int],
        run_rows: int = 0,
        before: WorkerRing | None = None,
    ) -> None:
        self._ring = ring
        self._spec = spec
        # When each worker got the ring, and how long its owner id had waited before.
        self._admitted: dict[int, tuple[int, int]] = {}
        self.run_rows = run_rows
        self._index_of, self._rows_of_run = index_of, rows_of_run
        self.redone: int = before.redone if before else 0
        self.items_redone: int = before.items_redone if before else 0

    @property
    def max_workers(self) -> int:
        """The number of owner ids."""
        return self._ring.sizes.max_workers

    def of(self, owner: int) -> WorkerRing:
        """Return the ring itself, which all workers share."""
        return self

    def fileno(self) -> int:
        """Return the descriptor of the ring's memory."""
        return self._ring.fileno()

    def opener(self) -> Callable[[int, int, int, ItemHooks], Any]:
        """Return what opens the ring in a worker: a call with descriptor, owner, pidfd, hooks."""
        return partial(_open, self._spec, self._ring.spec, self._ring.sizes)

    def close(self) -> None:
        """Close the ring."""
        self._ring.close()

    def admit(self, owner: int) -> None:
        """Let a new worker claim runs under an owner id."""
        self._ring.admit(owner)
        self._admitted[owner] = time.monotonic_ns(), self._ring.waited_ns(owner)

    def row_at_work(self, owner: int) -> tuple[int, Any] | None:
        """Return the row that a worker makes, or made when it died, and its item."""
        row = self._ring.row_of(owner)
        return None if row is None else (row, self._index_of(row))

    def work_of(self, owner: int) -> tuple[int, int, int | None]:
        """Return numbers that are others once this worker, or the ring's, have done something.

        They are the complete batches of the ring, the rows of taken batches that the worker has
        made, and the row that it is at.
        """
        now, ring = self._ring.stats(), self._ring
        return now.taken + now.ready, ring.delivered(owner), ring.row_of(owner)

    def busy_share(self, owner: int) -> float:
        """Return the share of a worker's time with the ring in which it did not wait."""
        if owner not in self._admitted:
            return 0.0
        began, waited_before = self._admitted[owner]
        waited = self._ring.waited_ns(owner) - waited_before
        return min(1.0, max(0.0, 1 - waited / max(1, time.monotonic_ns() - began)))

    def recover(self, owner: int) -> None:
        """Give the runs of a dead worker to the others."""
        row = self._ring.row_of(owner)
        runs = self._ring.recover(owner)
        self.redone += runs
        if runs and row is not None:
            self.items_redone += self._rows_of_run(row)

    def late_workers(self, pid_of: Callable[[int], int | None]) -> list[tuple[int, Any]]:
        """Return the workers that hold up the next batch, each with the item that it is at.

        Args:
            pid_of: returns the process of a worker; None while there is none.
        """
        ring, late = self._ring, self._ring.straggler()
        if late is not None and late.owner is not None:
            return [(late.owner - 1, self._index_of(late.row))]  # owner ids begin at 1
        # No worker has come for the row: each of them is stopped, or makes other rows (those of
        # cancelled batches among them).
        found = []
        for worker in range(ring.sizes.max_workers):
            pid = pid_of(worker)
            if pid is not None and (ring.held_by(worker + 1) or is_stopped(pid)):
                row = ring.row_of(worker + 1)
                found.append((worker, None if row is None else self._index_of(row)))
        return found


def _open(
    spec: ItemSpec | None,
    row_spec: TreeSpec,
    sizes: LoaderSizes,
    fd: int,
    owner: int,
    trainer: int,
    hooks: ItemHooks,
) -> Any:
    if spec is not None:
        hooks.spec = spec
    return loader_sender(row_spec, sizes, fd, owner, trainer=trainer)
