"""Samplers of the user's for tests of resuming: each draws from another source.

`KINDS` has them by name: the arguments of a DataLoader over ten items.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["FOREIGN", "OWN"]

LENGTH = 10


class _Sampler:
    def __len__(self) -> int:
        return LENGTH


class ShuffledByRandom(_Sampler):
    """Draws an order from `random` when it is asked for its first key."""

    def __iter__(self) -> Iterator[int]:
        keys = list(range(LENGTH))
        random.shuffle(keys)
        yield from keys


class ShuffledAtIter(_Sampler):
    """Draws an order from `numpy.random` in `__iter__` itself."""

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.permutation(LENGTH).tolist())


class OneByOne(_Sampler):
    """Draws from `random` for each key."""

    def __iter__(self) -> Iterator[int]:
        return (random.randrange(LENGTH) for _ in range(LENGTH))


class OwnGenerators(_Sampler):
    """Draws from generators of its own, of all kinds."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)
        self.old = np.random.RandomState(4)
        self.python = random.Random(5)

    def __iter__(self) -> Iterator[int]:
        keys = self.rng.permutation(LENGTH).tolist()
        self.python.shuffle(keys)
        for key in keys:
            yield int(key + self.old.randint(2)) % LENGTH


class SetEpoch(_Sampler):
    """Depends on the epoch that was set, like torch's DistributedSampler."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        keys = list(range(LENGTH))
        random.Random(self.epoch).shuffle(keys)
        return iter(keys)


class Stateful(_Sampler):
    """Says where it is, and goes on there."""

    def __init__(self) -> None:
        self.epoch_number = self.given = 0
        self.skips = 0
        self.drawn = 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch_number, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch_number, self.given = state["epoch"], state["given"]

    def keys(self) -> list[Any]:
        keys = list(range(LENGTH))
        random.Random(self.epoch_number).shuffle(keys)
        return keys

    def __iter__(self) -> Iterator[Any]:
        keys = self.keys()
        while self.given < len(keys):
            self.given += 1
            self.drawn += 1
            yield keys[self.given - 1]
        self.epoch_number += 1
        self.given = 0


class StatefulBatches(Stateful):
    """The same, of lists that differ in length."""

    batch_size = 4

    def __len__(self) -> int:
        return 4

    def keys(self) -> list[Any]:
        keys = super().keys()
        return [keys[:4], keys[4:5], keys[5:8], keys[8:]]


class Batches(_Sampler):
    """Wraps a sampler, as torch's BatchSampler does, in lists of 1, 2, 3, ... keys."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[list[int]]:
        keys = iter(self.sampler)
        for length in (1, 2, 3, 4):
            yield [next(keys) for _ in range(length)]


OWN: dict[str, dict[str, Any]] = {
    "sequential": {"batch_size": 4},
    "shuffled": {"batch_size": 4, "shuffle": True},
    "weighted": {"batch_size": 4, "weights": range(LENGTH)},
    "rank": {"batch_size": 2, "shuffle": True, "rank": 1, "world_size": 3},
    "drop_last": {"batch_size": 3, "shuffle": True, "drop_last": True},
}

FOREIGN: dict[str, Callable[[], dict[str, Any]]] = {
    "list": lambda: {"batch_size": 4, "sampler": [3, 1, 4, 1, 5, 9, 2]},
    "random": lambda: {"batch_size": 4, "sampler": ShuffledByRandom()},
    "numpy at iter": lambda: {"batch_size": 3, "sampler": ShuffledAtIter(), "drop_last": True},
    "one by one": lambda: {"batch_size": 4, "sampler": OneByOne()},
    "own generators": lambda: {"batch_size": 4, "sampler": OwnGenerators()},
    "set_epoch": lambda: {"batch_size": 4, "sampler": SetEpoch()},
    "stateful": lambda: {"batch_size": 4, "sampler": Stateful()},
    "lists": lambda: {"batch_sampler": [[1, 2, 3], [4], [5, 6]]},
    "batches of random": lambda: {"batch_sampler": Batches(ShuffledByRandom())},
    "batches of own generators": lambda: {"batch_sampler": Batches(OwnGenerators())},
    "batches of set_epoch": lambda: {"batch_sampler": Batches(SetEpoch())},
    "stateful batches": lambda: {"batch_sampler": StatefulBatches()},
}
