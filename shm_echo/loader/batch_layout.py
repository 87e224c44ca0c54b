"""The layout of a loader's batches: rows of arrays, or parcels, and the sizes of the ring."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shm_echo.loader.items import ItemSpec
from shm_echo.loader.options import LoaderOptions, RingShape, check_max_bytes
from shm_echo.loader.order import IndexBatch, Order
from shm_echo.loader.tasks import encode_keys, words_needed
from shm_echo.ring.loader_ring import LoaderRing, LoaderSizes
from shm_echo.spec import TreeSpec

__all__ = ["BatchLayout", "Layouts"]

_log = logging.getLogger("shm_echo")

# A ring of parcels has so much more room than the largest one so far: the next is a bit larger.
_SPARE = 1.25
_SMALLEST_PARCEL = 4096
# Rows of a parcel's ring begin at a cache line.
_CHUNK = 64


@dataclass(frozen=True)
class BatchLayout:
    """The structure of a ring's batches.

    Attributes:
        spec: of an item that is a row; None for parcels.
        sizes: of the ring. A parcel has one slot, whose rows are no items, but words of the task.
        run_rows: the rows after which the global generators are set anew. For rows the rows of a
            slot.
        nbytes: bytes of the ring; 0 without workers.
        parcel_bytes: room for a parcel; 0 for rows.
    """

    spec: ItemSpec | None
    sizes: LoaderSizes
    run_rows: int
    nbytes: int
    parcel_bytes: int = 0

    @property
    def ring_spec(self) -> TreeSpec:
        """The spec of a row of the ring."""
        if self.spec is not None:
            return self.spec.tree
        return _parcel_spec(self.parcel_bytes // self.sizes.run_rows)

    def encode(self, batch: IndexBatch) -> npt.NDArray[np.int64] | None:
        """Return the order entry of a batch; None if it does not fit into the ring."""
        if self.spec is None:
            return encode_keys(batch, self.sizes.batch_size)
        indices = batch.indices
        if isinstance(indices, tuple) or len(indices) > self.sizes.batch_size:
            return None
        return indices


class Layouts:
    """The layout of a loader's batches, for all of its loops: made by the first item or batch.

    Args:
        options: of the loader.
        order: knows the largest batch.

    Attributes:
        known: the layout; None before the first item.
        said: True once it was said that batches are collated as a whole, and why.
    """

    def __init__(self, options: LoaderOptions, order: Order) -> None:
        self._options = options
        self._order = order
        self.said = False
        self.known: BatchLayout | None = None
        if options.item_spec is not None and order.batch_size is not None:
            self.known = self.make(options.item_spec)

    @property
    def whole(self) -> bool:
        """Return True if batches are collated as a whole in any case."""
        return self._options.collates

    @property
    def may_change(self) -> bool:
        """Return True if batches may become parcels because of an item that fits no row."""
        return self._options.item_spec is None

    @property
    def measures(self) -> bool:
        """Return True if the rows of a run are to be measured with the first items."""
        return self._options.measures

    @property
    def run_rows(self) -> int:
        """The rows after which the global generators are set anew, if items fit no rows."""
        return RingShape.of(self._options, 0, self._batch_size()).run_rows

    def get(self) -> BatchLayout | None:
        """Return the layout; None if only an item can tell."""
        if self.known is None and self._options.item_spec is not None:
            self.known = self.make(self._options.item_spec)
        return self.known

    def set(self, spec: ItemSpec, run_rows: int = 0) -> BatchLayout:
        """Return the layout that the spec of the first item fixes, and keep it.

        Args:
            spec: of the first item.
            run_rows: rows of a run, if they were measured; 0 for what the options say.

        Raises:
            ValueError: the ring would be larger than `max_bytes`, or than any ring can be.
        """
        self.known = self.make(spec, 0, min(run_rows, self._batch_size()))
        if run_rows:
            _log.info(
                "a DataLoader has measured rows_per_claim=%d, and keeps it", self.known.run_rows
            )
        return self.known

    def make(self, spec: ItemSpec, batch_size: int = 0, run_rows: int = 0) -> BatchLayout:
        """Return the layout of rows for a spec.

        Args:
            spec: of an item.
            batch_size: rows of the largest batch; 0 for what the order says.
            run_rows: rows of a run; 0 for what the options say.
        """
        options = self._options
        shape = RingShape.of(options, spec.nbytes, batch_size or self._batch_size())
        sizes = LoaderSizes(
            shape.batch_size,
            run_rows or shape.run_rows,
            shape.num_buffers,
            max(1, options.num_workers),
        )
        nbytes = 0
        if options.num_workers:
            nbytes = LoaderRing.bytes_needed(spec.tree, sizes)
            check_max_bytes(nbytes, options.max_bytes, shape, spec.nbytes)
        return BatchLayout(spec, sizes, sizes.run_rows, nbytes)

    def _batch_size(self) -> int:
        # Batches have been drawn, or the arguments say it: the order knows its largest batch.
        return self._order.batch_size or self._options.batch_size or 1

    # ---------------------------------------------------------------- parcels

    def set_parcels(
        self, parcel_bytes: int, *, words: int = 0, run_rows: int = 0, reason: str = ""
    ) -> BatchLayout:
        """Return the layout of parcels of about a size, and keep it.

        Args:
            parcel_bytes: size of a parcel. The ring has more room, but never more than `max_bytes`.
            words: words of a task, at least.
            run_rows: as for `BatchLayout`; 0 for what the options say.
            reason: why batches are no rows, in words, for the log; "" if that was asked for.
        """
        if reason and not self.said:
            self.said = True
            _log.warning(
                "a DataLoader collates and pickles its batches as a whole, which is slower than "
                "rows of fixed shapes: %s",
                reason,
            )
        self.known = self.make_parcels(parcel_bytes, words, run_rows or self.run_rows)
        return self.known

    def make_parcels(self, parcel_bytes: int, words: int, run_rows: int) -> BatchLayout:
        """Return the layout of parcels of about a size."""
        options = self._options
        shape = RingShape.of(options, 0, self._batch_size())
        words = max(words, shape.batch_size + 1, 2)
        wanted = max(_SMALLEST_PARCEL, int(parcel_bytes * _SPARE))
        buffers = options.ring_buffers(wanted)
        sizes = LoaderSizes(words, words, buffers, max(1, options.num_workers))
        chunk = -(-wanted // words // _CHUNK) * _CHUNK
        if not options.num_workers:
            return BatchLayout(None, sizes, run_rows, 0, chunk * words)
        nbytes = self._parcel_ring_bytes(chunk, sizes)
        while options.max_bytes is not None and nbytes > options.max_bytes and chunk > _CHUNK:
            over = (nbytes - options.max_bytes) // (options.num_rings * sizes.num_buffers * words)
            chunk = max(_CHUNK, chunk - max(_CHUNK, over // _CHUNK * _CHUNK))
            nbytes = self._parcel_ring_bytes(chunk, sizes)
        shape = replace(shape, batch_size=1, num_buffers=buffers)
        check_max_bytes(nbytes, options.max_bytes, shape, chunk * words)
        return BatchLayout(None, sizes, run_rows, nbytes, chunk * words)

    def _parcel_ring_bytes(self, chunk: int, sizes: LoaderSizes) -> int:
        """Return the bytes of all rings together."""
        return LoaderRing.bytes_needed(_parcel_spec(chunk), sizes) * self._options.num_rings

    def grown(self, layout: BatchLayout, *, parcel_bytes: int = 0) -> BatchLayout | None:
        """Return the layout of a ring with more room for parcels; None if it may not grow."""
        larger = self.make_parcels(
            max(parcel_bytes, layout.parcel_bytes), layout.sizes.run_rows, layout.run_rows
        )
        if larger.parcel_bytes <= layout.parcel_bytes:
            return None
        self.known = larger
        return larger

    def fitting(self, layout: BatchLayout, batch: IndexBatch) -> BatchLayout:
        """Return the layout of a ring that has room for a batch which `layout` has none for.

        Raises:
            ValueError: the ring would be larger than `max_bytes`.
        """
        spec = layout.spec
        if spec is None:
            words = int(words_needed(batch) * _SPARE)
            self.known = self.make_parcels(layout.parcel_bytes, words, layout.run_rows)
        elif isinstance(batch.indices, tuple):
            return self.set_parcels(
                spec.nbytes * max(layout.sizes.batch_size, len(batch.indices)),
                words=words_needed(batch),
                run_rows=layout.run_rows,
                reason=f"a key of the sampler is no integer ({_first_other(batch.indices)})",
            )
        else:
            self.known = self.make(spec, int(len(batch.indices) * _SPARE), layout.run_rows)
        return self.known


def _parcel_spec(chunk: int) -> TreeSpec:
    return TreeSpec.from_example(np.zeros(chunk, np.uint8))


def _first_other(keys: tuple[Any, ...]) -> str:
    return next((type(key).__name__ for key in keys if type(key) is not int), "int")
