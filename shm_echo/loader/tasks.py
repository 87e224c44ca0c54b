"""The task of a worker that collates a batch: which items, as words of the ring's order table.

A ring of parcels has one slot per batch, and its order entry has room for some words of 64 bits.
The first one says what the others are: dataset indices, a pickle of other keys, or the number of a
batch in the worker's shard of an iterable.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shm_echo.loader.order_base import IndexBatch

__all__ = ["KeyTask", "StreamTask", "decode_task", "encode_keys", "encode_stream", "words_needed"]

_INDICES, _PICKLED, _STREAM = range(3)
_SINGLE_BIT = 8
_COUNT_SHIFT = 16


@dataclass(frozen=True)
class KeyTask:
    """Make the items of some keys.

    Attributes:
        keys: the keys.
        single: True if the batch is the item of the only key.
    """

    keys: list[Any]
    single: bool


@dataclass(frozen=True)
class StreamTask:
    """Make batch number `number` of the worker's shard."""

    number: int


def words_needed(batch: IndexBatch) -> int:
    """Return the number of words that a batch takes, and at least one for each of its rows."""
    if isinstance(batch.indices, tuple):
        return 1 + max(len(batch.indices), -(-len(_pickled(batch)) // 8))
    return 1 + len(batch.indices)


def encode_keys(batch: IndexBatch, words: int) -> npt.NDArray[np.int64] | None:
    """Return the task of a batch in so many words; None if they are too few."""
    entry = np.zeros(words, np.int64)
    flags = batch.single << _SINGLE_BIT
    if not isinstance(batch.indices, tuple):
        count = len(batch.indices)
        if 1 + count > words:
            return None
        entry[0] = _INDICES | flags | count << _COUNT_SHIFT
        entry[1 : 1 + count] = batch.indices
        return entry
    data = _pickled(batch)
    if 1 + max(len(batch.indices), -(-len(data) // 8)) > words:
        return None
    entry[0] = _PICKLED | flags | len(data) << _COUNT_SHIFT
    entry[1:].view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    return entry


def encode_stream(number: int, words: int) -> npt.NDArray[np.int64]:
    """Return the task of a batch of a shard in so many words, which are at least two."""
    entry = np.zeros(words, np.int64)
    entry[:2] = _STREAM, number
    return entry


def decode_task(words: Sequence[int]) -> KeyTask | StreamTask:
    """Return the task that was encoded."""
    kind, single = words[0] & 0xFF, bool(words[0] >> _SINGLE_BIT & 1)
    count = words[0] >> _COUNT_SHIFT
    if kind == _STREAM:
        return StreamTask(words[1])
    if kind == _INDICES:
        return KeyTask(list(words[1 : 1 + count]), single)
    data = np.array(words[1:], np.int64).tobytes()[:count]
    return KeyTask(list(pickle.loads(data)), single)


def _pickled(batch: IndexBatch) -> bytes:
    try:
        return pickle.dumps(batch.indices, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(
            f"the sampler gave keys that cannot be pickled for the workers: {error}"
        ) from error
