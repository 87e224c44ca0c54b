"""The warning of a producer that waits for room because the learner holds the ring's memory."""

from __future__ import annotations

import logging
import time

from shm_echo.ring.ring import Ring

__all__ = ["BLOCKED_AFTER", "FullRingWarning"]

_log = logging.getLogger("shm_echo")

# Seconds that one call waits for room until the first warning, and seconds between a client's later
# ones.
BLOCKED_AFTER, _NEXT_WARNING = 5.0, 60.0


class FullRingWarning:
    """Called, about ten times a second, while a call has waited for room for a long time.

    A learner that is merely slow is not reported: that is what waiting for room is for.

    Args:
        ring: the ring that is full.
        address: the address of its server.
    """

    def __init__(self, ring: Ring, address: str) -> None:
        self._ring = ring
        self._address = address
        self._next = 0.0  # monotonic time

    def __call__(self) -> None:
        now = time.monotonic()
        lent, buffers = self._ring.lent, self._ring.config.num_buffers
        # With one buffer left, the producers fill it and wait for the learner again.
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
