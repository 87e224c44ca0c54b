"""The gate: which sessions of one process may work at once.

No more long operations run at a time than there are CPUs; the others wait for their turn. BLAS
libraries have room for a limited number of threads, and some corrupt their memory when hundreds of
them call at once.

Short ones have a lane of their own, so that none waits behind a long one. There is one place in it,
from the arrival of a request until its answer has gone: the interpreter lets one thread work at a
time anyway, and threads that fight for it in every system call get less done, all of them together.
"""

from __future__ import annotations

import os
import queue

__all__ = ["Gate", "Turn"]


class Gate:
    """Tokens for the threads that compute.

    Args:
        kernels: how many long operations may run at once; the number of CPUs if left out.
    """

    def __init__(self, kernels: int | None = None) -> None:
        self.kernels = kernels or len(os.sched_getaffinity(0))
        self.short: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.long: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.short.put(None)
        for _ in range(self.kernels):
            self.long.put(None)


class Turn:
    """One session's place at the gate.

    Args:
        gate: None where there is none, because the session has a process of its own.
    """

    def __init__(self, gate: Gate | None = None) -> None:
        self._gate = gate
        self._held: queue.SimpleQueue[None] | None = None

    def begin(self) -> None:
        """Take the place in the lane of short operations. Waits for it."""
        if self._gate is not None and self._held is None:
            self._gate.short.get()
            self._held = self._gate.short

    def others(self) -> bool:
        """Whether another session is in the lane of short operations."""
        return self._gate is not None and self._gate.short.empty()

    @property
    def shared(self) -> bool:
        """Whether there may be other sessions."""
        return self._gate is not None

    @property
    def long(self) -> bool:
        """Whether what runs now has a place in the lane of long operations."""
        return self._gate is not None and self._held is self._gate.long

    def heavy(self) -> None:
        """What runs next is long: change lanes. Waits for a place there."""
        gate = self._gate
        if gate is not None and self._held is not gate.long:
            self.end()
            gate.long.get()
            self._held = gate.long

    def light(self) -> None:
        """What runs next is short: change lanes back."""
        gate = self._gate
        if gate is not None and self._held is gate.long:
            self.end()
            self.begin()

    def end(self) -> None:
        """Make room for others: the operation is over, or waits for its client."""
        held, self._held = self._held, None
        if held is not None:
            held.put(None)
