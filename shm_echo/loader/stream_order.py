"""The order of a dataset that is iterated: it is the dataset's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shm_echo.loader.order_base import IndexBatch, Order

__all__ = ["StreamOrder"]


class StreamOrder(Order):
    """The order of a dataset that is iterated. Nobody knows its items before they come.

    Args:
        dataset: an iterable.
        batch_size: items per batch; None for batches that are one item each.
        drop_last: True to leave out a last batch of a shard if it is short.
        shards: number of shards.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int | None,
        drop_last: bool = False,
        shards: int = 1,
    ) -> None:
        self.batch_size: int = batch_size or 1
        self._single = batch_size is None
        self._dataset = dataset
        self._drop_last = drop_last
        self._shards = shards

    def __len__(self) -> int:
        """Return the number of batches if one worker makes them all.

        Raises:
            TypeError: the dataset has no length.
        """
        try:
            items = len(self._dataset)
        except TypeError:
            raise TypeError(
                f"the loader has no len(), because its dataset ({type(self._dataset).__qualname__})"
                " can only be iterated and has none"
            ) from None
        return items // self.batch_size if self._drop_last else -(-items // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        """Return an empty iterator: the workers know when their shards have ended."""
        return iter(())

    def description(self) -> dict[str, Any]:
        kind = type(self._dataset)
        return {
            "kind": "iterable",
            "dataset": f"{kind.__module__}.{kind.__qualname__}",
            "batch_size": None if self._single else self.batch_size,
            "drop_last": self._drop_last,
            "shards": self._shards,
        }
