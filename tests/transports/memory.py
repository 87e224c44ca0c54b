"""A transport within one process, written against the public interface alone.

Producers are objects of this process that hand their samples to an inlet. It is the least that a
transport can be, and shows that nothing but the interface is needed.
"""

from __future__ import annotations

import threading
from typing import Any, Literal

from shm_echo import ConnectionClosedError, Ingress, Inlet

__all__ = ["MemoryClient", "MemoryTransport"]


class MemoryTransport:
    """Takes producers of this process in.

    Args:
        max_producers: how many there may be at once.
    """

    backing: Literal["private"] = "private"

    def __init__(self, max_producers: int = 8) -> None:
        self.max_producers = max_producers
        self._ingress: Ingress | None = None
        self._clients: list[MemoryClient] = []

    def start(self, ingress: Ingress) -> None:
        """Called by the server."""
        self._ingress = ingress

    def connect(self, pid: int | None = None) -> MemoryClient:
        """A new producer.

        Args:
            pid: the process that it says to be.

        Raises:
            RuntimeError: there are too many.
            ConnectionClosedError: the server is closed, or was never started.
        """
        if self._ingress is None:
            raise ConnectionClosedError("the server does not run")
        client = MemoryClient(self._ingress.open(pid))
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Called by the server."""
        for client in self._clients:
            client.close()
        self._clients.clear()


class MemoryClient:
    """A producer. Its calls take turns, so that none is in progress when its inlet ends."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self._turn = threading.Lock()

    def send(self, tree: Any, timeout: float | None = None) -> None:
        """As `ShmClient.send`."""
        with self._turn:
            self._inlet.send(tree, timeout)

    def send_batch(self, tree: Any, timeout: float | None = None) -> int:
        """As `ShmClient.send_batch`."""
        with self._turn:
            return self._inlet.send_batch(tree, timeout)

    def wait(self, timeout: float | None = None) -> None:
        """As `ShmClient.wait`."""
        with self._turn:
            self._inlet.wait(timeout)

    def close(self) -> None:
        """Leave in good order."""
        with self._turn:
            self._inlet.close()

    def die(self, signal: int | None = None) -> None:
        """Leave without a word."""
        with self._turn:
            self._inlet.died(signal)
