"""A run of rows outside of any ring, in memory of this process."""

from __future__ import annotations

from typing import Any

import numpy as np

from shm_echo.spec import TreeSpec
from shm_echo.spec.ragged_batch import mend_rows

__all__ = ["PrivateRun"]


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

    def mend(self) -> tuple[int, str, int] | None:
        """Fill the memory behind ragged rows that were written in place.

        Returns:
            Row, path and length of one whose length is wrong; None if all is well.
        """
        for row, ragged in self._spec.ragged.items():
            wrong = mend_rows(ragged, self.views[row], self.views[row + 1])
            if wrong is not None:
                return wrong[0], self._spec.leaves[row].path, wrong[1]
        return None

    def commit(self, status: int = 0, /) -> None:
        """Do nothing: the rows belong to the loop already."""
