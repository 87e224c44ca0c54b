"""The warnings of a producer that waits for room which may never come.

The learner holds the ring's memory, or the producer's thread is the one that is to take batches. A
learner that is merely slow is not reported: that is what waiting for room is for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from shm_echo.ring.ring import Ring
from shm_echo.transports.own_servers import own_servers

__all__ = ["BLOCKED_AFTER", "FullRingWarning", "OwnServerWarning"]

_log = logging.getLogger("shm_echo")

# Seconds that one call waits for room until the first warning, and seconds between a client's later
# ones.
BLOCKED_AFTER, _NEXT_WARNING = 5.0, 60.0


class FullRingWarning:
    """Called, about ten times a second, while a call has waited for room for a long time.

    Args:
        ring: the ring that is full.
        address: the address of its server.
        instance_id: the server.
    """

    def __init__(self, ring: Ring, address: str, instance_id: bytes | None = None) -> None:
        self._ring = ring
        self._address = address
        self._own = OwnServerWarning(address, lambda: instance_id)
        self._next = 0.0  # monotonic time

    def __call__(self) -> None:
        now = time.monotonic()
        lent, buffers = self._ring.lent, self._ring.config.num_buffers
        # With one buffer left, the producers fill it and wait for the learner again.
        if lent < buffers - 1:
            self._own()
        if now < self._next or lent < buffers - 1:
            return
        self._next = now + _NEXT_WARNING
        _log.warning(
            "sending to %s has waited for room for %g s: the learner holds %d of %d batches",
            self._address,
            BLOCKED_AFTER,
            lent,
            buffers,
        )


class OwnServerWarning:
    """Called likewise: warns if no thread but the waiting one would make room.

    Args:
        address: the address of the server.
        find: returns the server's instance id, if it is known.
    """

    def __init__(self, address: str, find: Callable[[], bytes | None]) -> None:
        self._address = address
        self._find = find
        self._next = 0.0  # monotonic time

    def __call__(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        reason = own_servers.reason_for_endless_wait(self._find())
        if reason is None:
            return
        self._next = now + _NEXT_WARNING
        _log.warning(
            "sending to %s has waited for room for %g s, and may wait for ever: its server is in "
            "this process, and %s",
            self._address,
            BLOCKED_AFTER,
            reason,
        )
