"""The base of every order of a loader: batches by epoch."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from shm_echo.loader.sampler_tracking import SamplerTracker
from shm_echo.loader.samplers import Indices

__all__ = ["ROW_LIMIT", "IndexBatch", "Order", "shortened"]

# An epoch has fewer rows than this (2**40 = 1.1e12).
ROW_LIMIT = 2**40


class IndexBatch(NamedTuple):
    """The items of one batch.

    Attributes:
        first_row: position of its first item in the order of this epoch (and of this rank).
        epoch: epoch.
        indices: dataset indices, one per row, as a read-only array of int64; or a tuple of keys,
            at least one of which is no such integer.
        single: True if the batch is the item of its one key itself (`batch_size=None`).
    """

    first_row: int
    epoch: int
    indices: Indices | tuple[Any, ...]
    single: bool = False

    def keys(self) -> list[Any]:
        """Return the keys that the dataset is asked for: Python integers, or other objects."""
        indices = self.indices
        return list(indices) if isinstance(indices, tuple) else indices.tolist()


class Order(ABC):
    """The order of batches, epoch by epoch.

    Attributes:
        own: True if the order of a later epoch is known at any time. The order of another one is
            known only after `batches` was called, once per `iter()` of the loader.
        batch_size: the largest number of rows in a batch, as far as that is known; None if nothing
            is known yet. A list of a batch sampler may be longer.
        tracker: follows the sampler of the user's; None if there is none.
    """

    own: bool = False
    batch_size: int | None = None
    tracker: SamplerTracker | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: the sampler has no length.
        """

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        """Return the batches of an epoch, from batch number `start` on.

        Where `tracker` has restored a position, `start` must be the batches before it.

        A sampler of the user's is asked for its iterator in this call, and for its indices when
        the result is. Its exceptions come from there, after the batches before them.

        Raises:
            TypeError: (from the iterator) a batch sampler gave no list.
            ValueError: (from the iterator) a batch sampler gave an empty list.
        """

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return the arguments that decide about the order, as JSON: equal for equal orders."""


def shortened(value: object) -> str:
    """Return the text of a value for a message, cut if it is long."""
    return reprlib.repr(value)
