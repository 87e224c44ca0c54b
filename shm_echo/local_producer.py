"""The owning process as a producer of its own ring: the work of `Server.submit`.

It differs from a client at a full ring: the thread that submits may be the thread that samples, and
would then wait for itself.
"""

from __future__ import annotations

import time
from typing import Any

from shm_echo.consumer import Consumer
from shm_echo.errors import (
    ConnectionClosedError,
    RingCorruptedError,
    RingFullError,
    SendTimeoutError,
)
from shm_echo.ring.core import Result
from shm_echo.ring.ring import Ring
from shm_echo.validation import seconds

__all__ = ["LocalProducer"]

# Seconds that submit() waits at a full ring for the first sample() of another thread: it may only
# be late.
_FIRST_SAMPLE_GRACE = 5.0

SERVER_OWNER = 0  # owner id of the server itself; clients count from 1


class LocalProducer:
    """Puts samples of this process into the ring. Thread-safe."""

    def __init__(self, ring: Ring, consumer: Consumer) -> None:
        self._ring = ring
        self._sender = ring.sender(
            SERVER_OWNER, _raise_for_result, watch=_FullRingWatch(consumer, ring)
        )

    def submit(self, data: Any, timeout: float | None) -> None:
        """Copy one sample into the ring: see `Server.submit`."""
        timeout = seconds("timeout", timeout)
        try:
            self._sender.send(data, timeout)
        except SendTimeoutError:
            raise _full(self._ring, f"stayed so for {timeout:g} s") from None


class _FullRingWatch:
    """Called before each wait for room; raises RingFullError where the wait would never end."""

    def __init__(self, consumer: Consumer, ring: Ring) -> None:
        self._consumer = consumer
        self._ring = ring
        self._started = time.monotonic()

    def __call__(self) -> None:
        reason = self._consumer.reason_for_endless_wait()
        if reason is None:
            return
        if (
            self._consumer.sampler is None
            and time.monotonic() - self._started < _FIRST_SAMPLE_GRACE
        ):
            return
        raise _full(self._ring, reason)


def _full(ring: Ring, reason: str) -> RingFullError:
    config = ring.config
    return RingFullError(config.capacity, reason, ring.lent, config.num_buffers)


def _raise_for_result(result: int, sent: int, timeout: float | None) -> None:
    # Not a method: the sender would refer to its owner, and only the garbage collector could free
    # the ring's memory.
    if result == Result.TIMEOUT:
        raise SendTimeoutError(timeout or 0.0, sent)
    if result == Result.CORRUPTED:
        raise RingCorruptedError(
            "a slot was overwritten by another program, and the sample in it was not stored"
        )
    raise ConnectionClosedError("this server is closed", sent)
