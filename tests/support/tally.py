"""Counters in a file that every process maps: what a process has counted outlives its death."""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["Tally"]


class Tally:
    """An array of counters, each written by one process at a time and zero at first.

    Args:
        path: of the file; whoever comes first makes it.
        size: how many counters.
    """

    def __init__(self, path: Path, size: int) -> None:
        with path.open("a+b") as file:
            file.truncate(8 * size)
            self._map = mmap.mmap(file.fileno(), 8 * size)
        self._counts = memoryview(self._map).cast("Q")

    def __getitem__(self, index: int) -> int:
        return self._counts[index]

    def __setitem__(self, index: int, count: int) -> None:
        # One aligned store of eight bytes: a kill comes before it or after it.
        self._counts[index] = count
