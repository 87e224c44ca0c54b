"""The scheduler: which sessions of one process may compute at the same time.

Long operations run at most as many at a time as there are CPUs; further ones wait. BLAS libraries
have room for a limited number of threads, and some corrupt their memory when hundreds of threads
call them at once.

Short operations have a semaphore of their own, so that none of them waits behind a long one. It has
one slot, held from the arrival of a request until its answer has been sent. The interpreter lets
one thread run at a time anyway, and threads that contend for its lock at every system call get less
done in total than threads that run one after the other.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["FairSemaphore", "Scheduler", "SchedulerSlot"]


class FairSemaphore:
    """A semaphore that serves its waiters in the order of their arrival.

    `release` hands the slot to the longest waiter. Otherwise a running thread would re-acquire it
    first, because the waiter still has to wake up, and would starve the others.

    Args:
        slots: The number of threads that may hold the semaphore at once.

    Attributes:
        free: The number of slots that no thread holds.
        waiters: One locked lock per waiting thread, the longest waiter first.

    Example:
        >>> semaphore = FairSemaphore(2)
        >>> semaphore.acquire()
        >>> semaphore.free
        1
        >>> semaphore.release()
        >>> semaphore.free
        2
    """

    def __init__(self, slots: int) -> None:
        self.free = slots
        self._mutex = threading.Lock()
        self.waiters: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        """Take a slot; wait until one is available."""
        with self._mutex:
            if self.free:
                self.free -= 1
                return
            # A locked lock is the cheapest event: `release` unlocks it from another thread.
            handover = threading.Lock()
            handover.acquire()
            self.waiters.append(handover)
        handover.acquire()  # returns when `release` unlocks it, and the slot is this thread's then

    def release(self) -> None:
        """Return a slot, to the longest waiter if there is one."""
        with self._mutex:
            if self.waiters:  # `free` stays 0: the slot changes its owner without being free
                self.waiters.popleft().release()
            else:
                self.free += 1


class Scheduler:
    """The two semaphores of one process: one for short operations, one for long ones.

    Args:
        kernels: The number of long operations that may run at once. Default: the number of CPUs
            that this process may use.
    """

    def __init__(self, kernels: int | None = None) -> None:
        # The affinity, not os.cpu_count(): a container may allow fewer CPUs than the machine has.
        self.kernels = kernels or len(os.sched_getaffinity(0))
        self.short = FairSemaphore(1)
        self.long = FairSemaphore(self.kernels)

    def short_is_taken(self) -> bool:
        """Return True if a session holds the slot for short operations."""
        return not self.short.free  # without the mutex: callers use the answer as a hint


class SchedulerSlot:
    """The scheduler seen by one session, which holds at most one slot: a short or a long one.

    Every method can be called again in the same state: a nested request of a callback acquires what
    its session may hold already. A thread that waits in `acquire_short` or `promote_to_long` holds
    nothing meanwhile.

    Args:
        scheduler: None for a session in a process of its own; then no method waits.

    Attributes:
        on_step_down: A function that makes another thread lead the pool. It is set while the
            session's thread is the leader, and `step_down` calls it once.

    Example:
        >>> scheduler = Scheduler(kernels=1)
        >>> slot = SchedulerSlot(scheduler)
        >>> slot.acquire_short()
        >>> slot.promote_to_long()
        >>> slot.is_long, scheduler.short.free, scheduler.long.free
        (True, 1, 0)
        >>> slot.release()
        >>> slot.is_long, scheduler.short.free, scheduler.long.free
        (False, 1, 1)
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler
        self._held: FairSemaphore | None = None
        self.on_step_down: Callable[[], None] | None = None

    def acquire_short(self) -> None:
        """Acquire the slot for short operations, unless this session holds a slot already."""
        if self._scheduler is not None and self._held is None:
            self._scheduler.short.acquire()
            self._held = self._scheduler.short

    def short_is_taken(self) -> bool:
        """Return True if a session holds the slot for short operations."""
        return self._scheduler is not None and self._scheduler.short_is_taken()

    @property
    def is_long(self) -> bool:
        """Return True if the session holds a slot for long operations."""
        return self._scheduler is not None and self._held is self._scheduler.long

    def promote_to_long(self) -> None:
        """Exchange the held slot for a long one, before a long operation.

        The leader of the pool steps down first, because the wait and the operation take long.
        """
        scheduler = self._scheduler
        if scheduler is not None and self._held is not scheduler.long:
            self.step_down()  # also releases the short slot, so no thread waits holding a slot
            scheduler.long.acquire()
            self._held = scheduler.long

    def demote(self) -> None:
        """Exchange a long slot for the short one, after a long operation."""
        scheduler = self._scheduler
        if scheduler is not None and self._held is scheduler.long:
            self.release()
            self.acquire_short()

    def release(self) -> None:
        """Return the held slot, if there is one: the request has been answered."""
        # Cleared first, so that a signal handler that runs in between does not release it twice.
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def step_down(self) -> None:
        """Return the held slot and let another thread lead, before this one may block for long."""
        self.release()
        on_step_down, self.on_step_down = self.on_step_down, None
        if on_step_down is not None:
            on_step_down()
