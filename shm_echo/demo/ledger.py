"""Counts what each actor sends where a SIGKILL cannot reach them.

What it is: a few bytes of anonymous memory shared with the actor processes, one row per actor:
how many samples its present process has begun to send, and for how many the send has returned.
The learner reads it to know what must have arrived; it has nothing to do with the ring that it is
there to check.

What it guarantees: one process writes a row, in order (begun before the send, returned after
it), so at any instant `returned <= sent <= begun`.

What it leaves to others: a row is read for good once its process has ended (`fleet`).
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
    """How many samples a process began to send, and for how many the send returned."""

    begun: int
    returned: int

    @property
    def inside(self) -> bool:
        """Whether the process was inside a send."""
        return self.begun > self.returned


class LedgerRow:
    """An actor's side: write access to its own row."""

    def __init__(self, fd: int, actor: int) -> None:
        self._row = _map(fd, os.fstat(fd).st_size)[actor]

    def begin(self, samples: int) -> int:
        """So many samples are about to be sent; returns the sequence number of the first."""
        first = int(self._row[0])
        self._row[0] = first + samples
        return first

    def end(self) -> None:
        """The send has returned: all samples that were begun are sent."""
        self._row[1] = self._row[0]


class Ledger:
    """The learner's side: creates the memory, hands out its descriptor, reads the rows."""

    def __init__(self, actors: int) -> None:
        self.fd = os.memfd_create("shm-echo-demo-ledger")
        os.ftruncate(self.fd, actors * _BYTES_PER_ROW)
        self._rows = _map(self.fd, actors * _BYTES_PER_ROW)

    def read(self, actor: int) -> Sends:
        """The present process of this actor so far."""
        # Read in the order that keeps begun >= returned while the actor goes on writing.
        returned = int(self._rows[actor, 1])
        return Sends(begun=int(self._rows[actor, 0]), returned=returned)

    def clear(self, actor: int) -> None:
        """Start a row anew for the actor's next process; the previous one must have ended."""
        self._rows[actor] = 0

    def close(self) -> None:
        """Close the descriptor. The rows can be read on."""
        os.close(self.fd)


def _map(fd: int, size: int) -> NDArray[np.int64]:
    # The array keeps the mapping alive and the mapping goes with it.
    return np.frombuffer(mmap.mmap(fd, size), np.int64).reshape(-1, 2)
