"""A transport within one process, written against the public interface only.

Producers are objects of this process that hand their samples to an inlet. This minimal transport
shows that the public interface is sufficient.
"""

from __future__ import annotations

import threading
from typing import Any, Literal

from shm_echo import ConnectionClosedError, Ingress, Inlet

__all__ = ["MemoryClient", "MemoryTransport"]


class MemoryTransport:
    """Attaches producers of this process.

    Args:
        max_producers: the number of producers that may be attached at once.
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
        """Attach a new producer.

        Args:
            pid: the process id that it reports.

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
    """A producer. A lock separates its calls, so that none is in progress when its inlet ends."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self._turn = threading.Lock()

    def send(self, tree: Any, timeout: float | None = None) -> None:
        """Send as `ShmClient.send` does."""
        with self._turn:
            self._inlet.send(tree, timeout)

    def send_batch(self, tree: Any, timeout: float | None = None) -> int:
        """Send as `ShmClient.send_batch` does."""
        with self._turn:
            return self._inlet.send_batch(tree, timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait as `ShmClient.wait` does."""
        with self._turn:
            self._inlet.wait(timeout)

    def close(self) -> None:
        """Detach in good order."""
        with self._turn:
            self._inlet.close()

    def die(self, signal: int | None = None) -> None:
        """Detach without closing, as if killed."""
        with self._turn:
            self._inlet.died(signal)
