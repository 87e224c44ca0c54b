"""Datasets for tests of shm_echo.torch. They are importable, so that spawned workers find them."""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections import OrderedDict, namedtuple
from multiprocessing import Value
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from shm_echo.loader import item_rng

__all__ = [
    "Augmented",
    "Barrier",
    "Crashing",
    "Exiting",
    "Failing",
    "Growing",
    "Keyed",
    "Made",
    "Pair",
    "Shards",
    "Slow",
    "Tensors",
    "Together",
    "Unwritten",
    "WhoAmI",
    "batches",
    "expected",
    "fail_to_start",
    "plain",
    "seed_torch",
    "set_value",
]

Pair = namedtuple("Pair", ["x", "y"])


class Tensors(Dataset):
    """Item i is a tensor of three i, and i itself."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.full((3,), float(index)), index


class Made(Tensors):
    """Item i is what a function makes of i.

    Args:
        name: the name of a function of this module.
        length: the number of items.
    """

    def __init__(self, name: str, length: int = 10) -> None:
        super().__init__(length)
        self.name = name

    def __getitem__(self, index: int) -> Any:
        return MAKERS[self.name](index)


class _Bag(dict[str, Any]):
    """A subclass of dict with an attribute."""

    label = "bag"


MAKERS: dict[str, Any] = {
    "int": lambda i: i,
    "float": lambda i: i / 2,
    "bool": lambda i: i % 2 == 0,
    "str": str,
    "bytes": lambda i: bytes([i]),
    "float32 scalar": lambda i: np.float32(i),
    "bool scalar": lambda i: np.bool_(i % 2),
    "uint16 array": lambda i: np.full((2, 2), i, np.uint16),
    "tuple": lambda i: (torch.tensor([i]), i, float(i)),
    "list": lambda i: [torch.tensor([i]), i],
    "namedtuple": lambda i: Pair(torch.tensor([i]), i),
    "dict": lambda i: {"z": torch.tensor([i]), "a": {"n": i, "s": (i, -i)}},
    "OrderedDict": lambda i: OrderedDict(b=i, a=torch.ones(2)),
    "dict subclass": lambda i: _Bag(a=i, b=torch.zeros(1)),
    "dict with text": lambda i: {"text": f"item {i}", "x": torch.ones(2)},
    "tuple of texts": lambda i: (f"{i}", f"{-i}"),
    "empty tensor": lambda i: torch.empty(0, 3),
    "0-d tensor": lambda i: torch.tensor(i),
    "bfloat16": lambda i: torch.full((3,), i, dtype=torch.bfloat16),
    "complex": lambda i: torch.full((2,), complex(i, 1)),
    "not contiguous": lambda i: torch.arange(6).reshape(2, 3).t() + i,
    "one of a tuple": lambda i: (torch.tensor([i]),),
    "int, later float": lambda i: i if i < 5 else i + 0.5,
    "parameter": lambda i: torch.nn.Parameter(torch.ones(2), requires_grad=False),
}


class Unwritten(Dataset):
    """A dataset that has a length only: each item raises NotImplementedError."""

    def __len__(self) -> int:
        return 7


class Failing(Tensors):
    """Items that raise, at some indices."""

    def __init__(self, length: int, *bad: int) -> None:
        super().__init__(length)
        self.bad = bad

    def __getitem__(self, index: int) -> Any:
        if index in self.bad:
            raise ValueError(f"no item {index}")
        return super().__getitem__(index)


class Together(Tensors):
    """Makes several items at once, as Hugging Face's datasets do."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [(torch.full((3,), float(i)), i) for i in indices]


class Growing(Tensors):
    """A dataset that the program makes longer."""

    def __getitem__(self, index: int) -> Any:
        return index


class Keyed(Tensors):
    """Items by keys of any kind: an item says the class of its key, and the key."""

    def __getitem__(self, key: Any) -> Any:
        return f"{type(key).__name__} {key}"


class Augmented(Tensors):
    """Items that draw from every source of random numbers."""

    def __getitem__(self, index: int) -> Any:
        return {
            "index": index,
            "own": item_rng().normal(size=2),
            "python": random.random(),
            "numpy": np.random.rand(),
            "torch": torch.rand(2),
        }


class WhoAmI(Tensors):
    """Items that say what their worker knows about itself."""

    value: Any = None

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        same = info is not None and info.dataset is self
        return {
            "id": -1 if info is None else info.id,
            "num_workers": 0 if info is None else info.num_workers,
            "seed": 0 if info is None else info.seed,
            "same": same,
            "pid": os.getpid(),
            "threads": torch.get_num_threads(),
            "initial seed": torch.initial_seed(),
            "value": 0 if self.value is None else self.value,
        }


def set_value(worker: int) -> None:
    """Give the worker's dataset a value, as a `worker_init_fn`."""
    info = get_worker_info()
    assert info is not None
    info.dataset.value = 100 + worker


def seed_torch(worker: int) -> None:
    """Seed torch's generator, as a `worker_init_fn`."""
    torch.manual_seed(12345)


def fail_to_start(worker: int) -> None:
    """Raise, as a `worker_init_fn`."""
    raise RuntimeError("no start today")


class Barrier(Tensors):
    """The first item in each worker waits until all workers make one.

    Args:
        length: the number of items.
        workers: the number of workers.
    """

    def __init__(self, length: int, workers: int) -> None:
        super().__init__(length)
        self.workers = workers
        self.count = Value(ctypes.c_int)
        self.waited = False

    def __getitem__(self, index: int) -> Any:
        if not self.waited:
            with self.count.get_lock():
                self.count.value += 1
            while self.count.value < self.workers:
                time.sleep(0.005)
            self.waited = True
        return torch.initial_seed()


class Slow(Tensors):
    """Items that take a while."""

    def __init__(self, length: int, seconds: float) -> None:
        super().__init__(length)
        self.seconds = seconds

    def __getitem__(self, index: int) -> Any:
        time.sleep(self.seconds)
        return index


class Crashing(Tensors):
    """Item 4 ends its process by a segmentation fault."""

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            ctypes.string_at(0)
        return index


class Exiting(Tensors):
    """Item 4 ends its process without a signal."""

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            os._exit(1)
        return index


class Shards(IterableDataset):
    """Numbers, of which each worker gives its own ones.

    Args:
        sizes: how many numbers each of the workers gives.
        claims: the length that it claims; None for no length.
    """

    def __init__(self, *sizes: int, claims: int | None = None) -> None:
        self.sizes = sizes
        self.claims = claims

    def __len__(self) -> int:
        if self.claims is None:
            raise TypeError("no length")
        return self.claims

    def __iter__(self) -> Any:
        info = get_worker_info()
        if info is None:
            return iter(range(sum(self.sizes)))
        first = sum(self.sizes[: info.id])
        return iter(range(first, first + self.sizes[info.id]))


def plain(value: Any) -> Any:
    """Return a batch as something that can be compared: types, dtypes, shapes and numbers."""
    if isinstance(value, torch.Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            value.float().tolist() if (value.dtype == torch.bfloat16) else value.tolist(),
        )
    if isinstance(value, dict):
        return type(value).__name__, [(key, plain(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(inner) for inner in value]
    return type(value).__name__, value


def batches(loader: Any) -> list[Any]:
    """Return the batches of an epoch, as `plain` shows them."""
    return [plain(batch) for batch in loader]


def expected(*arguments: Any, **options: Any) -> list[Any]:
    """Return the batches that torch's loader gives without workers."""
    return batches(DataLoader(*arguments, **options))
