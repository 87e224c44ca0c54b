"""The steps around each item, in the process that makes it: generators, spec, conversion.

A worker and a loader with `num_workers=0` do the same through this class, so their batches are
equal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from shm_echo.loader.items import ItemSpec, RowWriter
from shm_echo.loader.order_base import ROW_LIMIT
from shm_echo.loader.randomness import (
    SEED_LIMIT,
    ItemRandomness,
    RunSeeds,
    generator_states,
    saved_generators,
    set_generator_states,
)

__all__ = ["ItemHooks"]


class ItemHooks:
    """Sets the generators for runs and items, and writes items into rows.

    It can be pickled before its first use: it goes to the workers with the dataset.

    Args:
        seed: base seed of the loader.
        rank: number of this process among the training processes.

    Attributes:
        spec: the spec of the dataset's items; None until `spec_of` was called or it was set.
    """

    def __init__(self, seed: int, rank: int = 0) -> None:
        self._seed, self._rank = seed, rank
        self._items = ItemRandomness(seed)
        self._runs = RunSeeds(seed, rank)
        self.spec: ItemSpec | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._seed, self._rank, self.spec)

    def activate(self) -> None:
        """Make `item_rng` work in this thread, for the rest of a worker's life."""
        self._items.activate()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make items in the training process inside the block.

        `item_rng` works there, and the global generators are put back afterwards.
        """
        with saved_generators(), self._items.active():
            yield

    def call_init_fn(self, function: Callable[[int], object], worker_id: int) -> None:
        """Call a `worker_init_fn`; generators that it seeds are left alone from then on."""
        self._runs.call_init_fn(lambda: function(worker_id), (self._seed + worker_id) % SEED_LIMIT)

    def begin_run(self, epoch: int, first_row: int) -> None:
        """Set the global generators for a run of rows.

        Args:
            epoch: epoch.
            first_row: position of its first row in the order of the epoch, in the low 40 bits: the
                ring's row numbers have the number of the loop above them.
        """
        self._runs.set_for_run(epoch, first_row & (ROW_LIMIT - 1))

    def begin_item(self, epoch: int, index: Any) -> None:
        """Set what `item_rng` returns to the generator of an item."""
        self._items.at(epoch, index)

    def end_items(self) -> None:
        """Let `item_rng` raise until the next item begins."""
        self._items.done()

    def spec_of(self, item: Any, index: int | None = None) -> ItemSpec:
        """Return the spec that the first item fixes, and keep it for `write`.

        Raises:
            TypeError: no batch can be made of such items.
            ValueError: the item has no leaves, or is nested too deeply.
        """
        self.spec = ItemSpec.from_item(item, index)
        return self.spec

    def write(self, rows: RowWriter, row: int, item: Any, index: int) -> None:
        """Write an item into a row.

        Raises:
            SpecMismatchError: it does not fit the first item.
        """
        assert self.spec is not None, "the spec is set before the first item is written"
        self.spec.write(rows, row, item, index)

    def mend(self, run: Any) -> tuple[int, Exception] | None:
        """Complete rows that the dataset has written in place: see `ItemSpec.mend`."""
        assert self.spec is not None
        return self.spec.mend(run)

    @staticmethod
    def state() -> dict[str, Any]:
        """Return the states of the global generators."""
        return generator_states()

    @staticmethod
    def restore(state: dict[str, Any]) -> None:
        """Set the global generators to the states that `state` returned."""
        set_generator_states(state)


def _rebuild(seed: int, rank: int, spec: ItemSpec | None) -> ItemHooks:
    hooks = ItemHooks(seed, rank)
    hooks.spec = spec
    return hooks
