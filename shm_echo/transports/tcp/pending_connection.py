"""A connection of the shm wire whose handshake is not done."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shm_echo.transports.tcp.server_handshake import ServerHandshake
from shm_echo.transports.tcp.sessions import Key

__all__ = ["PendingConnection"]


class PendingConnection:
    """A connection whose handshake is not done.

    Attributes:
        sock: the socket, or the plain end of what decrypts it.
        address: the peer's address, as text.
        host: the same without the port.
        deadline: when it is closed.
        due: when its token may be looked at; None if it need not wait.
        out: bytes that are to be sent.
        after: what follows when they are.
        key: its session, when it waits for the end of the session's earlier connection.
        lost: set when its encrypted stream has ended without the end that TLS has.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: str,
        host: str,
        handshake: ServerHandshake,
        deadline: float,
    ) -> None:
        self.sock = sock
        self.address = address
        self.host = host
        self.handshake = handshake
        self.deadline = deadline
        self.due: float | None = None
        self.out = memoryview(handshake.hello)
        self.after: Callable[[], None] | None = None
        self.key: Key | None = None
        self.lost = threading.Event()

    @property
    def sends(self) -> bool:
        """True if it has said that it will send samples."""
        client = self.handshake.client
        return client is not None and client.role == "samples"
