"""Datasets for tests of DataLoader. They are importable, so that spawned workers find them."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import numpy as np

from shm_echo.loader import item_rng

__all__ = ["Augmented", "Failing", "Numbers", "Pids", "Stuck", "as_lists"]


class Numbers:
    """Item i is i, as an array of three numbers."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return np.full(3, index, np.int32)


class Augmented(Numbers):
    """Items that draw from every source of random numbers."""

    def __getitem__(self, index: int) -> Any:
        return {
            "index": index,
            "own": item_rng().normal(size=2),
            "python": random.random(),
            "numpy": (np.random.rand(), np.float32(np.random.randint(100))),
        }


class Failing(Numbers):
    """Items that raise, at some indices."""

    def __init__(self, length: int, *bad: int) -> None:
        super().__init__(length)
        self.bad = bad

    def __getitem__(self, index: int) -> Any:
        if index in self.bad:
            raise KeyError(f"no item {index}")
        return super().__getitem__(index)


class Pids(Numbers):
    """Items that say which process made them, and take a moment."""

    def __init__(self, length: int, seconds: float = 0.0) -> None:
        super().__init__(length)
        self.seconds = seconds

    def __getitem__(self, index: int) -> Any:
        if self.seconds:
            time.sleep(self.seconds)
        return {"index": index, "pid": os.getpid()}


class Stuck(Numbers):
    """An item that never comes while a file exists."""

    def __init__(self, length: int, index: int, path: str) -> None:
        super().__init__(length)
        self.index, self.path = index, path

    def __getitem__(self, index: int) -> Any:
        if index == self.index:
            while os.path.exists(self.path):
                time.sleep(0.01)
        return super().__getitem__(index)


def as_lists(batch: Any) -> Any:
    """Return a batch as lists, which can be compared."""
    if isinstance(batch, dict):
        return {key: as_lists(value) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(as_lists(value) for value in batch)
    return batch.tolist()
