"""The owning process as a producer of its own ring: what ``Server.submit`` does.

A full ring is where this differs from a client. The learner may be the very thread that submits,
and then waiting for room would be waiting for itself.
"""

from __future__ import annotations

import time
from typing import Any

from shm_echo.arguments import seconds
from shm_echo.delivery import Delivery
from shm_echo.errors import ConnectionClosedError, RingFullError, SendTimeoutError
from shm_echo.ring.core import Result
from shm_echo.ring.ring import Ring

__all__ = ["Submitter"]

_SLICE = 0.1  # seconds between two looks at who samples
_GRACE = 5.0  # seconds granted to a learner that has not sampled yet

SERVER_OWNER = 0  # the owner id that no client gets


class Submitter:
    """Puts samples of this process into the ring. Threads may share it."""

    def __init__(self, ring: Ring, delivery: Delivery) -> None:
        self._capacity = ring.config.capacity
        self._delivery = delivery
        self._sender = ring.sender(SERVER_OWNER, _refuse)
        self._began = time.monotonic()

    def submit(self, data: Any, timeout: float | None) -> None:
        """As ``Server.submit``."""
        timeout = seconds("timeout", timeout)
        self._delivery.count_submits()
        try:
            self._sender.send(data, 0.0)
            return
        except SendTimeoutError:
            pass
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if deadline is None else min(_SLICE, deadline - time.monotonic())
            if left <= 0:
                raise RingFullError(self._capacity, f"stayed so for {timeout:g} s")
            self._check_somebody_samples()
            try:
                self._sender.send(data, left)
                return
            except SendTimeoutError:
                continue

    def _check_somebody_samples(self) -> None:
        sampler = self._delivery.sampler
        why = self._delivery.nobody_samples()
        if why is None:
            return
        if sampler is None and time.monotonic() - self._began < _GRACE:
            return
        raise RingFullError(self._capacity, why)


def _refuse(result: int, sent: int, timeout: float | None) -> None:
    # Not a method: the sender would refer back to its owner, and the ring's memory would be freed
    # by the garbage collector only.
    if result == Result.TIMEOUT:
        raise SendTimeoutError(timeout or 0.0, sent)
    raise ConnectionClosedError("this server is closed", sent)
