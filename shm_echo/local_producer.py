"""The owning process as a producer of its own ring: what ``Server.submit`` does.

A full ring is where this differs from a client. The learner may be the very thread that submits,
and then waiting for room would be waiting for itself.
"""

from __future__ import annotations

import time
from typing import Any

from shm_echo.consumer import Consumer
from shm_echo.errors import ConnectionClosedError, RingFullError, SendTimeoutError
from shm_echo.ring.core import Result
from shm_echo.ring.ring import Ring
from shm_echo.validation import seconds

__all__ = ["LocalProducer"]

_GRACE = 5.0  # seconds granted to a learner that has not sampled yet

SERVER_OWNER = 0  # the owner id that no client gets


class LocalProducer:
    """Puts samples of this process into the ring. Threads may share it."""

    def __init__(self, ring: Ring, delivery: Consumer) -> None:
        self._capacity = ring.config.capacity
        self._sender = ring.sender(
            SERVER_OWNER, _refuse, watch=_OtherProducers(delivery, ring.config.capacity)
        )

    def submit(self, data: Any, timeout: float | None) -> None:
        """As ``Server.submit``."""
        timeout = seconds("timeout", timeout)
        try:
            self._sender.send(data, timeout)
        except SendTimeoutError:
            raise RingFullError(self._capacity, f"stayed so for {timeout:g} s") from None


class _OtherProducers:
    """Raises RingFullError where waiting for room would be for ever. Called before each wait."""

    def __init__(self, delivery: Consumer, capacity: int) -> None:
        self._delivery = delivery
        self._capacity = capacity
        self._began = time.monotonic()

    def __call__(self) -> None:
        why = self._delivery.nobody_samples()
        if why is None:
            return
        if self._delivery.sampler is None and time.monotonic() - self._began < _GRACE:
            return
        raise RingFullError(self._capacity, why)


def _refuse(result: int, sent: int, timeout: float | None) -> None:
    # Not a method: the sender would refer back to its owner, and the ring's memory would be freed
    # by the garbage collector only.
    if result == Result.TIMEOUT:
        raise SendTimeoutError(timeout or 0.0, sent)
    raise ConnectionClosedError("this server is closed", sent)
