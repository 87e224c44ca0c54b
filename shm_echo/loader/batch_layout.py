"""The layout of a loader's batches: the spec of an item, and how many rows make a run."""

from __future__ import annotations

from dataclasses import dataclass

from shm_echo.loader.items import ItemSpec
from shm_echo.loader.options import LoaderOptions, RingShape, check_max_bytes
from shm_echo.loader.order import Order
from shm_echo.ring.loader_ring import LoaderRing, LoaderSizes

__all__ = ["BatchLayout", "Layouts"]


@dataclass(frozen=True)
class BatchLayout:
    """The structure that the first item of a loader has fixed.

    Attributes:
        spec: of an item.
        sizes: of the ring.
        nbytes: bytes of the ring.
    """

    spec: ItemSpec
    sizes: LoaderSizes
    nbytes: int

    @property
    def run_rows(self) -> int:
        """The rows of a run."""
        return self.sizes.run_rows


class Layouts:
    """The layout of a loader's batches: made once, by the first item, for all of its loops.

    Args:
        options: of the loader.
        order: knows the largest batch.

    Attributes:
        known: the layout; None before the first item.
    """

    def __init__(self, options: LoaderOptions, order: Order) -> None:
        self._options = options
        self._order = order
        self.known: BatchLayout | None = None
        if options.item_spec is not None and order.batch_size is not None:
            self.known = self.make(options.item_spec)

    def get(self) -> BatchLayout | None:
        """Return the layout; None if only an item can tell."""
        if self.known is None and self._options.item_spec is not None:
            self.known = self.make(self._options.item_spec)
        return self.known

    def set(self, spec: ItemSpec) -> BatchLayout:
        """Return the layout that the spec of the first item fixes, and keep it.

        Raises:
            ValueError: the ring would be larger than `max_bytes`, or than any ring can be.
        """
        self.known = self.make(spec)
        return self.known

    def make(self, spec: ItemSpec) -> BatchLayout:
        """Return the layout for a spec."""
        options = self._options
        # Batches have been drawn, or the arguments say it: the order knows its largest batch.
        shape = RingShape.of(options, spec.nbytes, self._order.batch_size or options.batch_size)
        sizes = LoaderSizes(
            shape.batch_size, shape.run_rows, shape.num_buffers, max(1, options.num_workers)
        )
        nbytes = 0
        if options.num_workers:
            nbytes = LoaderRing.bytes_needed(spec.tree, sizes)
            check_max_bytes(nbytes, options.max_bytes, shape, spec.nbytes)
        return BatchLayout(spec, sizes, nbytes)
