"""A transport of one's own in a few lines: the test itself lets producers in and out."""

from __future__ import annotations

from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress, Inlet

__all__ = ["ManualTransport"]


class ManualTransport:
    """Producers are inlets that the test opens, with whatever pid it says.

    Attributes:
        ingress: the server's side, once it runs.
        closed: whether the server has closed it.
    """

    backing: Backing = "private"

    def __init__(self, max_producers: int = 4) -> None:
        self.max_producers = max_producers
        self.closed = False

    def start(self, ingress: Ingress) -> None:
        """Called by the server."""
        self.ingress = ingress

    def open(self, pid: int | None = None) -> Inlet:
        """Let a producer in."""
        return self.ingress.open(pid)

    def close(self) -> None:
        """Called by the server."""
        self.closed = True
