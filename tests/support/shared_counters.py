"""Counters in a file that every process maps: a process's counts outlive its death."""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["SharedCounters"]


class SharedCounters:
    """An array of counters, each written by one process at a time and zero at first.

    Args:
        path: The file; the first process creates it.
        size: The number of counters.
    """

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            file.truncate(8 * size)
            self._map = mmap.mmap(file.fileno(), 8 * size)
        self._counts = memoryview(self._map).cast("Q")

    def __getitem__(self, index: int) -> int:
        return self._counts[index]

    def __setitem__(self, index: int, count: int) -> None:
        # One aligned store of eight bytes: a kill cannot leave half of it.
        self._counts[index] = count
