"""The physical limit: a process that only copies, into the same kind of memory, without a consumer.

Each leaf's bytes go to rows of a segment that is as large as the ring and laid out like it, one
copy per leaf, as many rows at a time as send_batch would copy. It does not claim, check or
receive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optree

from harness.loads import Load
from harness.processes import context, producers
from shm_echo.ring.core import ffi, lib
from shm_echo.ring.segment import Segment

__all__ = ["Limit"]

_ALIGN = 64


@dataclass(frozen=True)
class Limit:
    """A memcpy loop: shm-echo's own copy (non-temporal stores for large blocks) or NumPy's."""

    how: Literal["she_copy", "numpy"]

    @property
    def name(self) -> str:
        return {"she_copy": "limit: streaming copy", "numpy": "limit: numpy copy"}[self.how]

    def rate(self, load: Load, count: int, warmup: float, seconds: float) -> float:
        """Samples/s that `count` processes copy at the same time, each into its own memory."""
        results = context().SimpleQueue()
        with producers(self.name, _copy, count, self.how, load, warmup, seconds, results):
            return float(sum(results.get() for _ in range(count)))


def _copy(
    stop: Any, _index: int, how: str, load: Load, warmup: float, seconds: float, results: Any
) -> None:
    rows = min(load.stack or 1, load.batch_size)
    steps = _steps(how, load, rows)
    deadline = time.perf_counter() + warmup
    start = None
    done = 0
    while True:
        for step in steps:
            step()
        now = time.perf_counter()
        if start is None:
            if now >= deadline:
                start, deadline = now, now + seconds
            continue
        done += rows * len(steps)
        if now >= deadline or stop.value:
            break
    results.put(done / (now - start))
    while not stop.value:  # a process that ends before all have been measured counts as dead
        time.sleep(0.001)


def _steps(how: str, load: Load, rows: int) -> list[Callable[[], None]]:
    """Return one function per position in the ring: copies all leaves of `rows` samples there."""
    leaves = optree.tree_leaves(load.stacked(rows) if rows > 1 else load.make())
    blocks = load.capacity // rows
    strides = [-(-leaf.nbytes // _ALIGN) * _ALIGN for leaf in leaves]
    segment = Segment.allocate(blocks * sum(strides))
    memory = np.frombuffer(segment.mapping, np.uint8)
    steps = []
    for block in range(blocks):
        pairs = []
        begin = 0
        for leaf, stride in zip(leaves, strides, strict=True):
            at = begin + block * stride
            pairs.append((memory[at : at + leaf.nbytes], leaf.reshape(-1).view(np.uint8)))
            begin += blocks * stride
        steps.append(_streaming(pairs) if how == "she_copy" else _plain(pairs))
    segment.close()
    return steps


def _streaming(pairs: list[tuple[Any, Any]]) -> Callable[[], None]:
    copy = lib.she_copy
    calls = [(ffi.from_buffer(to), ffi.from_buffer(source), to.nbytes) for to, source in pairs]

    def step() -> None:
        for to, source, nbytes in calls:
            copy(to, source, nbytes)

    return step


def _plain(pairs: list[tuple[Any, Any]]) -> Callable[[], None]:
    def step() -> None:
        for to, source in pairs:
            np.copyto(to, source)

    return step
