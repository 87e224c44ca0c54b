"""The supervisor: a thread that starts and reaps worker processes and checks all sessions.

It begins with the first session and ends with the service. While there is no session, it sleeps.
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

_TICK_S = 0.25  # well below a second: busy messages and wall times need no more precision


class Supervisor:
    """Calls functions on a thread of its own: on request, when a process ends and at every tick.

    Args:
        on_tick: Called every quarter of a second while it returns True, and after every other call.
    """

    def __init__(self, on_tick: Callable[[], bool]) -> None:
        self._on_tick = on_tick
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)
        self._watched: dict[int, Callable[[], None]] = {}
        self._stopping = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="mechestim-supervisor", daemon=True)
        self._thread.start()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call a function on the supervisor's thread, and `on_tick` afterwards."""
        self._calls.append(function)
        self.wake()

    def wake(self) -> None:
        """Call `on_tick` on the supervisor's thread."""
        with self._lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def watch(self, pidfd: int, on_exit: Callable[[], None]) -> None:
        """Call `on_exit` once a process has ended. Only for the supervisor's own thread."""
        self._watched[pidfd] = on_exit
        self._poll.register(pidfd, select.POLLIN)

    def stop(self) -> None:
        """End the thread after all requested calls. Idempotent."""
        self._stopping = True
        self.wake()
        if self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            wake, self._wake_fd = self._wake_fd, -1
        if wake >= 0:
            os.close(wake)

    def after_fork_in_child(self) -> None:
        """Close the descriptor that a forked child has inherited."""
        wake, self._wake_fd = self._wake_fd, -1
        if wake >= 0:
            os.close(wake)

    def _run(self) -> None:
        timeout: float | None = None
        while not self._stopping or self._calls:
            for fd, _ in self._poll.poll(None if timeout is None else timeout * 1000):
                on_exit = self._watched.pop(fd, None)
                if on_exit is None:
                    with contextlib.suppress(BlockingIOError):
                        os.eventfd_read(self._wake_fd)
                else:
                    self._poll.unregister(fd)
                    self._call_safely(on_exit)
                del (
                    on_exit
                )  # the name would keep an ended session's memory alive until the next event
            for _ in range(len(self._calls)):
                self._call_safely(self._calls.popleft())
            try:
                timeout = _TICK_S if self._on_tick() else None
            except Exception:
                _log.exception("internal error while checking the sessions")
                timeout = _TICK_S

    def _call_safely(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            _log.exception("internal error in the supervisor of the sessions")
