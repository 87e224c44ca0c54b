"""The door of the shm wire: accepts connections, does their handshakes, and hands them on.

A connection that sends samples goes to the C ingress, and the others go to the control channel. One
thread does this for all connections, and waits for no peer: each has 5 seconds, and at most 256 are
in the middle of a handshake. When that many are, the next ones wait in the kernel's queue.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.errors import ConnectionClosedError, ProtocolError
from shm_echo.transports.tcp.control_channel import ControlChannel
from shm_echo.transports.tcp.server_handshake import (
    Description,
    FailureLimit,
    RefusalError,
    ServerHandshake,
)
from shm_echo.transports.tcp.sessions import Key, NativeConnections, Sessions
from shm_echo.transports.tcp.socket_thread import LogLimit, SocketThread

if TYPE_CHECKING:
    import ssl

    from shm_echo.control.server.tokens import Tokens

__all__ = ["HANDSHAKE_SECONDS", "MAX_PENDING", "Door"]

MAX_PENDING = 256
HANDSHAKE_SECONDS = 5.0

# Seconds for a client whose earlier connection is still being emptied into a full ring. It may give
# up before, and come again.
_SEAM_SECONDS = 60.0
_ACCEPTS_PER_ROUND = 64
_NO_DESCRIPTOR_PAUSE = 0.1
# Seconds for a client to read why it was refused.
_REFUSED_SECONDS = 1.0

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Newcomer:
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
    """

    def __init__(
        self, sock: socket.socket, address: str, host: str, handshake: ServerHandshake, now: float
    ) -> None:
        self.sock = sock
        self.address = address
        self.host = host
        self.handshake = handshake
        self.deadline = now + HANDSHAKE_SECONDS
        self.due: float | None = None
        self.out = memoryview(handshake.hello)
        self.after: Callable[[], None] | None = None
        self.key: Key | None = None


