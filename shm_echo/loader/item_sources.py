"""The ways in which a dataset fills the rows of a run."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from shm_echo.errors import SpecMismatchError
from shm_echo.loader.messages import Hooks, Run

__all__ = ["ItemSource", "Way", "find_way", "listed_items"]

# The methods of a dataset, fastest first: rows of a run in place; one row in place; the items of a
# run; one item.
Way = Literal["getitems_out", "load_into", "getitems", "getitem"]


def find_way(dataset: Any, *, items: bool = False) -> Way:
    """Return the fastest method that a dataset has.

    Args:
        dataset: the dataset.
        items: True for methods that return items only: "getitems" or "getitem".

    Raises:
        TypeError: it has none.
    """
    getitems = getattr(dataset, "__getitems__", None)
    if callable(getitems):
        if _takes_out(getitems):
            if not items:
                return "getitems_out"
            getitems = None
        # torch's Subset has the method even if its dataset has not, and then only repeats
        # __getitem__: with that the worker knows at which item it is.
        inner = dataset
        while type(inner).__name__ == "Subset" and hasattr(inner, "dataset"):
            inner = inner.dataset
        if not hasattr(inner, "__getitems__"):
            getitems = None
    if not items and callable(getattr(dataset, "load_into", None)):
        return "load_into"
    if callable(getitems):
        return "getitems"
    if hasattr(dataset, "__getitem__"):
        return "getitem"
    raise TypeError(
        f"the dataset ({type(dataset).__name__}) has neither __getitem__ nor "
        + ("a __getitems__ that returns items" if items else "__getitems__")
    )


def _takes_out(method: Any) -> bool:
    try:
        return "out" in inspect.signature(method).parameters
    except (TypeError, ValueError):  # a function in C without a signature
        return False


class ItemSource:
    """Makes the items of runs.

    Args:
        dataset: makes them.
        hooks: what the loader does around items.

    Attributes:
        batched: True if the rows of a run are made together.
        returns_items: True if the dataset returns items, and does not write them in place.
        index: the item at work, for error messages.
    """

    def __init__(self, dataset: Any, hooks: Hooks) -> None:
        self._dataset = dataset
        self._hooks = hooks
        self._way = find_way(dataset)
        self.batched = self._way in ("getitems", "getitems_out")
        self.returns_items = self._way in ("getitem", "getitems")
        self.index: int | None = None
        self._fits = True  # until an item needs a conversion: others will be like it
        self._kept: tuple[int, int, int, Any, Any] | None = None

    def make_first(self, row: int, epoch: int, index: int) -> Any:
        """Make an item before there is a ring, and return it. It is kept for its row.

        The state of the generators after it is kept, too: the rows that follow find them as if the
        item had been made in its turn.
        """
        self.index = index
        self._kept = None
        self._hooks.begin_run(epoch, row)
        self._hooks.begin_item(epoch, index)
        if hasattr(self._dataset, "__getitem__"):
            item = self._dataset[index]
        else:
            item = listed_items(self._dataset, [index])[0]
        if self._way == "getitem":
            self._kept = row, epoch, index, item, self._hooks.state()
        return item

    def forget_first(self) -> None:
        """Drop the item that is kept."""
        self._kept = None

    def fill(self, run: Run, *, singly: bool = False) -> None:
        """Write all rows of a run.

        Args:
            run: the rows, and the indices of their items.
            singly: True to make the rows one by one even if the dataset makes them together.
        """
        self.index = run.indices[0]
        self._hooks.begin_run(run.epoch, run.first_row)
        if self.batched and not singly:
            self._fill_together(run)
        elif self._way == "getitem":
            self._fill_items(run)
        else:
            self._fill_rows(run)

    def _fill_items(self, run: Run) -> None:
        dataset, begin_item = self._dataset, self._hooks.begin_item
        at_row, write, epoch, indices = run.at_row, run.write, run.epoch, run.indices
        first = 0 if self._kept is None else self._write_kept(run)
        for place in range(first, len(indices)):
            index = self.index = indices[place]
            at_row(place)
            begin_item(epoch, index)
            item = dataset[index]
            if self._fits:
                try:
                    # In C. The two calls in Python of hooks.write cost a tenth of a small item.
                    write(place, item)
                    continue
                except (SpecMismatchError, TypeError):
                    pass
            self._hooks.write(run, place, item, index)  # converts it, or words the error
            self._fits = False

    def _write_kept(self, run: Run) -> int:
        """Write the item that was made first, if it belongs to this run; return 1, or 0."""
        assert self._kept is not None
        row, epoch, index, item, state = self._kept
        if (row, epoch, index) != (run.first_row, run.epoch, run.indices[0]):
            return 0
        self._kept = None
        run.at_row(0)
        self._hooks.write(run, 0, item, index)
        self._hooks.restore(state)
        return 1

    def _fill_rows(self, run: Run) -> None:
        """Fill the rows one by one, by a method that is not `__getitem__`."""
        for place, index in enumerate(run.indices):
            self.index = index
            run.at_row(place)
            self._hooks.begin_item(run.epoch, index)
            if self._way == "load_into":
                self._dataset.load_into(index, run.row(place))
            elif self._way == "getitems":
                self._hooks.write(run, place, listed_items(self._dataset, [index])[0], index)
            else:
                self._dataset.__getitems__([index], out=_one_row(run.tree, place))
        if self._way != "getitems":
            self._mend(run)

    def _fill_together(self, run: Run) -> None:
        indices = list(run.indices)
        run.at_row(0)
        self._hooks.begin_item(run.epoch, indices[0])
        if self._way == "getitems_out":
            self._dataset.__getitems__(indices, out=run.tree)
            self._mend(run)
            return
        for place, item in enumerate(listed_items(self._dataset, list(indices))):
            self.index = indices[place]
            self._hooks.write(run, place, item, indices[place])

    def _mend(self, run: Run) -> None:
        wrong = self._hooks.mend(run)
        if wrong is not None:
            self.index = run.indices[wrong[0]]
            raise wrong[1]


def listed_items(dataset: Any, keys: list[Any]) -> list[Any]:
    """Return the items of some keys, by `__getitems__`.

    Raises:
        TypeError: it did not return a list of as many items.
    """
    items = dataset.__getitems__(keys)
    if not isinstance(items, list) or len(items) != len(keys):
        size = f" of {len(items)}" if isinstance(items, (list, tuple)) else ""
        raise TypeError(
            f"{type(dataset).__name__}.__getitems__ returned {type(items).__name__}{size} for "
            f"{len(keys)} indices, and must return a list of as many items; stacked rows are "
            "written into `out` by __getitems__(indices, out=)"
        )
    return items


def _one_row(tree: Any, place: int) -> Any:
    """Return the part of stacked arrays that is one row, as a stack of one."""
    from optree import tree_map

    return tree_map(lambda array: array[place : place + 1], tree)
