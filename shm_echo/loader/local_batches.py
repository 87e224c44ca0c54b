"""Batches that the training loop's own process makes: `DataLoader` with `num_workers=0`.

The same code fills the same runs of rows as in a worker, with the generators set at the same
places, so a batch is the same for any number of workers. The batches are private arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.loader.batch_layout import Layouts
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.item_sources import ItemSource
from shm_echo.loader.order import IndexBatch
from shm_echo.spec import TreeSpec

__all__ = ["LocalBatches"]


class LocalBatches:
    """Makes the batches of loops in the calling thread.

    Args:
        dataset: makes the items.
        hooks: what is done around items.
        layouts: has the layout of batches, or makes it from the first item.
    """

    def __init__(self, dataset: Any, hooks: ItemHooks, layouts: Layouts) -> None:
        self._hooks = hooks
        self._source = ItemSource(dataset, hooks)
        self._layouts = layouts

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch and its number of items; None at the end of the epoch."""
        batch = order.peek()
        if batch is None:
            order.raise_error()
            return None
        try:
            with self._hooks.active():
                made = self._make(batch)
        except Exception:
            # The batch is dropped, and the loop may go on behind it. After Ctrl-C it is made again.
            order.advance()
            order.deliver()
            raise
        order.advance()
        return made, len(batch.indices)

    def _make(self, batch: IndexBatch) -> Any:
        source, layout = self._source, self._layouts.get()
        if layout is None:
            index = int(batch.indices[0])
            item = source.make_first(batch.first_row, batch.epoch, index)
            layout = self._layouts.set(self._hooks.spec_of(item, index))
        self._hooks.spec = layout.spec
        tree = layout.spec.tree
        rows, step = len(batch.indices), layout.run_rows
        arrays = [np.empty((rows, *leaf.shape), leaf.dtype) for leaf in tree.leaves]
        indices = batch.indices.tolist()
        for first in range(0, rows, step):
            run = PrivateRun(
                tree,
                [array[first : first + step] for array in arrays],
                tuple(indices[first : first + step]),
                batch.first_row + first,
                batch.epoch,
            )
            source.fill(run, singly=False)
        return tree.unflatten(arrays)


class PrivateRun:
    """A run of rows outside of any ring.

    Args:
        spec: the spec of an item.
        views: for each leaf the rows of this run.
        indices: the items.
        first_row, epoch: the place of the run in the order.
    """

    __slots__ = ("_spec", "epoch", "first_row", "indices", "views")

    def __init__(
        self,
        spec: TreeSpec,
        views: list[np.ndarray[Any, Any]],
        indices: tuple[int, ...],
        first_row: int,
        epoch: int,
    ) -> None:
        self._spec = spec
        self.views = tuple(views)
        self.indices, self.first_row, self.epoch = indices, first_row, epoch

    @property
    def tree(self) -> Any:
        """The rows as a tree of writable arrays, each with a leading axis."""
        return self._spec.unflatten(self.views)

    def row(self, place: int, /) -> Any:
        """Return one row as a tree of writable arrays."""
        return self._spec.unflatten([view[place, ...] for view in self.views])

    def at_row(self, place: int | None, /) -> None:
        """Do nothing: nobody watches this process."""

    def write(self, place: int, tree: Any, /) -> None:
        """Check an item, and copy it into a row.

        Raises:
            SpecMismatchError: the item differs from the first one.
        """
        for view, array in zip(self.views, self._spec.check(tree), strict=True):
            view[place] = array

    def commit(self, status: int = 0, /) -> None:
        """Do nothing: the rows belong to the loop already."""
