"""The lock of a session that several threads share.

One request is under way at a time. While the server waits for a function of ours, requests of any
thread may nest inside the callback; then the innermost callback ends first. Signal handlers and
`__del__` may run anywhere: they can find out whether their own thread holds the lock, and an
exception out of a handler never leaves the lock held.
"""

from __future__ import annotations

import threading
from typing import Any


class RequestLock:
    """A lock that knows its thread, and how deep callbacks are nested.

    `check_not_owned()` and then `with request_lock.lock:` acquires it. The `with` statement makes
    one step of acquiring the lock and arranging its release, and no signal handler runs between.
    """

    def __init__(self) -> None:
        # RLock._is_owned is right from the moment of the acquisition. A field of ours would be set
        # one step later, and a signal handler in between would find it wrong.
        lock: Any = threading.RLock()
        self.lock = lock
        self.is_owned = lock._is_owned
        self._depth_changed = threading.Condition(lock)
        self._depth = 0

    def check_not_owned(self) -> None:
        """Check that this thread does not hold the lock; to be called before acquiring it.

        Raises:
            RuntimeError: It does: a signal handler or a finalizer interrupted it in the middle of a
                request, and would wait for itself.
        """
        if self.is_owned():
            raise RuntimeError(
                "an operation of mechestim was interrupted by another one on the same thread "
                "(a signal handler, or a finalizer); a server answers one at a time"
            )

    def try_acquire(self) -> bool:
        """Acquire the lock unless a thread holds it, this one included; never waits."""
        return not self.is_owned() and self.lock.acquire(blocking=False)

    def release(self) -> None:
        """Release the lock."""
        self.lock.release()

    @property
    def next_depth(self) -> int:
        """The depth of the callback that begins now; the caller holds the lock."""
        return self._depth + 1

    def release_for_callback(self, depth: int) -> None:
        """Release the lock while a callback runs: its requests and other threads may acquire it.

        Args:
            depth: The depth of the callback, from `next_depth`.
        """
        self._depth = depth
        self.release()

    def reacquire(self, depth: int) -> BaseException | None:
        """Acquire the lock after a callback, once every callback nested inside it has ended.

        It also follows a `release_for_callback` that was interrupted, and it never fails: the
        session would stay out of step.

        Returns:
            The exception that interrupted the wait, if one did.
        """
        interrupt: BaseException | None = None
        while not self.is_owned():
            try:
                self.lock.acquire()
            except BaseException as error:
                interrupt = error
        while self._depth > depth:
            try:
                self._depth_changed.wait()
            except BaseException as error:  # wait() has acquired the lock again
                interrupt = error
        self._depth = depth - 1
        self._depth_changed.notify_all()
        return interrupt
