"""Batches that the training loop's own process makes: `DataLoader` with `num_workers=0`.

The same code fills the same runs of rows as in a worker, with the generators set at the same
places, so a batch is the same for any number of workers. The batches are private arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.errors import SpecMismatchError
from shm_echo.loader.batch_layout import BatchLayout, Layouts
from shm_echo.loader.batch_sources import BatchSource, StreamSource
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.item_hooks import ItemHooks
from shm_echo.loader.item_sources import ItemSource
from shm_echo.loader.items import ItemSpec
from shm_echo.loader.measuring import measured_rows
from shm_echo.loader.messages import Recipe
from shm_echo.loader.order import IndexBatch
from shm_echo.loader.private_run import PrivateRun
from shm_echo.spec.ragged_row import UNSET

__all__ = ["LocalBatches"]


class LocalBatches:
    """Makes the batches of a loop in the calling thread.

    Args:
        dataset: makes the items.
        hooks: what is done around items.
        layouts: has the layout of batches, or makes it from the first item.
        recipe: makes batches that are collated as a whole.
        start: number of the first batch, for a stream.
    """

    def __init__(
        self, dataset: Any, hooks: ItemHooks, layouts: Layouts, recipe: Recipe, start: int = 0
    ) -> None:
        self._hooks = hooks
        self._layouts = layouts
        self._recipe = recipe
        self._number = start  # of the next batch of a stream
        self._ended = False
        if recipe.stream:
            self._stream = StreamSource(dataset, hooks, recipe)
            return
        self._rows = ItemSource(dataset, hooks)
        if self._rows.returns_items or recipe.collate_fn is not None:
            self._whole = BatchSource(dataset, hooks, recipe)

    def next_batch(self, order: EpochOrder) -> tuple[Any, int] | None:
        """Return the next batch and its number of items; None at the end of the epoch."""
        if self._recipe.stream:
            return self._next_of_stream(order)
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

    def _next_of_stream(self, order: EpochOrder) -> tuple[Any, int] | None:
        taken = None
        try:
            if not self._ended:
                with self._hooks.active():
                    taken = self._stream.make(0, self._number, order.epoch)
        except Exception:
            self._number += 1
            order.deliver()
            raise
        self._number += 1
        self._ended = taken is None
        return taken

    def _make(self, batch: IndexBatch) -> Any:
        layout = self._layouts.get()
        made: list[Any] = []
        if layout is None:
            layout = self._layout_of_first(batch, made)
        elif layout.spec is not None and isinstance(batch.indices, tuple):
            layout = self._layouts.fitting(layout, batch)
        spec = layout.spec
        if spec is None:
            return self._collate(batch, layout.run_rows, made)
        self._hooks.spec = spec
        try:
            return self._stack(batch, spec, layout.run_rows)
        except SpecMismatchError as error:
            if not (self._layouts.may_change and self._rows.returns_items):
                raise
            self._layouts.set_parcels(0, run_rows=layout.run_rows, reason=str(error))
        return self._collate(batch, layout.run_rows, made)

    def _layout_of_first(self, batch: IndexBatch, made: list[Any]) -> BatchLayout:
        """Make the first item, if it may be a row, and return the layout that follows.

        Args:
            batch: the first batch.
            made: gets the item, if it is to be used in a batch that is collated as a whole.
        """
        key = batch.keys()[0]
        reason = ""
        if isinstance(batch.indices, tuple):
            reason = "its sampler gives keys that are no integers"
        elif not self._layouts.whole:
            item = self._rows.make_first(batch.first_row, batch.epoch, key)
            try:
                spec = self._hooks.spec_of(item, key)
            except TypeError as error:
                if not self._rows.returns_items:
                    raise
                reason = str(error)
            else:
                rows = 0
                if self._layouts.measures:
                    keys, at = batch.keys(), batch.first_row
                    rows = measured_rows(self._rows.fill, spec.tree, keys, batch.epoch, at)
                return self._layouts.set(spec, rows)
            self._rows.forget_first()
            if not self._rows.batched:
                made.append(item)
        return self._layouts.set_parcels(0, reason="" if self._layouts.whole else reason)

    def _collate(self, batch: IndexBatch, run_rows: int, made: list[Any]) -> Any:
        return self._whole.make(
            batch.keys(),
            first_row=batch.first_row,
            epoch=batch.epoch,
            run_rows=run_rows,
            single=batch.single,
            made=made,
        )

    def _stack(self, batch: IndexBatch, spec: ItemSpec, step: int) -> Any:
        """Make the batch as rows, run by run."""
        tree, rows = spec.tree, len(batch.indices)
        arrays = [np.empty((rows, *leaf.shape), leaf.dtype) for leaf in tree.leaves]
        for row in tree.ragged:
            arrays[row + 1].fill(UNSET)
        indices = batch.keys()
        for first in range(0, rows, step):
            run = PrivateRun(
                tree,
                [array[first : first + step] for array in arrays],
                tuple(indices[first : first + step]),
                batch.first_row + first,
                batch.epoch,
            )
            self._rows.fill(run, singly=False)
        batch_tree = tree.unflatten(arrays)
        finish = self._recipe.face.finish_rows
        return batch_tree if finish is None else finish(batch_tree)
