"""One epoch of a loop: its batches in order, the next one of which can be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from shm_echo.loader.order import IndexBatch

__all__ = ["EpochOrder", "position_of"]

# Row numbers of a ring are unique over its loops: the number of the loop, then the position in the
# epoch. Epochs of 10**12 items fit.
_POSITION_BITS = 40


class EpochOrder:
    """The batches of one loop over one epoch.

    Args:
        number: number of the loop among those of one ring, from 0.
        epoch: epoch.
        batches: its batches.

    Attributes:
        epoch: epoch.
        drawn: number of batches that were taken by `advance`.
        error: the exception of the sampler, which is raised after the batches before it.
    """

    def __init__(self, number: int, epoch: int, batches: Iterator[IndexBatch]) -> None:
        self.epoch = epoch
        self.drawn = 0
        self.error: BaseException | None = None
        self._first_row = number << _POSITION_BITS
        self._batches = batches
        self._next: IndexBatch | None = None
        self._ended = False

    def peek(self) -> IndexBatch | None:
        """Return the next batch; None at the end of the epoch, or if the sampler raised."""
        if self._next is None and not self._ended:
            try:
                self._next = next(self._batches, None)
            except Exception as error:
                self.error = error
            self._ended = self._next is None
        return self._next

    def advance(self) -> None:
        """Go on behind the batch that `peek` returned."""
        self._next = None
        self.drawn += 1

    def row_number(self, batch: IndexBatch) -> int:
        """Return the number, unique over all loops, of a batch's first row."""
        return self._first_row + batch.first_row

    def end(self) -> None:
        """Give no more batches."""
        self._next, self._ended, self._batches = None, True, iter(())

    def raise_error(self) -> None:
        """Raise the exception of the sampler, once, if there was one."""
        error, self.error = self.error, None
        if error is not None:
            raise error


def position_of(row_number: int) -> int:
    """Return the position in its epoch of a row number."""
    return row_number & ((1 << _POSITION_BITS) - 1)
