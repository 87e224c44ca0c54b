"""The control channel: answers the clients that ask for published values and for progress.

One thread serves all of them, and waits for none. A published version is copied once, and every
reader is sent the same copy at its own pace, so a slow reader delays neither `publish` nor another
reader. It costs the memory of the version that it is reading, and is dropped when it has taken
nothing for 30 seconds.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from shm_echo.errors import ProtocolError, RingCorruptedError
from shm_echo.transports.tcp.control_wire import MESSAGE_LIMIT, Outcome, Reply, Request
from shm_echo.transports.tcp.sessions import Key, NativeConnections, Sessions
from shm_echo.transports.tcp.shm_wire import FrameDecoder
from shm_echo.transports.tcp.socket_thread import LogLimit, SocketThread, start_without_signals

if TYPE_CHECKING:
    from shm_echo.ring.broadcast import Publisher
    from shm_echo.ring.readers import Readers

__all__ = ["STALLED_SECONDS", "ControlChannel"]

_log = logging.getLogger("shm_echo")

# Seconds without progress after which a reader of a value is dropped.
STALLED_SECONDS = 30.0
# Bytes of one call of send, so that a fast reader does not keep the thread for itself.
_PIECE = 1 << 20
# Copies in one round that the publisher may overtake, before other clients get their turn.
_COPIES = 8


class _Client:
    """One control connection.

    Attributes:
        sock, address, key: its socket, the peer's address, its session.
        reader: its number among the server's readers; None unless it is one.
        request: the request that is being answered; None between two of them.
        deadline: when the request's time is over; None if never, or if there is none.
        waits_as: the connection of its producer, while that waits for the learner.
        out: what is to be sent.
        moved: when bytes of `out` were last taken.
    """

    def __init__(self, sock: socket.socket, address: str, key: Key, reader: int | None) -> None:
        self.sock = sock
        self.address = address
        self.key = key
        self.reader = reader
        self.frames = FrameDecoder(MESSAGE_LIMIT)
        self.request: Request | None = None
        self.deadline: float | None = None
        self.waits_as: int | None = None
        self.out: list[memoryview] = []
        self.moved = 0.0


class ControlChannel(SocketThread):
    """Serves control connections.

    Args:
        publisher: the published values; None if the server publishes nothing.
        readers: the registry of the server's readers.
        native: the connections of the C ingress, which know what the learner has taken.

    Attributes:
        sessions: the sessions of the acceptor; it sets them.
    """

    sessions: Sessions

    def __init__(
        self, publisher: Publisher | None, readers: Readers, native: NativeConnections
    ) -> None:
        super().__init__("shm-echo-control")
        self._publisher = publisher
        self._native = native
        self._readers = readers
        self._logged = LogLimit()
        self._clients: set[_Client] = set()
        self._waiting: set[_Client] = set()  # for a version, or for a copy of one
        self._draining: set[_Client] = set()  # until the learner has taken samples
        self._newest: tuple[int, memoryview] | None = None  # the copy that readers are sent
        self._progress = _Progress(native, self.wake)

    def start(self) -> None:
        """Serve, and listen for published versions."""
        super().start()
        if self._publisher is not None:
            self._publisher.on_publish = self._on_publish

    def close(self) -> None:
        """Tell the clients that wait that the server ends, and close all connections."""
        if self._publisher is not None:
            self._publisher.on_publish = None
        self._progress.close()
        super().close()

    def add(self, sock: socket.socket, address: str, key: Key, *, is_reader: bool) -> None:
        """Serve a connection whose handshake is done. It belongs to the channel from now on."""

        def begin() -> None:
            reader = self._readers.attach(None, address) if is_reader else None
            client = _Client(sock, address, key, reader)
            self._clients.add(client)
            self.watch(sock, selectors.EVENT_READ, partial(self._on_readable, client))

        if not self.call_soon(begin):
            sock.close()

    def close_all(self) -> None:
        for client in list(self._waiting | self._draining):
            with contextlib.suppress(OSError):
                client.sock.send(self._reply("closed").encode(), socket.MSG_NOSIGNAL)
        for client in list(self._clients):
            self._drop(client)

    def close_in_child(self) -> None:
        self._progress.after_fork_in_child()
        for client in self._clients:
            client.sock.close()

    def _on_publish(self) -> None:
        if self._waiting:  # else nobody has to be told
            self.wake()

    # ---------------------------------------------------------------- requests

    def _on_readable(self, client: _Client) -> None:
        try:
            data = client.sock.recv(MESSAGE_LIMIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data or client.request is not None:  # it asks again before it has its answer
            self._drop(client)
            return
        try:
            client.frames.feed(data)
            body = client.frames.next_frame()
            if body is not None:
                if client.frames.has_partial_frame:
                    raise ProtocolError("a control connection asks before it has its answer")
                client.request = Request.decode(body)
        except ProtocolError as error:
            self._logged.warn("control", "%s was disconnected: %s", client.address, error)
            self._drop(client)
            return
        if client.request is not None:
            self._begin(client, client.request)

    def _begin(self, client: _Client, request: Request) -> None:
        if request.op == "goodbye":
            self._drop(client)
            return
        if self._publisher is None and request.op != "taken":
            message = "it publishes nothing: give its Server publishes=example"
            self._send(client, [memoryview(Reply(outcome="refused", message=message).encode())])
            return
        timeout = request.timeout
        client.deadline = None if timeout is None else time.monotonic() + timeout
        (self._draining if request.op == "taken" else self._waiting).add(client)
        self._try(client, time.monotonic())
        if client in self._draining:  # the learner is told that this producer waits for it
            client.waits_as = self.sessions.find(client.key).connection
            if client.waits_as is not None:
                self._native.set_waiting(client.waits_as, True)

    def _try(self, client: _Client, now: float) -> None:
        """Answer a request if that is possible now, or if its time is over."""
        request = client.request
        assert request is not None
        if request.op == "newest":
            self._try_newest(client, request, now)
        elif request.op == "taken":
            if self.sessions.taken(client.key, request.number):
                self._answer(client, self._reply())
            elif _is_over(client, now):
                self._answer(client, self._reply("late"))
            else:
                self._progress.watch()
        elif self._version >= request.number:
            self._answer(client, self._reply())
        elif self._publisher is None or self._publisher.closed:
            self._answer(client, self._reply("closed"))
        elif _is_over(client, now):
            self._answer(client, self._reply("late"))

    def _try_newest(self, client: _Client, request: Request, now: float) -> None:
        version = self._version
        if version == request.number or version == 0:
            self._answer(client, Reply(version))
            return
        if self._newest is None or self._newest[0] < version:
            newest = self._copy_newest()
            if newest is None and _is_over(client, now):
                self._answer(client, self._reply("late"))
            if newest is None:
                return  # overtaken by `publish`, every time: the next round tries again
            self._newest = newest
        version, payload = self._newest
        self._answer(client, Reply(version, payload.nbytes), payload)

    def _copy_newest(self) -> tuple[int, memoryview] | None:
        assert self._publisher is not None
        for _ in range(_COPIES):
            found = self._publisher.copy_newest()
            if found is not None:
                return found[0], found[1].data.toreadonly()
        return None

    @property
    def _version(self) -> int:
        return 0 if self._publisher is None else self._publisher.version

    def _reply(self, outcome: Outcome = "ok") -> Reply:
        return Reply(self._version, outcome=outcome)

    # ---------------------------------------------------------------- replies

    def _answer(self, client: _Client, reply: Reply, payload: memoryview | None = None) -> None:
        self._end_wait(client)
        self._send(client, [memoryview(reply.encode()), *([payload] if payload else [])])

    def _end_wait(self, client: _Client) -> None:
        self._waiting.discard(client)
        self._draining.discard(client)
        if client.waits_as is not None:
            self._native.set_waiting(client.waits_as, False)
            client.waits_as = None

    def _send(self, client: _Client, out: list[memoryview]) -> None:
        client.out = out
        client.moved = time.monotonic()
        self._send_on(client)

    def _send_on(self, client: _Client) -> None:
        try:
            while client.out:
                # Together, or the few bytes of a reply would be a packet of their own.
                pieces = [client.out[0][:_PIECE], *(piece[:_PIECE] for piece in client.out[1:])]
                sent = client.sock.sendmsg(pieces, [], socket.MSG_NOSIGNAL)
                large = sent >= _PIECE
                while client.out and sent >= client.out[0].nbytes:
                    sent -= client.out.pop(0).nbytes
                if client.out:
                    client.out[0] = client.out[0][sent:]
                client.moved = time.monotonic()
                if large:
                    break  # the others first
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._drop(client)
            return
        if client.out:
            self.watch(client.sock, selectors.EVENT_WRITE, partial(self._send_on, client))
            return
        client.request = None
        self.watch(client.sock, selectors.EVENT_READ, partial(self._on_readable, client))

    def _drop(self, client: _Client) -> None:
        self.forget(client.sock)
        self._clients.discard(client)
        self._end_wait(client)
        client.out = []
        client.sock.close()
        if client.reader is not None:
            self._readers.detach(client.reader)

    # ---------------------------------------------------------------- time

    def seconds_to_next(self, now: float) -> float | None:
        times = [one.deadline for one in self._waiting | self._draining if one.deadline is not None]
        times += [one.moved + STALLED_SECONDS for one in self._clients if one.out]
        if any(one.request is not None and one.request.op == "newest" for one in self._waiting):
            return 0.001  # `publish` has overtaken the copy: try again
        return min(times) - now if times else None

    def on_time(self, now: float) -> None:
        if self._newest is not None and self._newest[0] < self._version:
            self._newest = None  # clients that are being sent it have it still
        for client in list(self._waiting):
            self._try_safely(client, now)
        for client in list(self._draining):
            self._try_safely(client, now)
        for client in [one for one in self._clients if one.out]:
            if now >= client.moved + STALLED_SECONDS:
                self._logged.warn(
                    "stalled", "the reader %s took nothing for 30 s: closed", client.address
                )
                self._drop(client)

    def _try_safely(self, client: _Client, now: float) -> None:
        try:
            self._try(client, now)
        except RingCorruptedError as error:
            self._drop(client)
            self._logged.warn("damage", "%s", error)


def _is_over(client: _Client, now: float) -> bool:
    return client.deadline is not None and now >= client.deadline


class _Progress:
    """A thread that waits for the learner, while clients wait for their samples to be taken.

    Args:
        native: the connections of the C ingress.
        on_progress: called after each batch.
    """

    def __init__(self, native: NativeConnections, on_progress: Callable[[], None]) -> None:
        self._native = native
        self._on_progress = on_progress
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self) -> None:
        """Call `on_progress` when the learner has taken another batch, once at least."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shm-echo-progress", daemon=True)
            start_without_signals(self._thread)
        self._wanted.set()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._on_progress = lambda: None  # else the two would keep each other until a collection

    def after_fork_in_child(self) -> None:
        """Forget the parent's thread."""
        self._thread = None

    def _run(self) -> None:
        ticket = self._native.taken_ticket()
        while True:
            self._wanted.wait()
            if self._closed:
                return
            self._native.taken_wait(ticket, 0.1)
            self._wanted.clear()  # before the call, which may ask for another round
            ticket = self._native.taken_ticket()
            self._on_progress()
