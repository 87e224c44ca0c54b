"""The iterator of a loader without workers: torch's own, in which `item_rng` works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data.dataloader import _DatasetKind, _SingleProcessDataLoaderIter

from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.randomness import ItemRandomness
from shm_echo.torch.device import DeviceCopies

__all__ = ["LocalIterator"]


class LocalIterator(_SingleProcessDataLoaderIter):
    """Gives batches that the loop's own process makes.

    Args:
        loader: the loader.
    """

    _sampler_iter: Iterator[Any]

    def __init__(self, loader: Any) -> None:
        self._loops = loops = loader._loops
        loops.restore_generators()
        super().__init__(loader)
        seed = loops.seed_of(self._base_seed, persistent=False)
        start = loops.start(seed, 0, self._sampler_iter)
        epoch = start.epoch
        self._order = EpochOrder(0, epoch, loops.order.batches(epoch, start.batches))
        loops.began(self._order, start, None)
        self._randomness = ItemRandomness(seed)
        fetcher = self._dataset_fetcher
        if self._dataset_kind == _DatasetKind.Iterable:
            fetcher.dataset_iter = items = _CountedItems(
                fetcher.dataset_iter, self._randomness, epoch
            )
            items.skip(start.batches * (loader.batch_size or 1))
        else:
            fetcher.dataset = _KeyedItems(fetcher.dataset, self._randomness, epoch)
            self._sampler_iter = _keys(self._order)
        self._copies = None if loader.device is None else DeviceCopies(loader.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this loop, for `load_state_dict` of a loader."""
        state: dict[str, Any] = self._loops.state(self._order)
        return state

    def _next_data(self) -> Any:
        try:
            with self._randomness.active():
                batch = super()._next_data()
        except StopIteration:
            self._order.finished = True
            raise
        except Exception:
            self._order.deliver()  # an item has raised: its batch is dropped
            raise
        self._order.deliver()
        return batch if self._copies is None else self._copies.copy(batch)


def _keys(order: EpochOrder) -> Iterator[Any]:
    """Yield the keys of the batches, as torch's fetcher takes them."""
    while (batch := order.peek()) is not None:
        order.advance()
        keys = batch.keys()
        yield keys[0] if batch.single else keys
    order.raise_error()


class _KeyedItems:
    """A dataset that notes which item it makes, for `item_rng`."""

    def __init__(self, dataset: Any, randomness: ItemRandomness, epoch: int) -> None:
        self._dataset, self._randomness, self._epoch = dataset, randomness, epoch
        if getattr(dataset, "__getitems__", None):
            self.__getitems__ = self._getitems

    def __getitem__(self, key: Any) -> Any:
        self._begin(key)
        return self._dataset[key]

    def _getitems(self, keys: Any) -> Any:
        if keys:
            self._begin(keys[0])
        return self._dataset.__getitems__(keys)

    def _begin(self, key: Any) -> None:
        if isinstance(key, int):
            self._randomness.at(self._epoch, key)


class _CountedItems:
    """The iterator of a dataset, which counts the items for `item_rng`."""

    def __init__(self, items: Any, randomness: ItemRandomness, epoch: int) -> None:
        self._items, self._randomness, self._epoch = items, randomness, epoch
        self._count = 0

    def skip(self, count: int) -> None:
        """Leave items out that an earlier loop has had."""
        with self._randomness.active():
            for _ in range(count):
                next(self, None)

    def __iter__(self) -> _CountedItems:
        return self

    def __next__(self) -> Any:
        self._randomness.at(self._epoch, self._count)
        self._count += 1
        return next(self._items)
