"""The part of a `threading.Event` that echo's client has under the name `_closed`."""

from __future__ import annotations

import math
import time
from typing import Protocol

__all__ = ["ClosedEvent"]

# Seconds between two looks at the connection.
_LOOK_EVERY = 0.01


class _Closable(Protocol):
    @property
    def closed(self) -> bool: ...


class ClosedEvent:
    """Says when a client is closed, by itself or by its server.

    Args:
        client: the client.
    """

    def __init__(self, client: _Closable) -> None:
        self._client = client

    def is_set(self) -> bool:
        """Return True if the client is closed."""
        return self._client.closed

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the client is closed, for `timeout` seconds at most; return if it is."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)
        return self.is_set()
