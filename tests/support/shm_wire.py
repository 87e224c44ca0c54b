"""A listener of the shm wire for tests: the real acceptor, with a double of the C ingress."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from shm_echo.control.server.tokens import Tokens
from shm_echo.ring.broadcast import Publisher
from shm_echo.ring.readers import Readers
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp.client_token import ClientToken
from shm_echo.transports.tcp.control_channel import ControlChannel
from shm_echo.transports.tcp.server_handshake import Description
from shm_echo.transports.tcp.shm_acceptor import ShmAcceptor
from shm_echo.transports.tcp.shm_handshake import ClientIdentity, Opened, shake_hands
from shm_echo.transports.tcp.shm_wire import Role
from tests.support.waiting import WATCHDOG

__all__ = [
    "EXAMPLE",
    "SPEC",
    "TOKEN",
    "VALUE",
    "Listener",
    "RecordingIngress",
    "connected",
    "identity",
    "open_wire",
    "serving",
]

EXAMPLE = {"n": np.int64(0)}
SPEC = TreeSpec.from_example(EXAMPLE)
VALUE = {"w": np.zeros(3, np.float32), "step": np.int64(0)}
TOKEN = "correct-horse-battery"


class Ended(NamedTuple):
    """The end of a connection, as the real ingress reports it."""

    id: int
    queued: int
    last_position: int
    error: int


class RecordingIngress:
    """Reads the samples of adopted connections, 8 bytes each, and acknowledges the count.

    Attributes:
        samples: the samples that came, over all connections.
        peers: what each adoption said: address, producer id, count before.
        hold_ends: set it to keep back the ends of connections.
        waiting: by connection, True while its producer waits for the learner.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._sockets: dict[int, socket.socket] = {}
        self._counts: dict[int, int] = {}
        self._threads: list[threading.Thread] = []
        self.samples: list[int] = []
        self.peers: list[tuple[str, str | None, int]] = []
        self.hold_ends = threading.Event()
        self.taken_samples = 0
        self.waiting: dict[int, bool] = {}

    def adopt(
        self,
        fd: int,
        queued_before: int = 0,
        *,
        peer: str,
        position_before: int = 0,
        producer_id: str | None = None,
        way: str | None = None,
        holder: str | None = None,
        lost: Callable[[], bool] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> int:
        with self._lock:
            number = len(self.peers) + 1
            self.peers.append((peer, producer_id, queued_before))
            sock = socket.socket(fileno=fd)
            sock.setblocking(True)
            self._sockets[number] = sock
            self._counts[number] = queued_before
        arguments = (number, sock, on_end)
        thread = threading.Thread(target=self._read, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return number

    def _read(self, number: int, sock: socket.socket, on_end: Callable[[Any], None]) -> None:
        rest = b""
        try:
            while data := sock.recv(4096):
                rest += data
                count = len(rest) // 8
                with self._lock:
                    for i in range(count):
                        self.samples.append(int.from_bytes(rest[8 * i : 8 * i + 8], "little"))
                    self._counts[number] += count
                    self._lock.notify_all()
                rest = rest[8 * count :]
                sock.sendall(self._counts[number].to_bytes(8, "little"))
        except OSError:
            pass
        with self._lock:
            while self.hold_ends.is_set():
                self._lock.wait(0.01)
            sock.close()
            del self._sockets[number]
        on_end(Ended(number, self._counts[number], len(self.samples), 0))

    def kick(self, connection: int) -> bool:
        with self._lock:
            sock = self._sockets.get(connection)
            if sock is not None:
                _shut(sock)
            return sock is not None

    def taken(self, connection: int, count: int) -> bool:
        return self.taken_samples >= count

    def take(self, count: int) -> None:
        """Let the learner take samples, up to this count."""
        with self._lock:
            self.taken_samples = count
            self._lock.notify_all()

    def set_waiting(self, connection: int, waiting: bool) -> None:
        self.waiting[connection] = waiting

    def taken_ticket(self) -> int:
        return self.taken_samples

    def taken_wait(self, ticket: int, seconds: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self.taken_samples != ticket, seconds)

    def wait_for_samples(self, count: int) -> None:
        """Wait until this many samples have come."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.samples) >= count, WATCHDOG)

    def close(self) -> None:
        self.hold_ends.clear()
        with self._lock:
            for sock in self._sockets.values():
                _shut(sock)
        for thread in self._threads:
            thread.join(WATCHDOG)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # its peer may have reset it
        sock.shutdown(socket.SHUT_RDWR)


class Listener(NamedTuple):
    """An acceptor that listens, and its parts."""

    acceptor: ShmAcceptor
    port: int
    ingress: RecordingIngress
    publisher: Publisher | None
    readers: Readers


@contextmanager
def serving(
    *,
    spec: TreeSpec = SPEC,
    publishes: Any = None,
    run_id: str | None = None,
    tokens: dict[str, str] | None = None,
    tls: Any = None,
    instance_id: bytes = b"i" * 16,
) -> Iterator[Listener]:
    """Serve the shm wire on a free port of the loopback interface."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    ingress = RecordingIngress()
    publisher = None
    if publishes is not None:
        publisher = Publisher(TreeSpec.from_example(publishes), "private")
    readers = Readers()
    description = Description(
        instance_id,
        spec.to_wire(),
        publisher.spec.to_wire() if publisher is not None else None,
        run_id,
    )
    control = ControlChannel(publisher, readers, ingress)
    acceptor = ShmAcceptor(
        [sock],
        description,
        ingress,
        control,
        tokens=None if tokens is None else Tokens(tokens),
        tls=tls,
    )
    port = sock.getsockname()[1]
    acceptor.start()
    try:
        yield Listener(acceptor, port, ingress, publisher, readers)
    finally:
        acceptor.close()
        ingress.close()
        if publisher is not None:
            publisher.close()


def connected(port: int) -> socket.socket:
    """Return a plain connection to a port of this machine."""
    return socket.create_connection(("127.0.0.1", port), WATCHDOG)


def identity(
    token: str | None = None, *, session: bytes | None = None, **fields: Any
) -> ClientIdentity:
    """Return the identity of a client."""
    held = None if token is None else ClientToken(token, "token=")
    return ClientIdentity(session or os.urandom(16), token=held, **fields)


def open_wire(
    sock: socket.socket,
    who: ClientIdentity | None = None,
    role: Role = "samples",
    **arguments: Any,
) -> Opened:
    """Do a client's handshake on a connected socket."""
    return shake_hands(
        sock,
        b"",
        role,
        who or identity(),
        address="the server",
        deadline=time.monotonic() + WATCHDOG,
        **arguments,
    )
