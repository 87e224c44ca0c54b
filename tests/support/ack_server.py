"""A server of one connection, on echo's wire, that acknowledges when the test says so."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import optree

from shm_echo import TcpClient
from tests.support.forwarder import reset
from tests.support.tcp_ends import ACK, greeting
from tests.support.waiting import WATCHDOG

__all__ = ["AckServer", "ack_server", "pair"]


class AckServer:
    """Listens, and serves one connection at a time from the test's own thread.

    Args:
        example: of the server.
        receive_buffer: its size in bytes, to have the client's socket full soon.
    """

    def __init__(self, example: Any, receive_buffer: int | None = None) -> None:
        self.example = example
        self.size = sum(np.asarray(leaf).nbytes for leaf in optree.tree_leaves(example))
        self.listener = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.port = self.listener.getsockname()[1]
        self.connection: Any = None

    def greet(self) -> None:
        """Send the greeting into the next connection, which need not be accepted for that."""
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(WATCHDOG)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.sendall(greeting(self.example))

    def connect(self, **options: Any) -> TcpClient:
        """Return a client that is connected to this server."""
        from tests.support.threads import Worker

        greeter = Worker(self.greet)
        client = TcpClient("127.0.0.1", self.port, self.example, **options)
        greeter.result()
        return client

    def read(self, samples: int = 1) -> bytes:
        """Return the bytes of the next samples."""
        got = b""
        while len(got) < samples * self.size:
            data = self.connection.recv(samples * self.size - len(got))
            assert data, f"the client ended the connection after {len(got)} bytes"
            got += data
        return got

    def has_bytes(self) -> bool:
        """Return True if bytes are there to be read."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def rest(self) -> bytes:
        """Return everything up to the end of the stream."""
        got = []
        with contextlib.suppress(ConnectionResetError):
            while data := self.connection.recv(1 << 16):
                got.append(data)
        return b"".join(got)

    def ack(self, samples: int = 1) -> None:
        """Acknowledge samples."""
        self.connection.sendall(ACK * samples)

    def say(self, data: bytes) -> None:
        """Send bytes of any kind."""
        self.connection.sendall(data)

    def hang_up(self) -> None:
        """End the connection with FIN."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def reset(self) -> None:
        """End the connection with RST."""
        reset(self.connection)

    def close(self) -> None:
        """Close all sockets."""
        if self.connection is not None:
            self.connection.close()
        self.listener.close()


@contextlib.contextmanager
def ack_server(example: Any, receive_buffer: int | None = None) -> Iterator[AckServer]:
    """Make a server, and close it at the end."""
    server = AckServer(example, receive_buffer)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def pair(
    example: Any, *, receive_buffer: int | None = None, **options: Any
) -> Iterator[tuple[AckServer, TcpClient]]:
    """Make a server and a client that is connected to it; the client ends at once."""
    with ack_server(example, receive_buffer) as server:
        client = server.connect(**options)
        try:
            yield server, client
        finally:
            client._end_at_once()
