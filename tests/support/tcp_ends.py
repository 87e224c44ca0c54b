"""Both ends of echo's wire for tests: servers and clients of either library, and bare sockets.

`echo` and `shm_echo` have the same names, so a test takes the package as a parameter. What a bare
socket sends and expects is written down here a second time, apart from the code under test.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import optree

from tests.support.forwarder import reset
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

__all__ = [
    "ACK",
    "ARRAYS",
    "SIZE",
    "Collector",
    "RawPeer",
    "arrays",
    "connected",
    "fake_server",
    "greeting",
    "idle",
    "numbered_bytes",
    "payload",
    "serving",
    "take",
]

ACK = b"\x01"

# echo accepts arrays only as leaves, where an example of ours may have scalars.
ARRAYS: dict[str, Any] = {key: np.asarray(leaf) for key, leaf in EXAMPLE.items()}


SIZE = 20  # bytes of a numbered sample


def arrays(number: int) -> dict[str, Any]:
    """Return a numbered sample of arrays."""
    return {key: np.asarray(leaf) for key, leaf in numbered(number).items()}


def numbered_bytes(numbers: Iterable[int]) -> bytes:
    """Return the bytes of numbered samples, one after the other."""
    return b"".join(payload(numbered(number)) for number in numbers)


def greeting(example: Any) -> bytes:
    """Return what a server of this example sends to each connection."""
    leaves = [np.asarray(leaf) for leaf in optree.tree_leaves(example)]
    parts = [b"ECHO\x01", struct.pack("<I", len(leaves))]
    for leaf in leaves:
        parts.append(struct.pack(f"<{2 + leaf.ndim}I", leaf.itemsize, leaf.ndim, *leaf.shape))
    return b"".join(parts)


def payload(sample: Any) -> bytes:
    """Return the bytes of a sample."""
    return b"".join(np.asarray(leaf).tobytes() for leaf in optree.tree_leaves(sample))


@contextlib.contextmanager
def serving(library: ModuleType, example: Any, batch_size: int, **options: Any) -> Iterator[Any]:
    """Run a server of `echo` or `shm_echo` at a free port of this host, `server.port`."""
    transport = library.TcpTransport(port=0)
    server = library.Server(example, batch_size, transport=transport, **options)
    server.start()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def connected(library: ModuleType, port: int, example: Any, **options: Any) -> Iterator[Any]:
    """Run a client of `echo` or `shm_echo` that is connected to 127.0.0.1."""
    client = library.TcpClient("127.0.0.1", port, example, **options)
    try:
        yield client
    finally:
        client.close()
        if library.__name__ == "echo":
            client._sock.close()  # its close() does not, after the end of the server


def idle(server: Any) -> bool:
    """Return True if a server of ours has no connection.

    The list of producers learns of a connection a moment after the connection is counted, and of
    its end a moment after that, too.
    """
    return server.info().active_connections == 0 and not server.producers()


def take(server: Any) -> Any:
    """Return the next batch; fail if none comes, also where `sample` has no timeout."""
    sample = Worker(server.sample).result()
    assert sample is not None, "the server is closed"
    return sample.batch


class RawPeer:
    """A client made of a bare socket, which has read the server's greeting.

    Args:
        port: of a server on 127.0.0.1.
        example: of the server; the greeting must be exactly its.
        receive_buffer: its size in bytes, to have acks pile up in the server.
    """

    def __init__(
        self, port: int, example: Any = EXAMPLE, receive_buffer: int | None = None
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WATCHDOG)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.connect(("127.0.0.1", port))
            expected = greeting(example)
            got = self.receive(len(expected))
            assert got == expected, got.hex()
        except BaseException:
            self.sock.close()
            raise

    @property
    def name(self) -> str:
        """Return this end's address, as a server may log it."""
        host, port = self.sock.getsockname()
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(data)

    def receive(self, count: int) -> bytes:
        """Return exactly `count` bytes of the server."""
        got = b""
        while len(got) < count:
            data = self.sock.recv(count - len(got))
            assert data, f"the server ended the connection after {got.hex()}"
            got += data
        return got

    def acks(self, count: int) -> None:
        """Wait for this many acks, and fail if one byte is another one."""
        assert self.receive(count) == ACK * count

    def rest(self) -> bytes:
        """End this side's stream, and return everything until the server ends its own."""
        self.sock.shutdown(socket.SHUT_WR)
        got = []
        while data := self.sock.recv(1 << 16):
            got.append(data)
        return b"".join(got)

    def reset(self) -> None:
        """End the connection with RST."""
        reset(self.sock)

    def close(self) -> None:
        """End the connection with FIN (with RST, if acks were not read)."""
        self.sock.close()

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Collector:
    """Takes numbered samples from a server of ours, and keeps their numbers in order."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.numbers: list[int] = []

    def take_now(self) -> int:
        """Take a batch of what the ring holds, and return the number of its samples."""
        sample = self._server.flush(timeout=WATCHDOG)
        new = [] if sample is None else numbers_of(sample.batch)
        self.numbers += new
        return len(new)

    def take_all(self) -> None:
        """Take batches until the ring is empty."""
        while self.take_now():
            pass

    def until_idle(self) -> list[int]:
        """Take all samples until every connection has ended; return all numbers."""

        def ended() -> bool:
            # In this order: what is in the ring when nobody is connected is everything.
            gone = idle(self._server)
            self.take_all()
            return gone

        wait_until(ended, "every connection has ended")
        return self.numbers

    def until(self, count: int) -> list[int]:
        """Take samples until there are `count`; return all numbers."""
        deadline = time.monotonic() + WATCHDOG
        while len(self.numbers) < count:
            assert time.monotonic() < deadline, f"{len(self.numbers)} of {count} samples have come"
            try:
                self.numbers += numbers_of(self._server.sample(timeout=0.02).batch)
            except TimeoutError:  # there is no whole batch
                self.take_now()
        return self.numbers

    def check(self, sent: Sequence[range]) -> None:
        """Check that the samples are exactly these, and in order within each range."""
        assert sorted(self.numbers) == sorted(number for one in sent for number in one)
        for one in sent:
            mine = [number for number in self.numbers if number in one]
            assert mine == list(one), "samples of one connection came out of order"


@contextlib.contextmanager
def fake_server(serve: Callable[[socket.socket], None], connections: int = 1) -> Iterator[int]:
    """Listen, run `serve(connection)` for each connection in turn; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def accept() -> None:
            for _ in range(connections):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    assert stop.is_set()
                    return
                with connection:
                    connection.settimeout(WATCHDOG)
                    serve(connection)

        worker = Worker(accept)
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            worker.result()
