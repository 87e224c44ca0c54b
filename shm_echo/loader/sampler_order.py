"""The order of a sampler of the user's: `sampler=` and `batch_sampler=`.

It is drawn from after `iter()` of the loader only, one batch at a time, as torch's loader does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from shm_echo.loader.order_base import IndexBatch, Order, shortened
from shm_echo.loader.sampler_tracking import SamplerTracker, Track
from shm_echo.loader.samplers import Indices

__all__ = ["BatchSamplerOrder", "SamplerOrder"]

Keys: TypeAlias = Indices | tuple[Any, ...]

# A batch sampler that has no batch_size: the longest of so many lists is taken for it.
_LISTS_AHEAD = 64


class SamplerOrder(Order):
    """The order of a sampler of the user's: an iterable of dataset indices, or of other keys.

    Args:
        sampler: gives the keys of an epoch each time it is iterated. It sets its own seed and its
            own rank; call its `set_epoch`, if it has one, before `iter()` of the loader.
        batch_size: rows per batch; None for batches that are the item of one key each.
        drop_last: True to leave out a short last batch.

    Example:
        >>> from shm_echo.loader.sampler_order import SamplerOrder
        >>> order = SamplerOrder(range(9, 4, -1), batch_size=2)
        >>> [batch.indices.tolist() for batch in order.batches(epoch=0)]
        [[9, 8], [7, 6], [5]]
    """

    def __init__(
        self, sampler: Iterable[Any], *, batch_size: int | None, drop_last: bool = False
    ) -> None:
        self.batch_size: int = batch_size or 1
        self._single = batch_size is None
        self.tracker: SamplerTracker = SamplerTracker(sampler, self.batch_size)
        self._sampler = sampler
        self._drop_last = drop_last

    def __len__(self) -> int:
        rows = _length("sampler", self._sampler)
        return rows // self.batch_size if self._drop_last else -(-rows // self.batch_size)

    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        return self._batches(epoch, start, self.tracker.begin())

    def _batches(self, epoch: int, start: int, keys: Track) -> Iterator[IndexBatch]:
        size = self.batch_size
        first = keys.first_row
        # A failing sampler loses the keys that it gave for the batch it failed in.
        while chunk := list(islice(keys, size)):
            if len(chunk) < size and self._drop_last:
                return
            if first >= start * size:
                yield IndexBatch(first, epoch, _as_indices(chunk), self._single)
            first += len(chunk)
            if len(chunk) < size:
                return

    def description(self) -> dict[str, Any]:
        return {
            "kind": "sampler",
            "sampler": _type_name(self._sampler),
            "batch_size": None if self._single else self.batch_size,
            "drop_last": self._drop_last,
        }


class BatchSamplerOrder(Order):
    """The order of a batch sampler of the user's: an iterable of lists of indices or other keys.

    The lists may differ in length. The longest one that is expected is the sampler's attribute
    `batch_size` if it has one. Otherwise the first call of `batches` draws up to 64 lists ahead,
    and takes the longest of them.

    Args:
        batch_sampler: gives the lists of an epoch each time it is iterated.

    Attributes:
        lists_ahead: the number of lists that are drawn to learn the longest one.

    Example:
        >>> from shm_echo.loader.sampler_order import BatchSamplerOrder
        >>> order = BatchSamplerOrder([[0, 1, 2], [7], [4, 4]])
        >>> order.batch_size is None
        True
        >>> [(batch.first_row, batch.indices.tolist()) for batch in order.batches(epoch=0)]
        [(0, [0, 1, 2]), (3, [7]), (4, [4, 4])]
        >>> order.batch_size
        3
    """

    lists_ahead: int = _LISTS_AHEAD

    def __init__(self, batch_sampler: Iterable[Iterable[Any]]) -> None:
        self.tracker: SamplerTracker = SamplerTracker(batch_sampler, 1)
        self._sampler = batch_sampler
        size = getattr(batch_sampler, "batch_size", None)
        known = isinstance(size, int) and not isinstance(size, bool) and size > 0
        self.batch_size: int | None = size if known else None

    def __len__(self) -> int:
        return _length("batch_sampler", self._sampler)

    def batches(self, epoch: int, start: int = 0) -> Iterator[IndexBatch]:
        track = self.tracker.begin()
        drawn: list[Keys] = []
        failure: Exception | None = None
        if self.batch_size is None:
            try:
                drawn.extend(map(_list_of_keys, islice(track, self.lists_ahead)))
            except Exception as error:  # raised after the lists before it
                failure = error
            self.batch_size = max(map(len, drawn), default=None)
        return self._batches(epoch, start, track, _replayed(drawn, failure, track))

    def _batches(
        self, epoch: int, start: int, track: Track, lists: Iterator[Keys]
    ) -> Iterator[IndexBatch]:
        first = track.first_row
        for number, indices in enumerate(lists, track.first_batch):
            if number >= start:
                yield IndexBatch(first, epoch, indices)
            first += len(indices)

    def description(self) -> dict[str, Any]:
        return {"kind": "batch_sampler", "sampler": _type_name(self._sampler)}


def _replayed(drawn: list[Keys], failure: Exception | None, lists: Iterator[Any]) -> Iterator[Keys]:
    yield from drawn
    if failure is not None:
        raise failure
    yield from map(_list_of_keys, lists)


def _list_of_keys(keys: Any) -> Keys:
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(
            f"batch_sampler= must give lists of indices, and gave {shortened(keys)} "
            f"({type(keys).__name__}): an iterable of indices is passed as sampler="
        )
    listed = list(keys)
    if not listed:
        raise ValueError("batch_sampler= gave an empty list: a batch has at least one item")
    return _as_indices(listed)


def _as_indices(keys: list[Any]) -> Keys:
    """Return keys as an array of int64; as they are, in a tuple, if one of them is no such int."""
    if all(type(key) is int or isinstance(key, np.integer) for key in keys):
        try:
            indices = np.array(keys, dtype=np.int64)
        except OverflowError:
            return tuple(keys)
        indices.flags.writeable = False
        return indices
    return tuple(keys)


def _length(argument: str, sampler: Any) -> int:
    try:
        return len(sampler)
    except TypeError:
        raise TypeError(
            f"the loader has no len(), because its {argument}= ({_type_name(sampler)}) has none"
        ) from None


def _type_name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
