"""A forwarder of TCP connections in user space, which delays, stalls, splits, cuts and resets them.

Its sockets are real, so both ends see what a network would do to them; it needs no permissions.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.support.waiting import WATCHDOG

__all__ = ["Forwarder", "Link", "Way", "random_sizes", "reset", "unsent"]

End = Literal["close", "reset", "silence"]

_WHOLE = 1 << 16
# Seconds after which a peer's kernel that takes nothing more is full, and nobody reads there.
_FULL_FOR = 2.0


def random_sizes(seed: int, most: int) -> Callable[[], int]:
    """Return a function that draws sizes of pieces, from 1 to `most` bytes."""
    source = random.Random(seed)
    return lambda: source.randint(1, most)


def reset(sock: socket.socket) -> None:
    """Close a socket with RST: what a crashed host's kernel answers, without an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _finish_sending(sock: socket.socket) -> None:
    """Send FIN, and wait until the peer's kernel has all that was sent.

    A socket that is closed with unread bytes sends RST, and drops what it has not sent yet.
    """
    with contextlib.suppress(OSError):  # the peer has gone
        sock.shutdown(socket.SHUT_WR)
        scrap = bytearray(_WHOLE)
        left, give_up = unsent(sock), time.monotonic() + _FULL_FOR
        while True:
            with contextlib.suppress(BlockingIOError):
                while sock.recv_into(scrap):
                    pass
            if not left or time.monotonic() >= give_up:
                break
            time.sleep(0.001)  # the kernel reports no acknowledgements
            if (now := unsent(sock)) != left:
                left, give_up = now, time.monotonic() + _FULL_FOR


def unsent(sock: socket.socket) -> int:
    """Return the number of bytes that the peer's kernel has not acknowledged."""
    left = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(left, sys.byteorder)


@dataclass
class Way:
    """How one direction of a connection is forwarded.

    Attributes:
        size: called for the size of each piece; pieces are sent at once, without Nagle's algorithm.
        delay: seconds before each piece.
        cut_at: end the connection, both directions, after this many bytes; None never.
        end: how: with FIN, with RST, or by forwarding nothing more while both ends stay open.
    """

    size: Callable[[], int] = lambda: _WHOLE
    delay: float = 0.0
    cut_at: int | None = None
    end: End = "close"


class Link:
    """One forwarded connection.

    Attributes:
        passed: bytes forwarded upwards (to the server) and downwards.
        done: set when nothing is forwarded any more.
    """

    def __init__(self, client: socket.socket, server: socket.socket, up: Way, down: Way) -> None:
        self.passed = {"up": 0, "down": 0}
        self.done = threading.Event()
        self._ends = (client, server)
        self._how: End = "close"
        self._wake = os.eventfd(0)
        self._open_gate = threading.Event()
        self._open_gate.set()
        self._lock = threading.Lock()
        self._running = 2
        for end in self._ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, source, sink, way in (
            ("up", client, server, up),
            ("down", server, client, down),
        ):
            args = (name, source, sink, way)
            threading.Thread(target=self._run, args=args, name=f"forward-{name}").start()

    def stall(self) -> None:
        """Forward nothing until `resume`; the kernels' buffers fill up."""
        self._open_gate.clear()

    def resume(self) -> None:
        """Forward again."""
        self._open_gate.set()

    def end(self, how: End = "close") -> None:
        """End both directions, and wait for that."""
        self._stop(how)
        assert self.done.wait(WATCHDOG), "a forwarded connection did not end"

    def _stop(self, how: End) -> None:
        with self._lock:
            if self._running == 2 or how != "silence":
                self._how = how
            if self._running:
                os.eventfd_write(self._wake, 1)
        self._open_gate.set()

    def _run(self, name: str, source: socket.socket, sink: socket.socket, way: Way) -> None:
        try:
            self._pump(name, source, sink, way)
        except OSError:  # one end has reset the connection: so does the forwarder at the other
            self._stop("reset")
        finally:
            with self._lock:
                self._running -= 1
                last = not self._running
            if last:
                self._finish()

    def _pump(self, name: str, source: socket.socket, sink: socket.socket, way: Way) -> None:
        while True:
            self._open_gate.wait()
            left = _WHOLE if way.cut_at is None else way.cut_at - self.passed[name]
            if left <= 0:
                self._stop(way.end)
                return
            if not self._ready(source, select.POLLIN):
                return
            self._open_gate.wait()  # what came during a stall stays in the kernel
            data = source.recv(min(way.size(), left))
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            if way.delay:
                time.sleep(way.delay)
            while data:
                if not self._ready(sink, select.POLLOUT):
                    return
                count = sink.send(data)
                self.passed[name] += count
                data = data[count:]

    def _ready(self, sock: socket.socket, event: int) -> bool:
        """Wait for an event of a socket; return False if the link shall end."""
        poll = select.poll()
        poll.register(sock, event)
        poll.register(self._wake, select.POLLIN)
        return self._wake not in {fd for fd, _ in poll.poll()}

    def _finish(self) -> None:
        if self._how == "close":
            for end in self._ends:
                _finish_sending(end)
        if self._how != "silence":
            self.close()
        self.done.set()

    def close(self) -> None:
        """Close what `silence` keeps open."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                if self._how == "reset":
                    reset(end)
                else:
                    end.close()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1


class Forwarder:
    """Listens at a port of 127.0.0.1, and forwards each connection to a server.

    Args:
        port: of the server, on 127.0.0.1.
        up: how bytes for the server travel; or a function of the connection's number from 0.
        down: the same for bytes of the server.

    Attributes:
        port: where clients connect.
        links: the connections, in the order in which they came.
    """

    def __init__(
        self,
        port: int,
        up: Way | Callable[[int], Way] | None = None,
        down: Way | Callable[[int], Way] | None = None,
    ) -> None:
        self._target = ("127.0.0.1", port)
        self._ways = [way if callable(way) else lambda _, w=way: w or Way() for way in (up, down)]
        self.links: list[Link] = []
        self._came = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="forwarder")
        self._thread.start()

    def link(self, number: int) -> Link:
        """Wait for a connection, and return it."""
        with self._came:
            came = self._came.wait_for(lambda: len(self.links) > number, WATCHDOG)
        assert came, f"connection {number} did not come"
        return self.links[number]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=WATCHDOG)
            except OSError:
                reset(client)
                continue
            up, down = (way(len(self.links)) for way in self._ways)
            with self._came:
                self.links.append(Link(client, server, up, down))
                self._came.notify_all()

    def close(self) -> None:
        """End all connections and stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(WATCHDOG)
        self._listener.close()
        for link in self.links:
            link.end()
            link.close()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
