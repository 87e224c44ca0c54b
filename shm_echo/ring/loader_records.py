"""The sizes of a loader's ring, and what its calls return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from shm_echo.ring.ring import RingConfig

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FailedRun", "LateRow", "LoaderBatch", "LoaderRingStats", "LoaderSizes"]


@dataclass(frozen=True)
class LoaderSizes:
    """The sizes of a loader's ring, on which both sides must agree.

    Attributes:
        batch_size: the rows of a full batch.
        run_rows: the rows that a worker claims together.
        num_buffers: batches in the ring.
        max_workers: the number of workers that may be attached at once.
        detailed: True to keep commit times and histograms.
    """

    batch_size: int
    run_rows: int
    num_buffers: int
    max_workers: int
    detailed: bool = False

    @property
    def slots(self) -> int:
        """The runs of a full batch."""
        return -(-self.batch_size // self.run_rows)

    def config(self) -> RingConfig:
        """Return the configuration of the ring.

        Raises:
            ValueError: a size is not positive.
        """
        for name in ("batch_size", "run_rows", "num_buffers", "max_workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        return RingConfig(
            self.slots, self.num_buffers, self.max_workers, self.detailed, self.run_rows
        )


class FailedRun(NamedTuple):
    """A run that its worker has committed with a status other than 0.

    Attributes:
        first_row: the number of its first row in the order of all epochs.
        rows: their number.
        status: as given to `Run.commit`.
    """

    first_row: int
    rows: int
    status: int


class LoaderBatch(NamedTuple):
    """A batch, complete.

    Attributes:
        arrays: one per leaf, each with a leading axis of `rows`.
        rows: the number of its rows.
        first_row: the number of the first one in the order of all epochs.
        failed: its runs that have failed; the content of their rows is undefined.
    """

    arrays: list[np.ndarray[Any, Any]]
    rows: int
    first_row: int
    failed: tuple[FailedRun, ...]


@dataclass(frozen=True)
class LateRow:
    """The first row of the awaited batch that is not finished.

    Attributes:
        slot: the slot of the ring in which it lies.
        row: its number in the order of all epochs.
        index: the item of the dataset.
        owner: the owner id of the worker that makes it; None if no worker has claimed it.
    """

    slot: int
    row: int
    index: int
    owner: int | None


class LoaderRingStats(NamedTuple):
    """The state of a loader's ring.

    Attributes:
        announced, taken: batches so far; cancelled ones that are over count as taken.
        ready: batches that are complete and not taken.
        free_buffers: buffers that are neither announced nor held.
        held: batches that the training loop holds.
        copied: batches that were copied so far, because the last free buffer would have been held.
    """

    announced: int
    taken: int
    ready: int
    free_buffers: int
    held: int
    copied: int
