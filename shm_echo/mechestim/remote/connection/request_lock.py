"""Whose turn it is on a session that several threads share.

One request is under way at a time. While the server waits for a function of ours, requests of any
thread may nest inside of it; then the innermost is finished first. Signal handlers and ``__del__``
may run anywhere: they can find out whether their own thread has the turn, and an exception out of a
handler never leaves the turn taken.
"""

from __future__ import annotations

import threading
from typing import Any


class RequestLock:
    """A lock that knows its thread, and how deep callbacks are nested.

    ``with turns.lock`` after :meth:`check` is how the turn is taken: taking it and being about to
    give it back are one step then, which no signal handler comes between.
    """

    def __init__(self) -> None:
        # Knows its owner from the moment it is taken; a field of ours would be late.
        lock: Any = threading.RLock()
        self.lock = lock
        self.is_mine = lock._is_owned
        self._changed = threading.Condition(lock)
        self._depth = 0

    def check(self) -> None:
        """To be called before the turn is taken.

        Raises:
            RuntimeError: this thread has it already: a signal handler or a finalizer interrupted
                it in the middle of a request.
        """
        if self.is_mine():
            raise RuntimeError(
                "an operation of mechestim was interrupted by another one on the same thread "
                "(a signal handler, or a finalizer); a server answers one at a time"
            )

    def take_if_free(self) -> bool:
        """Take the turn unless somebody has it, this thread included; never waits."""
        return not self.is_mine() and self.lock.acquire(blocking=False)

    def give(self) -> None:
        """Let the next one."""
        self.lock.release()

    @property
    def next_depth(self) -> int:
        """How deep the callback is nested that begins now; the turn is the caller's."""
        return self._depth + 1

    def lend(self, depth: int) -> None:
        """A callback begins, as deep as :attr:`next_depth` said: others may ask now."""
        self._depth = depth
        self.give()

    def take_back(self, depth: int) -> BaseException | None:
        """The callback is over: wait until what was nested inside of it is over, too.

        Also after a :meth:`lend` that was interrupted. Never fails: what interrupts the waiting is
        returned.
        """
        interrupted: BaseException | None = None
        while not self.is_mine():
            try:
                self.lock.acquire()
            except BaseException as error:
                interrupted = error
        while self._depth > depth:
            try:
                self._changed.wait()
            except BaseException as error:  # it holds the lock again, whatever came
                interrupted = error
        self._depth = depth - 1
        self._changed.notify_all()
        return interrupted
