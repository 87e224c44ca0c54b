"""The registry of readers: clients that read published values and send no samples.

A reader maps the broadcast only. It has no owner id and writes nothing that another process waits
for, so its end needs no recovery, and it counts for nothing that concerns producers.
"""

from __future__ import annotations

import threading
import time

from shm_echo.metrics import ReaderInfo

__all__ = ["Readers"]


class Readers:
    """The readers of one server. Every method may be called from any thread."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler may close a server while its thread is in a method here.
        self._lock = threading.RLock()
        self._attached: dict[int, tuple[int, float]] = {}  # pid and monotonic time, by number
        self._last = 0

    def attach(self, pid: int) -> int:
        """Register a reader, and return its number."""
        with self._lock:
            self._last += 1
            self._attached[self._last] = (pid, time.monotonic())
            return self._last

    def detach(self, number: int) -> None:
        """Unregister a reader. Later calls for it do nothing."""
        with self._lock:
            self._attached.pop(number, None)

    def snapshot(self) -> list[ReaderInfo]:
        """Return the attached readers, in the order in which they attached."""
        with self._lock:
            now = time.monotonic()
            return [
                ReaderInfo(number, pid, now - since)
                for number, (pid, since) in self._attached.items()
            ]
