"""Counts the sends of each actor, in memory that outlives a SIGKILL of the actor.

A few bytes of anonymous memory are shared with the actor processes. The row of an actor has the
number of samples that its current process has begun to send, and the number whose send has
returned. From it the learner knows which samples must have arrived, independently of the ring.

One process writes a row, in order (`begun` before the send, `returned` after it), so that at any
instant `returned <= sent <= begun`. The counts are final when the process has ended.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ledger", "LedgerRow", "Sends"]

_BYTES_PER_ROW = 16  # two int64


@dataclass(frozen=True)
class Sends:
    """The number of samples that a process began to send, and the number whose send returned."""

    begun: int
    returned: int

    @property
    def inside(self) -> bool:
        """Return True if the process was inside a send."""
        return self.begun > self.returned


class LedgerRow:
    """An actor's side: write access to its own row."""

    def __init__(self, fd: int, actor: int) -> None:
        self._row = _map(fd, os.fstat(fd).st_size)[actor]

    def begin(self, samples: int) -> int:
        """Count samples before their send, and return the sequence number of the first."""
        first = int(self._row[0])
        self._row[0] = first + samples
        return first

    def end(self) -> None:
        """Record that the send has returned: all samples that were begun are sent."""
        self._row[1] = self._row[0]


class Ledger:
    """The learner's side: creates the memory, hands out its descriptor, reads the rows."""

    def __init__(self, actors: int) -> None:
        self.fd = os.memfd_create("shm-echo-demo-ledger")
        os.ftruncate(self.fd, actors * _BYTES_PER_ROW)
        self._rows = _map(self.fd, actors * _BYTES_PER_ROW)

    def read(self, actor: int) -> Sends:
        """Return the counts of the current process of an actor."""
        # Read in the order that keeps begun >= returned while the actor continues to write.
        returned = int(self._rows[actor, 1])
        return Sends(begun=int(self._rows[actor, 0]), returned=returned)

    def clear(self, actor: int) -> None:
        """Reset a row for the actor's next process; the previous one must have ended."""
        self._rows[actor] = 0

    def close(self) -> None:
        """Close the descriptor. The rows stay readable."""
        os.close(self.fd)


def _map(fd: int, size: int) -> NDArray[np.int64]:
    # The array keeps the mapping alive; the mapping is unmapped with the array.
    return np.frombuffer(mmap.mmap(fd, size), np.int64).reshape(-1, 2)
