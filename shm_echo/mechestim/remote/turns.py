"""Whose turn it is on a session that several threads share.

One request is under way at a time. While the server waits for a function of ours, requests of any
thread may nest inside of it; then the innermost is finished first. The lock is not reentrant, so
that ``__del__``, which may run anywhere, can find out whether it may speak.
"""

from __future__ import annotations

import threading


class Turns:
    """A lock that knows its thread, and how deep callbacks are nested."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._owner = 0
        self._depth = 0

    def take(self) -> None:
        """Wait for the turn.

        Raises:
            RuntimeError: this thread has it already: a signal handler or a finalizer interrupted
                it in the middle of a request.
        """
        if not self._lock.acquire(blocking=False):
            if self._owner == threading.get_ident():
                raise RuntimeError(
                    "an operation of mechestim was interrupted by another one on the same thread "
                    "(a signal handler, or a finalizer); a server answers one at a time"
                )
            self._lock.acquire()
        self._owner = threading.get_ident()

    def take_if_free(self) -> bool:
        """Take the turn unless somebody has it; never waits."""
        if not self._lock.acquire(blocking=False):
            return False
        self._owner = threading.get_ident()
        return True

    def give(self) -> None:
        """Let the next one."""
        self._owner = 0
        self._lock.release()

    def lend(self) -> int:
        """A callback begins: others may ask now; the depth for :meth:`take_back`."""
        self._depth += 1
        depth = self._depth
        self.give()
        return depth

    def take_back(self, depth: int) -> BaseException | None:
        """The callback is over: wait until what was nested inside of it is over, too.

        Never fails: what interrupts the waiting is returned.
        """
        interrupted: BaseException | None = None
        while True:
            try:
                self._lock.acquire()
                break
            except BaseException as error:
                interrupted = error
        while self._depth > depth:
            try:
                self._changed.wait()
            except BaseException as error:  # it holds the lock again, whatever came
                interrupted = error
        self._depth -= 1
        self._changed.notify_all()
        self._owner = threading.get_ident()
        return interrupted
