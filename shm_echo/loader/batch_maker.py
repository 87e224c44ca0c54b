"""The work of a worker: rows of its dataset's items, or whole batches as parcels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from shm_echo.loader.batch_sources import BatchSource, StreamSource, ignore_row
from shm_echo.loader.item_sources import ItemSource
from shm_echo.loader.measuring import measured_rows
from shm_echo.loader.messages import FirstItem, ParcelSize, RowSpec, Run, WorkerSetup
from shm_echo.loader.order_base import ROW_LIMIT
from shm_echo.loader.parcels import PackedBatch, pack
from shm_echo.loader.tasks import KeyTask, StreamTask, decode_task

__all__ = ["BatchMaker"]


class BatchMaker:
    """Makes what a worker is asked for.

    Args:
        setup: of the worker.
        number: number of the worker.

    Attributes:
        key: the key at work in a whole batch; None while it is collated.
    """

    rows: ItemSource  # if the dataset is no stream
    _source: BatchSource | StreamSource

    def __init__(self, setup: WorkerSetup, number: int) -> None:
        self._setup = setup
        self._number = number
        self._opened = False
        self._key: Any = None
        self._packing = False
        # The first batch, at its row: it was made to learn its size.
        self._kept: tuple[int, PackedBatch | None] | None = None

    def open(self) -> None:
        """Find the methods of the dataset.

        Raises:
            TypeError: it lacks the methods that are needed.
        """
        setup, recipe = self._setup, self._setup.recipe
        if recipe.stream:
            self._source = StreamSource(
                setup.dataset, setup.hooks, recipe, self._number, setup.num_workers
            )
        else:
            self.rows = ItemSource(setup.dataset, setup.hooks)
            if self.rows.returns_items or recipe.collate_fn is not None:
                self._source = BatchSource(setup.dataset, setup.hooks, recipe)
        self._opened = True

    @property
    def batched(self) -> bool:
        """Return True if the dataset makes the rows of a run together."""
        return not self._setup.recipe.stream and self.rows.batched

    @property
    def key(self) -> Any:
        return self._key if self._key is not None else self._source.key

    @property
    def place(self) -> str | None:
        """The name of the step that fails, if it is no item."""
        if not self._opened:
            return None
        collate_fn = self._setup.recipe.collate_fn
        if self._packing:
            made_by = "the batch" if collate_fn is None else "what collate_fn returned"
            return f"the pickling of {made_by}"
        return "the collation of a batch" if collate_fn is None else "collate_fn"

    # ---------------------------------------------------------------- the first batch

    def make_first(self, request: FirstItem) -> Any:
        """Make the first item, and return its RowSpec; or the first batch, and return its size.

        What was made is kept for its place.
        """
        made: list[Any] = []
        reason, self._key = "", None
        if not request.whole:
            assert isinstance(request.task, KeyTask)
            self._key = key = request.task.keys[0]
            item = self.rows.make_first(request.row, request.epoch, key)
            spec, reason = self._spec_of(item, key)
            if spec is not None:
                self._key = None
                rows = 0
                if request.measures:
                    keys = request.task.keys
                    rows = measured_rows(
                        self.rows.fill, spec.tree, keys, request.epoch, request.row
                    )
                return RowSpec(spec, rows)
            self.rows.forget_first()
            self._key = None
            if not self.rows.batched:  # else the items of a run are made together, again
                made.append(item)
        packed = self._pack(request.task, request.row, request.epoch, request.run_rows, made=made)
        self._kept = request.row, packed
        return ParcelSize(0 if packed is None else packed.nbytes, reason)

    def rehearse(self, request: FirstItem) -> None:
        """Make the first item and throw it away, and whatever it raises: worker 0 reports that."""
        if not isinstance(request.task, KeyTask) or self._setup.recipe.stream:
            return
        with contextlib.suppress(BaseException):
            self.rows.make_first(request.row, request.epoch, request.task.keys[0])
        self.rows.forget_first()

    def _spec_of(self, item: Any, key: Any) -> tuple[Any, str]:
        """Return the spec of rows like an item; None, and why not, if it fits no rows."""
        fits = self._setup.recipe.face.fits_rows
        try:
            spec = self._setup.hooks.spec_of(item, key)
        except (TypeError, ValueError) as error:  # ValueError: it has no leaves
            if not self.rows.returns_items:
                raise
            return None, str(error)
        if fits is not None and not fits(item):
            return None, f"item {key} of the dataset is of a kind that is collated as a whole"
        return spec, ""

    # ---------------------------------------------------------------- parcels

    def make_parcel(
        self, run: Run, run_rows: int, is_singly: Callable[[int], bool]
    ) -> PackedBatch | None:
        """Make the batch of a slot; return None if the shard has no further one.

        Args:
            run: the slot.
            run_rows: rows after which the global generators are set anew.
            is_singly: as for `BatchSource.make`.
        """
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == run.first_row:
            return kept[1]
        last = len(run.indices) - 1
        return self._pack(
            decode_task(run.indices),
            run.first_row,
            run.epoch,
            run_rows,
            at_row=lambda place: run.at_row(min(place, last)),
            is_singly=is_singly,
        )

    def _pack(
        self, task: KeyTask | StreamTask, row: int, epoch: int, run_rows: int, **options: Any
    ) -> PackedBatch | None:
        source = self._source
        self._packing = False
        if isinstance(task, StreamTask):
            assert isinstance(source, StreamSource)
            at_row = options.get("at_row", ignore_row)
            batch = source.make(row // ROW_LIMIT, task.number, epoch, at_row)
            return None if batch is None else self._pickle(*batch)
        assert isinstance(source, BatchSource)
        batch = source.make(
            task.keys, first_row=row, epoch=epoch, run_rows=run_rows, single=task.single, **options
        )
        return self._pickle(batch, len(task.keys))

    def _pickle(self, batch: Any, rows: int) -> PackedBatch:
        self._packing = True  # until the next batch: `place` is asked after the failure
        packed = pack(batch, rows, self._setup.recipe.face.reducer)
        self._packing = False
        return packed
