"""The ways in which a dataset makes a whole batch, which its worker collates.

`BatchSource` asks a dataset for the items of keys. `StreamSource` iterates a dataset: a batch is
the next items of a worker's shard.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from shm_echo.errors import SpecMismatchError
from shm_echo.loader.collation import LeafError, UnequalItemsError
from shm_echo.loader.item_sources import find_way, listed_items
from shm_echo.loader.messages import Hooks, Recipe
from shm_echo.loader.order_base import ROW_LIMIT

__all__ = ["BatchSource", "StreamSource", "ignore_row"]

# Says at which row of the batch a worker is.
AtRow = Callable[[int], None]


def ignore_row(place: int) -> None:
    """Do nothing: nobody watches."""


class BatchSource:
    """Makes batches from the items of keys.

    Args:
        dataset: makes items.
        hooks: what the loader does around items.
        recipe: makes batches of them.

    Attributes:
        batched: True if the items of a run are made together.
        key: the key at work, for error messages; None while a batch is collated.
    """

    def __init__(self, dataset: Any, hooks: Hooks, recipe: Recipe) -> None:
        self._dataset = dataset
        self._hooks = hooks
        self._recipe = recipe
        self.batched = find_way(dataset, items=True) == "getitems"
        self.key: Any = None

    def make(
        self,
        keys: list[Any],
        *,
        first_row: int,
        epoch: int,
        run_rows: int,
        single: bool = False,
        at_row: AtRow = ignore_row,
        is_singly: Callable[[int], bool] = lambda _: False,
        made: list[Any] | None = None,
    ) -> Any:
        """Return the batch of some keys.

        Args:
            keys: the keys.
            first_row, epoch: the place of the first one in the order.
            run_rows: rows after which the global generators are set anew.
            single: True if the batch is the item of the only key.
            at_row: called with the number of each row before it is made.
            is_singly: asked with the first row of each run; True to make its rows one by one even
                if the dataset makes them together.
            made: the first items, if the last thing that happened here was that they were made.
        """
        items = list(made or ())
        while len(items) < len(keys):
            place = len(items)
            rest = run_rows - place % run_rows
            if rest == run_rows:
                self._hooks.begin_run(epoch, first_row + place)
            part = keys[place : place + rest]
            if self.batched and not (rest == run_rows and is_singly(first_row + place)):
                at_row(place)
                self.key = part[0]
                self._hooks.begin_item(epoch, part[0])
                items += listed_items(self._dataset, list(part))
                continue
            for key in part:
                at_row(len(items))
                self.key = key
                self._hooks.begin_item(epoch, key)
                items.append(self._make_item(key))
        self.key = None
        return collated(self._recipe, items, keys, single)

    def _make_item(self, key: Any) -> Any:
        if hasattr(self._dataset, "__getitem__"):
            return self._dataset[key]
        return listed_items(self._dataset, [key])[0]


class StreamSource:
    """Makes batches of the items of a shard.

    A shard's batch depends on its number only. If another one than the next is asked for, as by a
    worker that replaces a dead one, the dataset is iterated anew, and the items before are dropped.

    Args:
        dataset: an iterable, which gives the shard of this process.
        hooks: what the loader does around items.
        recipe: makes batches; says how many items one has.
        worker: number of this worker.
        num_workers: number of shards.

    Attributes:
        key: number of the item at work in the shard, for error messages; None while a batch is
            collated.
    """

    def __init__(
        self, dataset: Any, hooks: Hooks, recipe: Recipe, worker: int = 0, num_workers: int = 1
    ) -> None:
        self._dataset = dataset
        self._hooks = hooks
        self._recipe = recipe
        self._worker, self._num_workers = worker, num_workers
        self._size = recipe.batch_size or 1
        self._place: tuple[int, int] | None = None  # number of the loop, and of the next batch
        self._items: Iterator[Any] | None = None
        self.key: Any = None

    def row_of(self, loop: int, number: int) -> int:
        """Return the row number of the first item of a batch."""
        return loop * ROW_LIMIT + (number * self._num_workers + self._worker) * self._size

    def make(
        self, loop: int, number: int, epoch: int, at_row: AtRow = ignore_row
    ) -> tuple[Any, int] | None:
        """Return a batch of the shard and its number of items; None if the shard has ended.

        Args:
            loop: number of the loop; a new one iterates the dataset anew.
            number: number of the batch in the shard.
            epoch: epoch.
            at_row: called with the number of each item in its batch before it is made.
        """
        if self._place is None or self._place[0] != loop or self._place[1] > number:
            self._place, self._items = (loop, 0), None
        while self._place[1] < number:
            try:
                self._draw(loop, self._place[1], epoch, ignore_row)
            except Exception:  # its batch has failed before, too
                continue
        items = self._draw(loop, number, epoch, at_row)
        short = len(items) < self._size
        if not items or (short and self._recipe.drop_last):
            return None
        first = number * self._size
        keys = list(range(first, first + len(items)))
        self.key = None
        return collated(self._recipe, items, keys, self._recipe.batch_size is None), len(items)

    def _draw(self, loop: int, number: int, epoch: int, at_row: AtRow) -> list[Any]:
        self._place = loop, number + 1  # also if an item raises: its batch is lost
        self._hooks.begin_run(epoch, self.row_of(loop, number))
        drawn: list[Any] = []
        first = number * self._size
        for place in range(self._size):
            self.key = first + place
            at_row(place)
            self._hooks.begin_item(epoch, self.key * self._num_workers + self._worker)
            if self._items is None:
                self._items = iter(self._dataset)
            try:
                drawn.append(next(self._items))
            except StopIteration:
                self._items = itertools.repeat(None, 0)  # ended, even if it would go on
                break
        return drawn


def collated(recipe: Recipe, items: list[Any], keys: list[Any], single: bool) -> Any:
    """Return the batch of some items.

    Raises:
        SpecMismatchError: items of the batch differ.
        TypeError: no array can be made of a leaf of an item.
        Exception: `collate_fn` has raised it.
    """
    face = recipe.face
    try:
        if single:
            return (recipe.collate_fn or face.default_convert)(items[0])
        return (recipe.collate_fn or face.default_collate)(items)
    except UnequalItemsError as error:
        where = f" at {error.path}" if error.path else ""
        raise SpecMismatchError.worded(
            error.path,
            f"item {keys[error.place]} of the dataset differs from item {keys[0]}, the first one "
            f"of its batch{where}: {error.detail}",
        ) from None
    except LeafError as error:
        raise TypeError(f"item {keys[error.place]} of the dataset: {error}") from None
