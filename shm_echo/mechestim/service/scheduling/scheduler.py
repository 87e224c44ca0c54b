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
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["FairSemaphore", "Scheduler", "SchedulerSlot"]


class FairSemaphore:
    """Places that threads take, wait for in the order of their coming, and give back.

    Who gives a place back while others wait hands it to the first of them: a thread that takes the
    next one at once would else always be quicker than one that has to wake up.

    Args:
        places: how many there are.

    Attributes:
        free: how many nobody has.
        waiting: one lock for each thread that waits, first come first.
    """

    def __init__(self, places: int) -> None:
        self.free = places
        self._mutex = threading.Lock()
        self.waiting: deque[threading.Lock] = deque()

    def enter(self) -> None:
        """Take a place. Waits for one."""
        with self._mutex:
            if self.free:
                self.free -= 1
                return
            handed = threading.Lock()
            handed.acquire()
            self.waiting.append(handed)
        handed.acquire()

    def leave(self) -> None:
        """Give a place back."""
        with self._mutex:
            if self.waiting:
                self.waiting.popleft().release()
            else:
                self.free += 1


class Scheduler:
    """The lanes of one process.

    Args:
        kernels: how many long operations may run at once; the number of CPUs if left out.
    """

    def __init__(self, kernels: int | None = None) -> None:
        self.kernels = kernels or len(os.sched_getaffinity(0))
        self.short = FairSemaphore(1)
        self.long = FairSemaphore(self.kernels)

    def short_is_taken(self) -> bool:
        """Whether somebody is in the lane of short operations."""
        return not self.short.free


class SchedulerSlot:
    """One session's place at the gate.

    Args:
        gate: None where there is none, because the session has a process of its own.

    Attributes:
        step_down: set while the thread that serves the session leads its crew: has another thread
            lead, before this one does something that others should not wait for.
    """

    def __init__(self, gate: Scheduler | None = None) -> None:
        self._gate = gate
        self._held: FairSemaphore | None = None
        self.step_down: Callable[[], None] | None = None

    def begin(self) -> None:
        """Take the place in the lane of short operations. Waits for it."""
        if self._gate is not None and self._held is None:
            self._gate.short.enter()
            self._held = self._gate.short

    def others(self) -> bool:
        """Whether another session is in the lane of short operations."""
        return self._gate is not None and self._gate.short_is_taken()

    @property
    def long(self) -> bool:
        """Whether what runs now has a place in the lane of long operations."""
        return self._gate is not None and self._held is self._gate.long

    def heavy(self) -> None:
        """What runs next is long: change lanes. Waits for a place there."""
        gate = self._gate
        if gate is not None and self._held is not gate.long:
            self.end()
            gate.long.enter()
            self._held = gate.long

    def light(self) -> None:
        """What runs next is short: change lanes back."""
        gate = self._gate
        if gate is not None and self._held is gate.long:
            self.rest()
            self.begin()

    def rest(self) -> None:
        """Make room for others: the request has been answered."""
        held, self._held = self._held, None
        if held is not None:
            held.leave()

    def end(self) -> None:
        """Make room for others, and let another thread lead: what comes next may take a while."""
        self.rest()
        step_down, self.step_down = self.step_down, None
        if step_down is not None:
            step_down()
