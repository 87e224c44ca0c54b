"""Datasets whose batches do not fit rows. Importable, so that spawned workers find them."""

from __future__ import annotations

import collections
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from shm_echo.loader import item_rng, worker_info

__all__ = ["KINDS", "Listed", "Made", "Shards", "as_plain", "pad", "pid_and_items"]

Point = collections.namedtuple("Point", "x y")


class Made:
    """Items that a function makes of their keys."""

    def __init__(self, length: int, make: Callable[[Any], Any]) -> None:
        self.length = length
        self.make = make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: Any) -> Any:
        return self.make(key)


class Listed(Made):
    """The same, made together."""

    def __getitems__(self, keys: list[Any]) -> list[Any]:
        return [self.make(key) for key in keys]


class Shards:
    """An iterable: worker w of n gives the numbers w, w + n, ... below a length."""

    def __init__(self, length: int, make: Callable[[int], Any] = lambda number: number) -> None:
        self.length = length
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        info = worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return map(self.make, range(first, self.length, step))


def pad(items: list[Any]) -> Any:
    """Collate texts of numbers, as an NLP collator does: padded to the longest of the batch."""
    width = max(len(item) for item in items)
    rows = np.zeros((len(items), width), np.int64)
    for row, item in zip(rows, items, strict=True):
        row[: len(item)] = item
    return {"ids": rows, "lengths": [len(item) for item in items]}


def pid_and_items(items: list[Any]) -> Any:
    """Collate numbers into a batch that says which process made it."""
    return {"pid": os.getpid(), "items": np.repeat(items, 200)}


def text(index: int) -> Any:
    """Return an item with strings, bytes, an object and None."""
    return {"text": "x" * (index % 5), "raw": bytes([index]), "none": None, "set": {index}}


def growing(index: int) -> Any:
    """Return an array whose length is its index."""
    return np.arange(index)


def blocks(index: int) -> Any:
    """Return arrays of another shape, and then of another dtype, every 12 items."""
    shape = ((3,), (2, 2), (4,))[index // 12]
    return Point(np.full(shape, index, np.float64 if index < 24 else np.int32), index)


def numbers(index: int) -> Any:
    """Return ints first, and floats later."""
    return index if index < 12 else index + 0.5


def drawn(index: Any) -> Any:
    """Return numbers from each source of random numbers, with a text."""
    return f"{index}", item_rng().random(), random.random(), np.random.rand()


def tokens(index: int) -> list[int]:
    """Return a list of some length."""
    return list(range(index % 7 + 1))


def big(index: int) -> Any:
    """Return an array that is much larger for some items."""
    return np.full(100_000 if index % 10 == 9 else 10, index)


def echoed(key: Any) -> Any:
    """Return the key as a text, and its kind."""
    return f"{key!r}"


LISTS = [[0], [1, 2, 3], list(range(30)), [7, 7], list(range(29, 0, -1)), [4]]
KEYS = ["a", ("b", 1), 3, 2**70, None, 1.5, b"c", True, ("d", ("e",)), "f" * 100]

KINDS: list[tuple[str, Any, dict[str, Any]]] = [
    ("text", Made(30, text), {"batch_size": 4, "shuffle": True}),
    ("text, made together", Listed(30, text), {"batch_size": 4, "shuffle": True}),
    ("single", Made(17, text), {"batch_size": None, "shuffle": True}),
    ("growing, one each", Made(17, growing), {"batch_size": 1}),
    ("shapes that change", Made(36, blocks), {"batch_size": 4}),
    ("ints, then floats", Made(30, numbers), {"batch_size": 4}),
    ("padded", Made(30, tokens), {"batch_size": 4, "shuffle": True, "collate_fn": pad}),
    ("drawn", Made(30, drawn), {"batch_size": 6, "shuffle": True, "rows_per_claim": 4}),
    ("big ones", Made(40, big), {"batch_size": None}),
    ("lists", Made(30, numbers), {"batch_sampler": LISTS}),
    ("lists of text", Made(30, text), {"batch_sampler": LISTS}),
    ("keys", Made(30, echoed), {"batch_size": 3, "sampler": KEYS}),
    ("keys, one each", Made(30, echoed), {"batch_size": None, "sampler": KEYS}),
    ("ints, then keys", Made(9, numbers), {"batch_size": 2, "sampler": [0, 1, 2, 3, True, 5]}),
]


def as_plain(batch: Any) -> Any:
    """Return a batch as nested tuples and lists, which can be compared; arrays with their dtype."""
    if isinstance(batch, np.ndarray):
        return batch.dtype.str, batch.tolist()
    if isinstance(batch, dict):
        return {key: as_plain(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch).__name__, [as_plain(value) for value in batch]
    return batch
