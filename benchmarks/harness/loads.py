"""The samples that are sent, and how many make a batch: the same for every contender.

Contents are random: pages of zeros that were never written share one physical page, and copying
from that would flatter everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optree

__all__ = ["LOADS", "NUM_BUFFERS", "Load", "by_name"]

NUM_BUFFERS = 3  # the default of both echo and shm-echo
STACK = 256  # samples per send_batch
MOST_STACK_BYTES = 128 << 20

Tree = Any
Array = np.ndarray[Any, Any]


def _filled(dtype: str, *shape: int) -> Array:
    rng = np.random.default_rng(len(shape) + sum(shape))
    return rng.integers(0, 100, size=shape).astype(dtype)


def _small() -> Tree:
    return {
        "obs": _filled("float32", 4),
        "action": _filled("int32", 1),
        "reward": _filled("float32", 1),
    }


def _atari() -> Tree:
    return {
        "obs": _filled("uint8", 4, 84, 84),
        "action": _filled("int32", 1),
        "reward": _filled("float32", 1),
    }


def _image() -> Tree:
    return {"obs": _filled("float32", 1024, 1024)}


def _robot() -> Tree:
    """40 leaves of a robot's observation, about 260 KB: most bytes in a few, most leaves small."""
    return {
        "cameras": {f"view_{i}": _filled("uint8", 96, 96, 3) for i in range(6)},
        "height_maps": {f"map_{i}": _filled("float32", 64, 64) for i in range(4)},
        "lidar": {f"ring_{i}": _filled("float32", 1024) for i in range(4)},
        "joints": {f"joint_{i:02}": _filled("float32", 32) for i in range(16)},
        "contacts": {f"foot_{i}": _filled("uint8", 64) for i in range(8)},
        "action": _filled("float32", 16),
        "reward": _filled("float32", 1),
    }


@dataclass(frozen=True)
class Load:
    """One kind of sample.

    Attributes:
        name: as the command line and the tables call it.
        make: makes one sample.
        batch_size: samples per batch.
        touched: the path of the leaf whose first element the consumer reads.
    """

    name: str
    make: Callable[[], Tree]
    batch_size: int
    touched: tuple[str, ...] = ("obs",)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one sample, over all leaves."""
        return sum(leaf.nbytes for leaf in optree.tree_leaves(self.make()))

    @property
    def capacity(self) -> int:
        """Samples that a ring, or a queue, holds."""
        return self.batch_size * NUM_BUFFERS

    @property
    def stack(self) -> int:
        """Samples per send_batch; 0 where so many would be absurdly large."""
        return STACK if STACK * self.nbytes <= MOST_STACK_BYTES else 0

    @property
    def burst(self) -> int:
        """Sends between two looks at the stop flag."""
        return 16 if self.nbytes < 1 << 20 else 1

    def stacked(self, rows: int) -> Tree:
        """Return `rows` samples with a leading axis on every leaf."""
        return optree.tree_map(lambda leaf: np.stack([leaf] * rows), self.make())

    def touch(self, batch: Tree) -> None:
        """Read one element of one leaf: the consumer's work on a batch."""
        for key in self.touched:
            batch = batch[key]
        batch.item(0)


LOADS = (
    Load("small", _small, batch_size=256),
    Load("atari", _atari, batch_size=32),
    Load("4MB", _image, batch_size=4),
    Load("40 leaves", _robot, batch_size=32, touched=("joints", "joint_00")),
)


def by_name(name: str) -> Load:
    """Return the load of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    for load in LOADS:
        if load.name == name:
            return load
    raise ValueError(f"no load {name!r}: there are {', '.join(load.name for load in LOADS)}")
