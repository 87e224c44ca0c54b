"""The registry of readers: clients that read published values and send no samples.

A reader maps the broadcast only, or gets its values over TCP. It has no owner id and writes nothing
that another process waits for, so its end needs no recovery, and it counts for nothing that
concerns producers.
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
        # Pid, monotonic time and peer, by number.
        self._attached: dict[int, tuple[int | None, float, str | None]] = {}
        self._last = 0

    def attach(self, pid: int | None, peer: str | None = None) -> int:
        """Register a reader, and return its number.

        Args:
            pid: its process; None if the transport does not know it.
            peer: the address that it connected from, over TCP.
        """
        with self._lock:
            self._last += 1
            self._attached[self._last] = (pid, time.monotonic(), peer)
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
                ReaderInfo(number, pid, now - since, peer)
                for number, (pid, since, peer) in self._attached.items()
            ]
