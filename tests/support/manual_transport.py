"""A minimal transport: the test itself attaches and detaches producers."""

from __future__ import annotations

from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress, Inlet

__all__ = ["ManualTransport"]


class ManualTransport:
    """A transport whose producers are inlets that the test opens, with any pid.

    Attributes:
        ingress: the server's ingress, once the server runs.
        closed: True if the server has closed the transport.
    """

    backing: Backing = "private"

    def __init__(self, max_producers: int = 4) -> None:
        self.max_producers = max_producers
        self.closed = False

    def start(self, ingress: Ingress) -> None:
        """Called by the server."""
        self.ingress = ingress

    def open(self, pid: int | None = None) -> Inlet:
        """Attach a producer."""
        return self.ingress.open(pid)

    def close(self) -> None:
        """Called by the server."""
        self.closed = True
