"""The FLOPs that one principal may spend in all its sessions, and the ledger of one session.

A `Ceiling` is two words: the FLOPs that were spent, and those reserved for operations that run now.
Sessions in processes of their own share the page. Every change happens under a lock that the kernel
releases when its holder dies. FLOPs that a killed session had reserved are never free again.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from shm_echo.mechestim.accounting.account import scaled
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.shared_memory import FileLock, reopened, sealed_memory
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot

__all__ = ["Ceiling", "SessionLedger"]

_SPENT, _RESERVED = range(2)
_SIZE = mmap.PAGESIZE
_UNLIMITED = 2**63 - 1

# An operation of more FLOPs takes longer than the messages about it: it needs a long slot.
LONG_OPERATION_FLOPS = 10**5


def _exhausted_error(name: str, cost: int, available: int) -> BudgetExhaustedError:
    """Return the error for an operation that does not fit under the ceiling."""
    return BudgetExhaustedError(name, flop_cost=cost, flops_remaining=available, of_the_server=True)


class _CrossProcessLock:
    """A lock against the other threads of this process and against other processes.

    `flock` excludes no thread that uses the same descriptor, so a thread lock comes first.
    """

    def __init__(self, threads: threading.Lock, fd: int) -> None:
        self._threads = threads
        self._processes = FileLock(fd)

    def __enter__(self) -> None:
        self._threads.acquire()
        self._processes.acquire()

    def __exit__(self, *_: object) -> None:
        self._processes.release()
        self._threads.release()


class Ceiling:
    """The FLOPs of one principal; nothing restores them.

    Args:
        limit: The number of FLOPs; None counts them without a limit.
        fd: The page of a ceiling that another process has created; the caller closes the
            descriptor. None creates a page.

    Example:
        >>> ceiling = Ceiling(1000)
        >>> ceiling.reserve("add", 300)
        >>> ceiling.commit(300)
        >>> ceiling.charge("matmul", 600)
        >>> ceiling.spent, ceiling.reserved
        (900, 0)
    """

    def __init__(self, limit: int | None, fd: int | None = None) -> None:
        self.limit = limit
        self._most_flops = _UNLIMITED if limit is None else limit
        self._fd = sealed_memory("mechestim-ceiling", _SIZE) if fd is None else os.dup(fd)
        self._map = mmap.mmap(self._fd, _SIZE)
        self._words = memoryview(self._map).cast("Q")
        self._threads = threading.Lock()
        self._lock: AbstractContextManager[Any] = self._threads
        if fd is not None:
            self._lock = _CrossProcessLock(self._threads, self._fd)

    @property
    def spent(self) -> int:
        """The FLOPs of all started operations; the number never decreases."""
        with self._lock:
            return int(self._words[_SPENT])

    @property
    def reserved(self) -> int:
        """The FLOPs of the operations that run now."""
        with self._lock:
            return int(self._words[_RESERVED])

    def reserve(self, name: str, cost: int) -> None:
        """Reserve `cost` FLOPs for an operation; the check and the change are one atomic step.

        Raises:
            BudgetExhaustedError: Fewer FLOPs are available. Nothing has changed.
        """
        words = self._words
        with self._lock:
            available = self._most_flops - words[_SPENT] - words[_RESERVED]
            if cost > available:
                raise _exhausted_error(name, cost, available)
            words[_RESERVED] += cost

    def charge(self, name: str, cost: int) -> None:
        """Spend `cost` FLOPs in one step, for an operation that is certain to start.

        Raises:
            BudgetExhaustedError: Fewer FLOPs are available. Nothing has changed.
        """
        words = self._words
        with self._lock:
            spent = words[_SPENT]
            available = self._most_flops - spent - words[_RESERVED]
            if cost > available:
                raise _exhausted_error(name, cost, available)
            words[_SPENT] = spent + cost

    def release(self, cost: int) -> None:
        """Release the FLOPs of an operation that was rejected before it started."""
        with self._lock:
            self._words[_RESERVED] -= cost

    def commit(self, cost: int) -> None:
        """Spend reserved FLOPs: the operation has started."""
        words = self._words
        with self._lock:
            words[_RESERVED] -= cost
            words[_SPENT] += cost

    def share(self) -> int:
        """Return a new descriptor of the page for another process; the caller closes it.

        From now on every change takes the lock between processes, too.
        """
        self._lock = _CrossProcessLock(self._threads, self._fd)
        return reopened(self._fd)

    def __del__(self) -> None:
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            os.close(fd)


class SessionLedger:
    """The charges of one session, taken from its principal's ceiling and shown in its statistics.

    A charge above `LONG_OPERATION_FLOPS` first acquires a long slot of the scheduler: the cost
    tells that an operation is long. Not thread-safe: one thread at a time works on a session.

    Args:
        ceiling: The ceiling of the session's principal.
        stats: Shows the charges.
        weights: The server's weights. A client's own weights do not apply here.
        slot: The session's slot at the scheduler.
    """

    def __init__(
        self, ceiling: Ceiling, stats: StatsPage, weights: Mapping[str, float], slot: SchedulerSlot
    ) -> None:
        self._ceiling = ceiling
        self._stats = stats
        self._weights = weights
        self._slot = slot
        self._reserved: list[tuple[str, int]] = []

    def reserve(self, name: str, cost: int) -> None:
        """Reserve `cost` FLOPs, times the server's weight, for an operation about to start.

        Raises:
            BudgetExhaustedError: The ceiling does not allow it.
        """
        if cost > LONG_OPERATION_FLOPS:
            self._slot.promote_to_long()
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        self._ceiling.reserve(name, cost)
        self._reserved.append((name, cost))
        self._stats.reserve(name, cost)

    def charge(self, name: str, cost: int) -> None:
        """Reserve and commit in one step, for an operation that is certain to start.

        Raises:
            BudgetExhaustedError: The ceiling does not allow it.
        """
        if cost > LONG_OPERATION_FLOPS:
            self._slot.promote_to_long()
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        self._ceiling.charge(name, cost)
        self._stats.charge(name, cost)

    def release(self, name: str, cost: int) -> None:
        """Release the FLOPs of an operation that was rejected before it started."""
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        if (name, cost) not in self._reserved:
            return  # committed meanwhile, by a nested request: it stays charged
        self._reserved.remove((name, cost))
        self._stats.release(cost)
        self._ceiling.release(cost)

    def commit(self) -> None:
        """Spend all reserved FLOPs, at the end of a request."""
        charges = self._reserved
        if charges:
            self._reserved = []
            self._stats.commit(charges)
            self._ceiling.commit(sum([cost for _, cost in charges]))

    def close(self) -> None:
        """Release the ceiling, which owns a descriptor, at the end of the session."""
        del self._ceiling
