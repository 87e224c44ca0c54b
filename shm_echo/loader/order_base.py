"""The base of every order of a loader: batches by epoch, and positions that can be stored."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from shm_echo.loader.samplers import Indices

__all__ = ["ROW_LIMIT", "IndexBatch", "Order", "shortened"]

STATE_VERSION = 1
# An epoch has fewer rows than this (2**40 = 1.1e12).
ROW_LIMIT = 2**40


class IndexBatch(NamedTuple):
    """The items of one batch.

    Attributes:
        first_row: position of its first item in the order of this epoch (and of this rank).
        epoch: epoch.
        indices: dataset indices, one per row; read-only.
    """

    first_row: int
    epoch: int
    indices: Indices


class Order:
    """The order of batches, epoch by epoch.

    Attributes:
        own: True if the order of a later epoch is known at any time. The order of another one is
            known only after `batches` was called, once per `iter()` of the loader.
        batch_size: the largest number of rows in a batch; None if that is not known yet.
    """

    own: bool = False
    batch_size: int | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: the sampler has no length.
        """
        raise NotImplementedError

    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        """Return the batches of an epoch, from batch number `start` on.

        A sampler of the user's is asked for its iterator in this call, and for its indices when
        the result is. Its exceptions come from there, after the batches before them.

        Raises:
            TypeError: (from the iterator) the sampler gave a key that is no integer.
            ValueError: (from the iterator) a batch sampler gave no list, an empty one, or one that
                is longer than `batch_size`.
        """
        raise NotImplementedError

    def state(self, epoch: int, batches: int) -> dict[str, Any]:
        """Return a position in the order, as a dict of strings and numbers that fits into JSON.

        Args:
            epoch: epoch.
            batches: number of its batches that the training loop has got.
        """
        return {
            "version": STATE_VERSION,
            "epoch": epoch,
            "batches": batches,
            "order": self._description(),
        }

    def resume(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Return epoch and number of batches of a position that `state` returned.

        Raises:
            ValueError: it is no such position, or that of another order; says what differs.
        """
        if not isinstance(state, Mapping) or state.get("version") != STATE_VERSION:
            raise ValueError(
                "this is no state of a loader's order of version "
                f"{STATE_VERSION}: {shortened(state)}"
            )
        saved, own = state.get("order"), self._description()
        if not isinstance(saved, Mapping):
            raise ValueError(f"this state of a loader has no order: {shortened(state)}")
        differences = [
            f"{name} was {saved.get(name)!r} and is {own.get(name)!r}"
            for name in sorted({*saved, *own}, key=str)
            if saved.get(name) != own.get(name)
        ]
        if differences:
            raise ValueError(f"the state is that of another loader: {'; '.join(differences)}")
        return _count(state, "epoch"), _count(state, "batches")

    def _description(self) -> dict[str, Any]:
        raise NotImplementedError


def _count(state: Mapping[str, Any], name: str) -> int:
    value = state.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} of a loader's state must be an int of at least 0, not {value!r}")
    return value


def shortened(value: object) -> str:
    """Return the text of a value for a message, cut if it is long."""
    return reprlib.repr(value)
