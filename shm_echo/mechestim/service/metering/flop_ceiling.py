"""The FLOPs that one principal may spend in all of its sessions, and one session's ledger.

A :class:`Ceiling` is two words: what has been spent, and what is promised to operations that run
now. Sessions that are processes of their own share the page; whoever changes it holds a lock that
the kernel takes from a holder that dies. What a killed session had promised is never free again.
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

LONG_OPERATION_FLOPS = 10**5  # above this an operation takes longer than the messages about it


def _exhausted_error(name: str, cost: int, available: int) -> BudgetExhaustedError:
    """That the ceiling has no room for an operation."""
    return BudgetExhaustedError(name, flop_cost=cost, flops_remaining=available, of_the_server=True)


class _CrossProcessLock:
    """Keeps out the other threads of this process, then the other processes."""

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
    """FLOPs of one principal; nothing restores them.

    Args:
        limit: how many there are; None for no limit (they are counted all the same).
        fd: the page of a ceiling that another process made; stays the caller's. None makes one.
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
        """FLOPs of operations that have started; it never goes down."""
        with self._lock:
            return int(self._words[_SPENT])

    @property
    def reserved(self) -> int:
        """FLOPs of the operations that run now."""
        with self._lock:
            return int(self._words[_RESERVED])

    def reserve(self, name: str, cost: int) -> None:
        """Promise ``cost`` FLOPs to an operation: the check and the promise are one step.

        Raises:
            BudgetExhaustedError: they are not there.
        """
        words = self._words
        with self._lock:
            available = self._most_flops - words[_SPENT] - words[_RESERVED]
            if cost > available:
                raise _exhausted_error(name, cost, available)
            words[_RESERVED] += cost

    def charge(self, name: str, cost: int) -> None:
        """Take ``cost`` FLOPs for an operation that nothing refuses any more.

        Raises:
            BudgetExhaustedError: they are not there.
        """
        words = self._words
        with self._lock:
            spent = words[_SPENT]
            available = self._most_flops - spent - words[_RESERVED]
            if cost > available:
                raise _exhausted_error(name, cost, available)
            words[_SPENT] = spent + cost

    def release(self, cost: int) -> None:
        """Free what was promised to an operation that was refused before it started."""
        with self._lock:
            self._words[_RESERVED] -= cost

    def commit(self, cost: int) -> None:
        """What was promised is spent: the operation has started."""
        words = self._words
        with self._lock:
            words[_RESERVED] -= cost
            words[_SPENT] += cost

    def share(self) -> int:
        """A new descriptor of the page, for another process; the caller's to close."""
        self._lock = _CrossProcessLock(self._threads, self._fd)
        return reopened(self._fd)

    def __del__(self) -> None:
        fd = getattr(self, "_fd", -1)
        if fd >= 0:
            os.close(fd)


class SessionLedger:
    """What one session pays from: asks the ceiling, keeps the stats, and waits at the scheduler.

    Not thread-safe: one thread at a time works on a session.

    Args:
        ceiling: of the session's principal.
        stats: shows what is paid for what.
        weights: the server's own, whatever a client configures.
        slot: the session's place at the scheduler.
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
        """Pay ``cost`` FLOPs, times the server's weight, for an operation that is about to run.

        Raises:
            BudgetExhaustedError: the ceiling does not allow it.
        """
        if cost > LONG_OPERATION_FLOPS:
            self._slot.promote_to_long()
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        self._ceiling.reserve(name, cost)
        self._reserved.append((name, cost))
        self._stats.reserve(name, cost)

    def charge(self, name: str, cost: int) -> None:
        """Pay for an operation that nothing refuses any more: :meth:`take`, settled at once.

        Raises:
            BudgetExhaustedError: the ceiling does not allow it.
        """
        if cost > LONG_OPERATION_FLOPS:
            self._slot.promote_to_long()
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        self._ceiling.charge(name, cost)
        self._stats.charge(name, cost)

    def release(self, name: str, cost: int) -> None:
        """The operation was refused before it started."""
        if self._weights:
            cost = scaled(cost, self._weights.get(name, 1))
        if (name, cost) not in self._reserved:
            return  # settled meanwhile: it stays charged
        self._reserved.remove((name, cost))
        self._stats.release(cost)
        self._ceiling.release(cost)

    def commit(self) -> None:
        """The request is over: what was promised is spent."""
        charges = self._reserved
        if charges:
            self._reserved = []
            self._stats.commit(charges)
            self._ceiling.commit(sum([cost for _, cost in charges]))

    def close(self) -> None:
        """The session is over: let go of the ceiling, which has descriptors of its own."""
        del self._ceiling
