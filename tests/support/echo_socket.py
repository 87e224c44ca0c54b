"""A client of echo's wire that is nothing but a socket: the test decides on every byte."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import numpy as np

from tests.support.waiting import WATCHDOG

__all__ = ["EchoSocket", "sample_bytes"]


def sample_bytes(tree: dict[str, Any]) -> bytes:
    """Return a sample of a plain dict as the wire has it: leaves in the order of their keys."""
    return b"".join(np.ascontiguousarray(tree[key]).tobytes() for key in sorted(tree))


class EchoSocket:
    """A connection to a server, whose handshake has been read.

    Attributes:
        sock: the socket; its calls fail after WATCHDOG seconds.
        leaves: the item size and the shape of each leaf, as the server has sent them.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection((host, port), WATCHDOG)
        self.sock.settimeout(WATCHDOG)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self.read(5) == b"ECHO\x01"
        self.leaves: list[tuple[int, tuple[int, ...]]] = []
        for _ in range(self._number()):
            itemsize, ndim = self._number(), self._number()
            self.leaves.append((itemsize, tuple(self._number() for _ in range(ndim))))

    @property
    def address(self) -> str:
        """The address of this end, as the server shows it."""
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def read(self, count: int) -> bytes:
        """Return exactly `count` bytes from the server.

        Raises:
            ConnectionError: the stream ended before.
        """
        found = b""
        while len(found) < count:
            more = self.sock.recv(count - len(found))
            if not more:
                raise ConnectionError(f"the stream ended after {len(found)} of {count} bytes")
            found += more
        return found

    def _number(self) -> int:
        (number,) = struct.unpack("<I", self.read(4))
        return int(number)

    def send(self, *trees: dict[str, Any]) -> None:
        """Send samples in one piece, and wait until each is acknowledged."""
        self.put(*trees)
        self.expect_acks(len(trees))

    def put(self, *trees: dict[str, Any]) -> None:
        """Send samples in one piece."""
        self.sock.sendall(b"".join(map(sample_bytes, trees)))

    def put_in_pieces(self, data: bytes, lengths: Iterable[int]) -> None:
        """Send bytes in pieces of these lengths, the rest as the last one."""
        for length in lengths:
            self.sock.sendall(data[:length])
            data = data[length:]
        self.sock.sendall(data)

    def expect_acks(self, count: int) -> None:
        """Read the acknowledgements of `count` samples."""
        assert self.read(count) == b"\x01" * count

    def at_end(self) -> bool:
        """Wait for the next byte. Return True if the stream ends instead."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """End the stream in good order."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()

    def reset(self) -> None:
        """Break the connection: the server gets a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> EchoSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
