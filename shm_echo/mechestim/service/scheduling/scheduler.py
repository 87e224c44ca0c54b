"""The scheduler: which sessions of one process may work at once.

No more long operations run at a time than there are CPUs; the others wait for their slot. BLAS
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
        slots: how many there are.

    Attributes:
        free: how many nobody has.
        waiters: one lock for each thread that waits, first come first.
    """

    def __init__(self, slots: int) -> None:
        self.free = slots
        self._mutex = threading.Lock()
        self.waiters: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        """Take a place. Waits for one."""
        with self._mutex:
            if self.free:
                self.free -= 1
                return
            handover = threading.Lock()
            handover.acquire()
            self.waiters.append(handover)
        handover.acquire()

    def release(self) -> None:
        """Give a place back."""
        with self._mutex:
            if self.waiters:
                self.waiters.popleft().release()
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
    """One session's place at the scheduler.

    Args:
        scheduler: None where there is none, because the session has a process of its own.

    Attributes:
        step_down: set while the thread that serves the session leads its pool: has another thread
            lead, before this one does something that others should not wait for.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler
        self._held: FairSemaphore | None = None
        self.on_step_down: Callable[[], None] | None = None

    def acquire_short(self) -> None:
        """Take the place in the lane of short operations. Waits for it."""
        if self._scheduler is not None and self._held is None:
            self._scheduler.short.acquire()
            self._held = self._scheduler.short

    def short_is_taken(self) -> bool:
        """Whether another session is in the lane of short operations."""
        return self._scheduler is not None and self._scheduler.short_is_taken()

    @property
    def is_long(self) -> bool:
        """Whether what runs now has a place in the lane of long operations."""
        return self._scheduler is not None and self._held is self._scheduler.long

    def promote_to_long(self) -> None:
        """What runs next is long: change lanes. Waits for a place there."""
        scheduler = self._scheduler
        if scheduler is not None and self._held is not scheduler.long:
            self.step_down()
            scheduler.long.acquire()
            self._held = scheduler.long

    def demote(self) -> None:
        """What runs next is short: change lanes back."""
        scheduler = self._scheduler
        if scheduler is not None and self._held is scheduler.long:
            self.release()
            self.acquire_short()

    def release(self) -> None:
        """Make room for others: the request has been answered."""
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def step_down(self) -> None:
        """Make room for others, and let another thread lead: what comes next may take a while."""
        self.release()
        step_down, self.on_step_down = self.on_step_down, None
        if step_down is not None:
            step_down()
