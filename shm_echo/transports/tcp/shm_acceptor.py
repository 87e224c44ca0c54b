"""The acceptor of the shm wire: accepts connections, does their handshakes, and hands them on.

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
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.errors import ConnectionClosedError, ProtocolError
from shm_echo.transports.tcp.control_channel import ControlChannel
from shm_echo.transports.tcp.listener import accept, peer_text
from shm_echo.transports.tcp.pending_connection import PendingConnection
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
    from shm_echo.transports.base import Ingress

__all__ = ["HANDSHAKE_SECONDS", "MAX_PENDING", "ShmAcceptor", "open_acceptor"]

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


class ShmAcceptor(SocketThread):
    """Accepts connections of the shm wire.

    Args:
        listeners: listening sockets that do not block. It closes them.
        description: what the server says about itself.
        native: the connections of the C ingress.
        control: serves the connections that send no samples. It is started and closed here.
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
        _ = description.encoded  # one that is too large fails at the start
        super().__init__("shm-echo-acceptor")
        self._listeners = list(listeners)
        self._description = description
        self._native = native
        self._control = control
        self._tokens = tokens
        self._tls = tls
        self._failures = FailureLimit()
        self._logged = LogLimit()
        self._pending: set[PendingConnection] = set()
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
        for pending in self._pending:
            pending.sock.close()
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
            if len(self._pending) >= MAX_PENDING:
                self._set_listening(False)
                return
            try:
                with FORK_LOCK:
                    sock, peer = accept(listener)
                    pending = self._begin(sock, peer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(error)
                    return
                continue  # a connection that ended before it was accepted
            self._send(pending)

    def _pause(self, error: OSError) -> None:
        self._logged.warn(
            "accept",
            "the TCP transport accepts no connection for now: %s",
            os.strerror(error.errno or 0),
        )
        self._set_listening(False)
        self._accept_again = time.monotonic() + _NO_DESCRIPTOR_PAUSE

    def _begin(self, sock: socket.socket, peer: Any) -> PendingConnection:
        address = peer_text(peer[0], peer[1])
        try:
            sock.setblocking(False)
            handshake = ServerHandshake(self._description, self._tokens)
            deadline = time.monotonic() + HANDSHAKE_SECONDS
            pending = PendingConnection(sock, address, peer[0], handshake, deadline)
            if self._tls is not None:
                from shm_echo.transports.tcp.tls import accept_tls

                report = partial(self._logged.warn, "tls", "%s: %s", address)
                lost = pending.lost.set
                pending.sock = accept_tls(sock, self._tls, HANDSHAKE_SECONDS, report, lost)
                pending.sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self._pending.add(pending)
        return pending

    # ---------------------------------------------------------------- one connection

    def _send(self, pending: PendingConnection) -> None:
        """Send what is to be sent, then go on."""
        try:
            while pending.out:
                sent = pending.sock.send(pending.out, socket.MSG_NOSIGNAL)
                pending.out = pending.out[sent:]
        except (BlockingIOError, InterruptedError):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            events = both if pending.handshake.client is None else selectors.EVENT_WRITE
            self.watch(pending.sock, events, partial(self._on_ready, pending))
            return
        except OSError:
            self._drop(pending)
            return
        after, pending.after = pending.after, None
        if after is not None:
            after()
        else:
            self.watch(pending.sock, selectors.EVENT_READ, partial(self._on_ready, pending))

    def _on_ready(self, pending: PendingConnection) -> None:
        if pending.handshake.client is not None:
            if pending.out:
                self._send(pending)
            else:
                self._drop(pending)  # it has closed, or sent more, while it is to wait
            return
        try:
            data = pending.sock.recv(pending.handshake.missing)
            whole = bool(data) and pending.handshake.feed(data)
        except (BlockingIOError, InterruptedError):
            if pending.out:
                self._send(pending)
            return
        except ProtocolError as error:  # first: it is an OSError, too
            self._logged.warn(
                "protocol", "%s does not speak the shm wire: %s", pending.address, error
            )
            data = b""
        except OSError:
            data = b""
        if not data:
            self._drop(pending)
        elif whole:
            self._decide(pending)
        elif pending.out:
            self._send(pending)

    def _decide(self, pending: PendingConnection) -> None:
        """Check a client whose hello is whole, unless its address has to wait."""
        wait = self._failures.wait(pending.host) if self._tokens is not None else 0.0
        if wait > 0:
            pending.due = time.monotonic() + wait
            self.watch(pending.sock, selectors.EVENT_READ, partial(self._on_ready, pending))
            return
        pending.due = None
        handshake = pending.handshake
        try:
            handshake.check()
        except RefusalError as error:
            if error.code == "token":
                self._failures.failed(pending.host)
            self._refuse(pending, error)
            return
        client = handshake.client
        assert client is not None
        pending.key = (handshake.holder, client.session)
        if client.role == "samples":
            self._join_session(pending)
        else:
            pending.after = partial(self._give_to_control, pending)
            pending.out = memoryview(handshake.answer(0))
            self._send(pending)

    def _refuse(self, pending: PendingConnection, error: RefusalError) -> None:
        self._logged.warn(
            error.code, "the TCP transport refused %s: %s", pending.address, error.message
        )
        pending.out = memoryview(pending.handshake.refusal(error))
        pending.deadline = time.monotonic() + _REFUSED_SECONDS
        pending.after = partial(self._finish_refusal, pending)
        self._send(pending)

    def _finish_refusal(self, pending: PendingConnection) -> None:
        """Close as soon as the client has: a reset might overtake the reason."""
        try:
            pending.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(pending)
            return
        self.watch(pending.sock, selectors.EVENT_READ, partial(self._drop, pending))

    # ---------------------------------------------------------------- handing on

    def _join_session(self, pending: PendingConnection) -> None:
        """Answer a producer with the count of its session, once that is final."""
        assert pending.key is not None
        for other in [one for one in self._pending if one.key == pending.key and one.sends]:
            if other is not pending:
                self._drop(other)  # an earlier try of the same client
        session = self.sessions.find(pending.key)
        if session.is_open and session.connection is not None:
            pending.deadline = time.monotonic() + _SEAM_SECONDS
            self.watch(pending.sock, selectors.EVENT_READ, partial(self._on_ready, pending))
            self._native.kick(session.connection)
            return  # `_on_end` continues
        pending.after = partial(self._give_to_ingress, pending, session.queued, session.position)
        pending.out = memoryview(pending.handshake.answer(session.queued))
        self._send(pending)

    def _give_to_ingress(self, pending: PendingConnection, queued: int, position: int) -> None:
        client, key = pending.handshake.client, pending.key
        assert client is not None
        assert key is not None
        self._leave(pending)
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
                pending.sock.fileno(),
                queued,
                position_before=position,
                peer=pending.address,
                producer_id=client.producer_id,
                way=client.way,
                holder=key[0],
                lost=pending.lost.is_set,
                on_end=on_end,
            )
        except (ConnectionClosedError, OSError, RuntimeError) as error:
            pending.sock.close()
            self._logged.warn("adopt", "%s was not let in: %s", pending.address, error)
            return
        pending.sock.detach()
        self.sessions.begin(key, connection)
        begun = True
        note_end()

    def _on_end(self, key: Key, connection: int, queued: int, position: int) -> None:
        self.sessions.end(key, connection, queued, position)
        for pending in [one for one in self._pending if one.key == key and one.sends]:
            if pending.after is None:
                pending.deadline = time.monotonic() + HANDSHAKE_SECONDS
                self._join_session(pending)

    def _give_to_control(self, pending: PendingConnection) -> None:
        client, key = pending.handshake.client, pending.key
        assert client is not None
        assert key is not None
        self._leave(pending)
        self._control.add(pending.sock, pending.address, key, is_reader=client.role == "reader")

    def _leave(self, pending: PendingConnection) -> None:
        self.forget(pending.sock)
        self._pending.discard(pending)
        if self._accept_again is None:
            self._set_listening(True)

    def _drop(self, pending: PendingConnection) -> None:
        self._leave(pending)
        pending.after = None
        pending.sock.close()

    # ---------------------------------------------------------------- time

    def seconds_to_next(self, now: float) -> float | None:
        times = [min(one.deadline, one.due or one.deadline) for one in self._pending]
        if self._accept_again is not None:
            times.append(self._accept_again)
        return min(times) - now if times else None

    def on_time(self, now: float) -> None:
        if self._accept_again is not None and now >= self._accept_again:
            self._accept_again = None
            self._set_listening(len(self._pending) < MAX_PENDING)
        for pending in list(self._pending):
            if now >= pending.deadline:
                self._drop(pending)
            elif pending.due is not None and now >= pending.due:
                self._decide(pending)


def open_acceptor(
    listeners: Sequence[socket.socket],
    native: NativeConnections,
    ingress: Ingress,
    *,
    tokens: Tokens | None,
    tls: ssl.SSLContext | None,
    run_id: str | None,
) -> ShmAcceptor:
    """Start the acceptor of a transport.

    Args:
        listeners: its listening sockets, which it closes.
        native: the connections of its C ingress.
        ingress: the server's side.
        tokens: as for `ShmAcceptor`.
        tls: likewise.
        run_id: the run that clients must belong to, or None.

    Raises:
        ValueError: the descriptions of the examples are too large for a hello.
        DescriptorLimitError: this process may open no more descriptors.
    """
    publisher = ingress.publisher
    description = Description(
        ingress.instance_id,
        ingress.spec.to_wire(),
        publisher.spec.to_wire() if publisher is not None else None,
        run_id,
    )
    control = ControlChannel(publisher, ingress.readers, native)
    try:
        acceptor = ShmAcceptor(listeners, description, native, control, tokens=tokens, tls=tls)
    except BaseException:
        control.close()
        raise
    acceptor.start()
    return acceptor
