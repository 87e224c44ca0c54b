"""One epoch of a loop: its batches in order, the next one of which can be looked at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from shm_echo.loader.order import IndexBatch
from shm_echo.loader.sampler_tracking import Track

__all__ = ["AnnouncedBatch", "EpochOrder", "Position", "position_of"]

# Row numbers of a ring are unique over its loops: the number of the loop, then the position in the
# epoch. Epochs of 10**12 items fit.
_POSITION_BITS = 40


class Position(NamedTuple):
    """A place between two batches of an epoch.

    Attributes:
        batches: batches of the epoch before it.
        rows: items in them.
        sampler: what `Track.deliver` said there.
    """

    batches: int = 0
    rows: int = 0
    sampler: Any = None


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
        begun: True once a loop has this order; one that is announced ahead has none yet.
        finished: True once the loop has got all batches, and has seen that there is none behind.
        position: the place behind the last batch that the loop has got. One object, so that
            another thread sees parts that belong together.
        track: follows the sampler; None for own orders.
    """

    def __init__(self, number: int, epoch: int, batches: Iterator[IndexBatch]) -> None:
        self.epoch = epoch
        self.drawn = 0
        self.error: BaseException | None = None
        self._first_row = number << _POSITION_BITS
        self._batches = batches
        self._next: IndexBatch | None = None
        self._ended = False
        self._row_ends: deque[int] = deque()  # of batches that are drawn and not delivered
        self.begun = self.finished = False
        self.position = Position()
        self.track: Track | None = None

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
        if self._next is not None:
            self._row_ends.append(self._next.first_row + len(self._next.indices))
        self._next = None
        self.drawn += 1

    def deliver(self) -> None:
        """Note that the loop has got the next drawn batch, or the exception of one of its items."""
        rows = self._row_ends.popleft() if self._row_ends else self.position.rows
        sampler = None if self.track is None else self.track.deliver()
        self.position = Position(self.position.batches + 1, rows, sampler)

    def row_number(self, batch: IndexBatch) -> int:
        """Return the number, unique over all loops, of a batch's first row."""
        return self._first_row + batch.first_row

    @property
    def loop_row(self) -> int:
        """The first row number of the loop."""
        return self._first_row

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


class AnnouncedBatch(NamedTuple):
    """A batch that workers make.

    Attributes:
        order: the epoch that it belongs to.
        batch: its items.
        first_row: the number of its first row, in the order of all epochs.
    """

    order: EpochOrder
    batch: IndexBatch
    first_row: int
