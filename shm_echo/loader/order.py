"""The order of a loader: which items each batch of an epoch has.

It depends on the dataset's length, the sampler and the seed, and on nothing that happens while the
loader runs. `OwnOrder` computes it for any epoch; the orders of `sampler_order` draw it from an
object of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from shm_echo.loader.order_base import IndexBatch, Order
from shm_echo.loader.sampler_order import BatchSamplerOrder, SamplerOrder
from shm_echo.loader.samplers import PositionMap, Weights, sequential, shuffled
from shm_echo.loader.stream_order import StreamOrder

__all__ = ["IndexBatch", "Order", "OwnOrder", "make_order"]

# Positions are computed for so many rows at a time, or for one batch if it is larger.
_BLOCK_ROWS = 16384


class OwnOrder(Order):
    """Sequential, shuffled or weighted order, for one rank of several.

    Row p of rank r is position `p * world_size + r` of the whole order: rank by rank, as torch's
    DistributedSampler shares items out. All ranks have the same number of rows. If the items do not
    divide, the order goes on with its first items (a weighted one with further draws); with
    `drop_last` it leaves the last ones out instead.

    The length of the dataset is read at each use: a dataset may grow between epochs.

    Args:
        dataset: anything with a length.
        batch_size: rows per batch; None for batches that are one item each.
        shuffle: True for a new random order in each epoch.
        seed: base seed.
        drop_last: True to leave out a short last batch.
        rank: number of this process among the training processes.
        world_size: number of training processes.
        weights: None, or how likely each item is to be drawn, with replacement; an epoch has as
            many draws as the dataset has items.

    Example:
        >>> from shm_echo.loader.order import OwnOrder
        >>> order = OwnOrder("abcde", batch_size=2, shuffle=False, seed=0)
        >>> [batch.indices.tolist() for batch in order.batches(epoch=0)]
        [[0, 1], [2, 3], [4]]
    """

    own = True

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int | None,
        seed: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        weights: Any = None,
    ) -> None:
        self.batch_size: int = batch_size or 1
        self._single = batch_size is None
        self._dataset = dataset
        self._seed = seed
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._rank, self._world_size = rank, world_size
        self._weights = None if weights is None else Weights(weights, len(dataset))

    def rows(self) -> int:
        """Return the number of rows of this rank in an epoch."""
        return self._rows_of(len(self._dataset))

    def _rows_of(self, length: int) -> int:
        whole, rest = divmod(length, self._world_size)
        share = whole + (rest > 0 and not self._drop_last)
        return share - share % self.batch_size if self._drop_last else share

    def __len__(self) -> int:
        return -(-self.rows() // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        length = len(self._dataset)
        return self._batches(epoch, start, length, self._items(epoch, length))

    def _items(self, epoch: int, length: int) -> PositionMap:
        """Return the item of each position of the whole order."""
        if self._weights is not None:
            if self._weights.length != length:
                raise ValueError(
                    f"the dataset has {length:,} items now, and weights has "
                    f"{self._weights.length:,} numbers: make a new loader"
                )
            return self._weights.draws(self._seed, epoch)
        inside = shuffled(length, self._seed, epoch) if self._shuffle else sequential
        if self._world_size == 1:
            return inside
        return lambda positions: inside(positions % length)

    def _batches(
        self, epoch: int, start: int, length: int, items: PositionMap
    ) -> Iterator[IndexBatch]:
        rows, size = self._rows_of(length), self.batch_size
        block_rows = max(1, _BLOCK_ROWS // size) * size
        for block in range(start * size, rows, block_rows):
            end = min(block + block_rows, rows)
            positions = np.arange(block, end, dtype=np.int64)
            if self._world_size > 1:
                positions *= self._world_size
                positions += self._rank
            indices = items(positions)
            indices.flags.writeable = False
            for first in range(block, end, size):
                rows_here = indices[first - block : first - block + size]
                yield IndexBatch(first, epoch, rows_here, self._single)

    def description(self) -> dict[str, Any]:
        kind = "shuffled" if self._shuffle else "sequential"
        weights = {} if self._weights is None else {"weights": self._weights.digest()}
        return {
            "kind": kind if self._weights is None else "weighted",
            "length": len(self._dataset),
            "batch_size": None if self._single else self.batch_size,
            "seed": self._seed,
            "drop_last": self._drop_last,
            "rank": self._rank,
            "world_size": self._world_size,
            **weights,
        }


def make_order(
    dataset: Any,
    *,
    batch_size: int | None,
    seed: int,
    shuffle: bool = False,
    sampler: Iterable[Any] | None = None,
    batch_sampler: Iterable[Iterable[Any]] | None = None,
    drop_last: bool = False,
    rank: int = 0,
    world_size: int = 1,
    weights: Any = None,
    shards: int = 0,
) -> Order:
    """Return the order that a loader's checked arguments describe; nothing is drawn.

    Args:
        shards: number of workers that iterate the dataset; 0 if it is asked for items.

    Raises:
        TypeError: weights are not numbers.
        ValueError: weights do not fit the dataset.
    """
    if shards:
        return StreamOrder(dataset, batch_size=batch_size, drop_last=drop_last, shards=shards)
    if batch_sampler is not None:
        return BatchSamplerOrder(batch_sampler)
    if sampler is not None:
        return SamplerOrder(sampler, batch_size=batch_size, drop_last=drop_last)
    return OwnOrder(
        dataset,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        drop_last=drop_last,
        rank=rank,
        world_size=world_size,
        weights=weights,
    )
