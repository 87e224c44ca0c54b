"""The warden: one thread that starts and reaps workers, and looks at every session now and then.

It begins with the first session and ends with the service. While there is no session it sleeps.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Supervisor"]

_log = logging.getLogger("shm_echo.mechestim")

_LOOK_S = 0.25


class Supervisor:
    """Calls functions on a thread of its own: when asked to, when a process ends, now and then.

    Args:
        look: called every quarter of a second while it returns true.
    """

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._ends: dict[int, Callable[[], None]] = {}
        self._stopping = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mechestim-warden", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called soon, and look afterwards."""
        self._calls.append(function)
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def watch(self, pidfd: int, ended: Callable[[], None]) -> None:
        """Have ``ended`` called when a process has ended. Only on the warden's own thread."""
        self._ends[pidfd] = ended
        self._poll.register(pidfd, select.POLLIN)

    def stop(self) -> None:
        """End the thread, after the calls that were asked for. Idempotent."""
        self._stopping = True
        self.call(lambda: None)
        if self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited."""
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    def _run(self) -> None:
        patience: float | None = None
        while not self._stopping or self._calls:
            for fd, _ in self._poll.poll(None if patience is None else patience * 1000):
                ended = self._ends.pop(fd, None)
                if ended is None:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._wake)
                else:
                    self._poll.unregister(fd)
                    self._safely(ended)
                del ended  # else the last session's memory would stay until the next one ends
            for _ in range(len(self._calls)):
                self._safely(self._calls.popleft())
            try:
                patience = _LOOK_S if self._look() else None
            except Exception:
                _log.exception("internal error while looking at the sessions")
                patience = _LOOK_S

    def _safely(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            _log.exception("internal error in the warden of the sessions")