class Door(SocketThread):
    """Accepts connections of the shm wire.

    Args:
        listeners: listening sockets that do not block. The door closes them.
        description: what the server says about itself.
        native: the connections of the C ingress.
        control: serves the connections that send no samples. The door starts and closes it.
        tokens: the tokens that clients may prove to have; None asks for none.
        tls: what the connections are encrypted with; None leaves them plain.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        description: Description,
        native: NativeConnections,
        control: ControlChannel,
        *,
        tokens: Tokens | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        description.hello(tokens is not None).encode()  # one that is too large fails at the start
        super().__init__("shm-echo-door")
        self._listeners = list(listeners)
        self._description = description
        self._native = native
        self._control = control
        self._tokens = tokens
        self._tls = tls
        self._failures = FailureLimit()
        self._logged = LogLimit()
        self._newcomers: set[_Newcomer] = set()
        self._listening = False
        self._accept_again: float | None = None
        self.sessions = Sessions(native)
        control.sessions = self.sessions
        self._set_listening(True)

    def start(self) -> None:
        """Accept connections."""
        self._control.start()
        super().start()

    def close(self) -> None:
        """Close the listeners and the connections whose handshake is not done."""
        super().close()
        self._control.close()

    def close_all(self) -> None:
        for newcomer in self._newcomers:
            newcomer.sock.close()
        for listener in self._listeners:
            listener.close()

    # ---------------------------------------------------------------- accepting

    def _set_listening(self, listening: bool) -> None:
        if listening == self._listening:
            return
        self._listening = listening
        for listener in self._listeners:
            if listening:
                self.watch(listener, selectors.EVENT_READ, partial(self._accept, listener))
            else:
                self.forget(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_PER_ROUND):
            if len(self._newcomers) >= MAX_PENDING:
                self._set_listening(False)
                return
            try:
                with FORK_LOCK:
                    sock, peer = listener.accept()
                    newcomer = self._newcomer(sock, peer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(error)
                    return
                continue  # a connection that ended before it was accepted
            self._send(newcomer)

    def _pause(self, error: OSError) -> None:
        self._logged.warn(
            "accept",
            "the TCP transport accepts no connection for now: %s",
            os.strerror(error.errno or 0),
        )
        self._set_listening(False)
        self._accept_again = time.monotonic() + _NO_DESCRIPTOR_PAUSE

    def _newcomer(self, sock: socket.socket, peer: Any) -> _Newcomer:
        host = str(peer[0])
        host = host.removeprefix("::ffff:") if "." in host else host
        address = f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                from shm_echo.transports.tcp.tls import accept_tls

                report = partial(self._logged.warn, "tls", "%s: %s", address)
                sock = accept_tls(sock, self._tls, HANDSHAKE_SECONDS, report)
                sock.setblocking(False)
            handshake = ServerHandshake(self._description, self._tokens)
        except BaseException:
            sock.close()
            raise
        newcomer = _Newcomer(sock, address, host, handshake, time.monotonic())
        self._newcomers.add(newcomer)
        return newcomer

    # ---------------------------------------------------------------- one connection

    def _send(self, newcomer: _Newcomer) -> None:
        """Send what is to be sent, then go on."""
        try:
            while newcomer.out:
                sent = newcomer.sock.send(newcomer.out, socket.MSG_NOSIGNAL)
                newcomer.out = newcomer.out[sent:]
        except (BlockingIOError, InterruptedError):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            events = both if newcomer.handshake.client is None else selectors.EVENT_WRITE
            self.watch(newcomer.sock, events, partial(self._on_ready, newcomer))
            return
        except OSError:
            self._drop(newcomer)
            return
        if newcomer.after is not None:
            newcomer.after()
        else:
            self.watch(newcomer.sock, selectors.EVENT_READ, partial(self._on_ready, newcomer))

    def _on_ready(self, newcomer: _Newcomer) -> None:
        if newcomer.handshake.client is not None:
            if newcomer.out:
                self._send(newcomer)
            else:
                self._drop(newcomer)  # it has closed, or sent more, while it is to wait
            return
        try:
            data = newcomer.sock.recv(newcomer.handshake.missing)
            whole = bool(data) and newcomer.handshake.feed(data)
        except (BlockingIOError, InterruptedError):
            if newcomer.out:
                self._send(newcomer)
            return
        except OSError:
            data = b""
        except ProtocolError as error:
            self._logged.warn(
                "protocol", "%s does not speak the shm wire: %s", newcomer.address, error
            )
            data = b""
        if not data:
            self._drop(newcomer)
        elif whole:
            self._decide(newcomer)
        elif newcomer.out:
            self._send(newcomer)

    def _decide(self, newcomer: _Newcomer) -> None:
        """Check a client whose hello is whole, unless its address has to wait."""
        wait = self._failures.wait(newcomer.host) if self._tokens is not None else 0.0
        if wait > 0:
            newcomer.due = time.monotonic() + wait
            self.watch(newcomer.sock, selectors.EVENT_READ, partial(self._on_ready, newcomer))
            return
        newcomer.due = None
        handshake = newcomer.handshake
        try:
            handshake.check()
        except RefusalError as error:
            if error.code == "token":
                self._failures.failed(newcomer.host)
            self._refuse(newcomer, error)
            return
        client = handshake.client
        assert client is not None
        newcomer.key = (handshake.holder, client.session)
        if client.role == "samples":
            self._join_session(newcomer)
        else:
            newcomer.after = partial(self._give_to_control, newcomer)
            newcomer.out = memoryview(handshake.answer(0))
            self._send(newcomer)

    def _refuse(self, newcomer: _Newcomer, error: RefusalError) -> None:
        self._logged.warn(
            error.code, "the TCP transport refused %s: %s", newcomer.address, error.message
        )
        newcomer.out = memoryview(newcomer.handshake.refusal(error))
        newcomer.deadline = time.monotonic() + _REFUSED_SECONDS
        newcomer.after = partial(self._finish_refusal, newcomer)
        self._send(newcomer)

    def _finish_refusal(self, newcomer: _Newcomer) -> None:
        """Close as soon as the client has: a reset might overtake the reason."""
        try:
            newcomer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(newcomer)
            return
        self.watch(newcomer.sock, selectors.EVENT_READ, partial(self._drop, newcomer))

    # ---------------------------------------------------------------- handing on

    def _join_session(self, newcomer: _Newcomer) -> None:
        """Answer a producer with the count of its session, once that is final."""
        assert newcomer.key is not None
        for other in [one for one in self._newcomers if one.key == newcomer.key]:
            if other is not newcomer and other.handshake.client.role == "samples":  # type: ignore[union-attr]
                self._drop(other)  # an earlier try of the same client
        session = self.sessions.find(newcomer.key)
        if session.connection is not None:
            newcomer.deadline = time.monotonic() + _SEAM_SECONDS
            self.watch(newcomer.sock, selectors.EVENT_READ, partial(self._on_ready, newcomer))
            self._native.kick(session.connection)
            return  # `_on_end` continues
        newcomer.after = partial(self._give_to_ingress, newcomer, session.queued, session.position)
        newcomer.out = memoryview(newcomer.handshake.answer(session.queued))
        self._send(newcomer)

    def _give_to_ingress(self, newcomer: _Newcomer, queued: int, position: int) -> None:
        client, key = newcomer.handshake.client, newcomer.key
        assert client is not None
        assert key is not None
        self._leave(newcomer)
        ended: list[Any] = []
        begun = False

        def on_end(event: Any) -> None:  # on the thread of the ingress' events
            ended.append(event)
            self.call_soon(note_end)

        def note_end() -> None:
            if begun and ended:
                event = ended.pop()
                self._on_end(key, connection, event.queued, event.last_position)

        try:
            connection = self._native.adopt(
                newcomer.sock.fileno(),
                queued,
                position_before=position,
                peer=newcomer.address,
                producer_id=client.producer_id,
                way=client.way,
                on_end=on_end,
            )
        except (ConnectionClosedError, OSError, RuntimeError) as error:
            newcomer.sock.close()
            self._logged.warn("adopt", "%s was not let in: %s", newcomer.address, error)
            return
        newcomer.sock.detach()
        self.sessions.begin(key, connection)
        begun = True
        note_end()

    def _on_end(self, key: Key, connection: int, queued: int, position: int) -> None:
        self.sessions.end(key, connection, queued, position)
        for newcomer in [one for one in self._newcomers if one.key == key]:
            client = newcomer.handshake.client
            if client is not None and client.role == "samples" and newcomer.after is None:
                newcomer.deadline = time.monotonic() + HANDSHAKE_SECONDS
                self._join_session(newcomer)

    def _give_to_control(self, newcomer: _Newcomer) -> None:
        client, key = newcomer.handshake.client, newcomer.key
        assert client is not None
        assert key is not None
        self._leave(newcomer)
        self._control.add(newcomer.sock, newcomer.address, key, is_reader=client.role == "reader")

    def _leave(self, newcomer: _Newcomer) -> None:
        self.forget(newcomer.sock)
        self._newcomers.discard(newcomer)
        if self._accept_again is None:
            self._set_listening(True)

    def _drop(self, newcomer: _Newcomer) -> None:
        self._leave(newcomer)
        newcomer.sock.close()

    # ---------------------------------------------------------------- time

    def seconds_to_next(self, now: float) -> float | None:
        times = [min(one.deadline, one.due or one.deadline) for one in self._newcomers]
        if self._accept_again is not None:
            times.append(self._accept_again)
        return min(times) - now if times else None

    def on_time(self, now: float) -> None:
        if self._accept_again is not None and now >= self._accept_again:
            self._accept_again = None
            self._set_listening(len(self._newcomers) < MAX_PENDING)
        for newcomer in list(self._newcomers):
            if now >= newcomer.deadline:
                self._drop(newcomer)
            elif newcomer.due is not None and now >= newcomer.due:
                self._decide(newcomer)
