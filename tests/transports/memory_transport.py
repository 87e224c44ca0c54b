"""A transport written by a user: producers of this process, against the public protocol alone.

It is what docs/ would show: three members, an inlet for each producer, and nothing of the library's
insides. The conformance suite runs on it.
"""

from __future__ import annotations

from typing import Any, Literal

from shm_echo import ConnectionClosedError
from shm_echo.transports.base import Ingress, Inlet

__all__ = ["MemoryClient", "MemoryTransport"]


class MemoryTransport:
    """Hands out clients that reach the ring by a call.

    Args:
        max_producers: how many may be connected at once.
    """

    backing: Literal["private"] = "private"

    def __init__(self, max_producers: int = 8) -> None:
        self.max_producers = max_producers
        self._ingress: Ingress | None = None

    def start(self, ingress: Ingress) -> None:
        """Called by the server."""
        self._ingress = ingress

    def close(self) -> None:
        """Called by the server."""
        self._ingress = None

    def connect(self, example: Any, pid: int | None = None) -> MemoryClient:
        """A new producer, whose example must be the server's.

        Raises:
            SpecMismatchError: it is not.
            ConnectionClosedError: there is no server.
        """
        if self._ingress is None:
            raise ConnectionClosedError("no server has been started with this transport")
        self._ingress.spec.check(example)
        return MemoryClient(self._ingress.open(pid))


class MemoryClient:
    """One producer."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self.send = inlet.send
        self.send_batch = inlet.send_batch
        self.wait = inlet.wait
        self.close = inlet.close

    def die(self, signal: int | None) -> None:
        """Play a process that was ended by a signal."""
        self._inlet.died(signal)
