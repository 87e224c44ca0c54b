"""The client's side: one connection to one service of a control server.

Requests go one at a time, whatever the number of threads. Every wait has a limit and notices the
death of the server. Whatever leaves question and answer out of step (a time-out, an interrupt, a
broken protocol) closes the connection for good, with a goodbye if one can still be said. After a
fork it belongs to the parent alone.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import warnings
from types import TracebackType
from typing import Any

from shm_echo.control.address import Address, parse_address
from shm_echo.control.client.client_stream import (
    ClientStream,
    StreamClosedError,
    StreamTimeoutError,
)
from shm_echo.control.client.socket_connect import open_stream
from shm_echo.control.peer import Peer
from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.control.protocol.messages import (
    Closed,
    ErrorReply,
    Goodbye,
    Message,
    Reply,
    Request,
    Welcome,
)
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    HandshakeError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
    ServerNotFoundError,
)

__all__ = ["ClientConnection", "connect"]

_HANDSHAKE_TIMEOUT = 5.0
_PAUSE_AFTER_HANGUP = 0.01
_PATIENCE_WITH_AN_END = 0.5
_SENT_AS_A_WHOLE = 4096  # bytes: fits into one buffer of a Unix socket


def connect(
    address: str | Address,
    service: str,
    timeout: float = 0.0,
    *,
    handshake_timeout: float = _HANDSHAKE_TIMEOUT,
    server_uid: int | None = None,
) -> ClientConnection:
    """Connect to a service.

    Args:
        address: a name or an ``ipc://`` path, see ``parse_address``.
        service: what is wanted of the server.
        timeout: how long to wait for a server that is not up yet, in seconds.
        handshake_timeout: how long a server may take to answer once it is reached.
        server_uid: another user whose server is trusted, beside this one's.

    Raises:
        ServerNotFoundError: nobody serves there.
        ServiceUnavailableError: somebody does, but not this service.
        ProtocolVersionError: another version of the control protocol is spoken there.
        ProtocolError: something else answers there, or nothing.
        PeerRefusedError: the server is another user's, or lives in another pid namespace.
        RefusedError: the service has a reason of its own.
        DescriptorLimitError: this process may open no more descriptors.
        AddressError: the address cannot be used.
    """
    where = parse_address(address) if isinstance(address, str) else address
    deadline = time.monotonic() + _seconds("timeout", timeout)
    patience = _seconds("handshake_timeout", handshake_timeout)
    while True:
        handshake = ClientHandshake(where.path, service)
        line = open_stream(where, deadline, server_uid)
        try:
            welcome = _greet(line, handshake, patience)
            return ClientConnection(where.path, service, line, handshake, welcome)
        except _HungUpError as error:
            line.close()
            # A server that is being replaced by the next one: as good as none, while there is time.
            if time.monotonic() >= deadline:
                raise error.reason from None
            time.sleep(_PAUSE_AFTER_HANGUP)
        except BaseException:
            line.close()
            raise


class _HungUpError(Exception):
    """The server took the connection and closed it without a word."""

    def __init__(self, reason: HandshakeError) -> None:
        super().__init__()
        self.reason = reason


def _greet(line: ClientStream, handshake: ClientHandshake, patience: float) -> Welcome:
    deadline = time.monotonic() + patience
    # A server that is full refuses without waiting for the hello. Then the hello finds the
    # connection closed, and the refusal is still there to be read.
    with contextlib.suppress(StreamClosedError):
        try:
            line.send(handshake.hello(), deadline)
        except StreamTimeoutError:
            raise handshake.timed_out(patience) from None
    while True:
        try:
            data = line.receive(deadline)
        except StreamTimeoutError:
            raise handshake.timed_out(patience) from None
        except StreamClosedError as error:
            raise _HungUpError(ServerNotFoundError(handshake.address, str(error))) from None
        finally:
            line.drop_fds()  # none belong to a welcome
        try:
            welcome = handshake.receive(data)
        except ProtocolError as error:
            if data or handshake.answered:
                raise
            raise _HungUpError(error) from None
        if welcome is not None:
            return welcome


class ClientConnection:
    """A session with a service. Thread-safe: requests wait for each other.

    Use it as a context manager, or end it with ``goodbye`` (the server then knows that it was on
    purpose) or ``close``.

    Attributes:
        address: the path of the server's socket.
        service: the service that was asked for.
        session: the number that the server has given the session.
        limits: what the server allows, such as ``max_frame``.
        info: what the service had to say in its welcome.
        peer: the server's process.
    """

    def __init__(
        self,
        address: str,
        service: str,
        line: ClientStream,
        handshake: ClientHandshake,
        welcome: Welcome,
    ) -> None:
        self.address = address
        self.service = service
        self.session = welcome.session
        self.limits = welcome.limits
        self.info = welcome.info
        self.peer: Peer = line.peer
        self._line = line
        self._endpoint = handshake.endpoint
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._last_id = 0
        self._why_closed: str | None = None

    # ------------------------------------------------------------ talking

    def request(
        self, op: str, args: dict[str, Any], timeout: float = 30.0
    ) -> tuple[dict[str, Any], list[int]]:
        """Ask for something, and wait for the answer.

        Returns:
            The result and the file descriptors that came with it, which are the caller's to close.

        Raises:
            RequestError: the service said no. The connection stays usable.
            RequestTimeoutError: no answer came in time. The connection is closed.
            ConnectionClosedError: the server has gone, or the connection was closed.
            ProtocolError: the answer was not one. The connection is closed.
            DescriptorLimitError: no room for the descriptors of the answer. The connection is
                closed.
            ValueError: the request cannot be sent. Nothing was.
            TimeoutError: requests of other threads took all of the time. Nothing was sent.
        """
        deadline = time.monotonic() + _seconds("timeout", timeout)
        self._check_usable()
        if not self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise TimeoutError(
                f"requests of other threads kept the connection to {self.address} busy for "
                f"{timeout:g} s"
            )
        try:
            self._check_usable()
            request = Request(self._last_id + 1, op, args)
            data = self._endpoint.send(request)
            self._last_id = request.id
            return self._exchange(request, data, deadline, timeout)
        finally:
            self._lock.release()
            self._close_if_asked()

    def goodbye(self, timeout: float = 5.0) -> bool:
        """Tell the server that the session ends on purpose, and close.

        Returns:
            Whether the server has confirmed it. If not, it has gone or did not answer in time.
        """
        deadline = time.monotonic() + _seconds("timeout", timeout)
        if os.getpid() != self._pid:
            self.abandon()
            return False
        try:
            if not self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
                return False
            try:
                if self._why_closed is not None:
                    return False
                self._line.send(self._endpoint.send(Goodbye()), deadline)
                self._next_message(deadline)  # only `closed` can still come
                return True
            except (StreamClosedError, StreamTimeoutError, ProtocolError):
                return False
            finally:
                self._lock.release()
        finally:
            self.close()

    # ------------------------------------------------------------ watching

    @property
    def closed(self) -> bool:
        return self._why_closed is not None

    @property
    def pidfd(self) -> int:
        """A pidfd of the server's process, readable when that has ended; -1 once closed."""
        return self._line.pidfd

    def fileno(self) -> int:
        """The socket, for waiting only; -1 once closed."""
        return self._line.sock.fileno()

    def lost(self) -> str | None:
        """Why this connection is of no more use, or None while the server is there.

        Asks the kernel, not the server, so it is cheap and never waits.
        """
        if self._why_closed is not None:
            return self._why_closed
        try:
            return self._line.lost()
        except (OSError, ValueError):
            return self._why_closed  # closed by another thread just now

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        """Close without a goodbye: to the server this looks like a hang-up. Idempotent.

        A request that another thread waits for ends with ConnectionClosedError.
        """
        if os.getpid() != self._pid:
            self.abandon()
            return
        if self._why_closed is None:
            self._why_closed = "it was closed"
            self._line.hang_up()
        self._close_if_asked()

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors, and say nothing to anybody.

        The parent's connection is not affected.
        """
        if os.getpid() == self._pid:
            self.close()
            return
        # No lock: the thread that held it may not exist in this process.
        self._why_closed = "it belongs to the parent process"
        self._line.close()

    def __enter__(self) -> ClientConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.goodbye()

    def __del__(self) -> None:
        line = getattr(self, "_line", None)
        if line is None:
            return
        line.close()
        if self._why_closed is None and os.getpid() == self._pid:
            warnings.warn(f"unclosed connection to {self.address}", ResourceWarning, 2)

    # ------------------------------------------------------------ inside

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedHandleError(
                f"this connection to {self.address} was made by process {self._pid} and cannot be "
                "used in its forked child: connect again there"
            )
        if self._why_closed is not None:
            raise self._closed_error()

    def _closed_error(self) -> ConnectionClosedError:
        return ConnectionClosedError(
            f"the connection to {self.address} is closed: {self._why_closed}"
        )

    def _exchange(
        self, request: Request, data: bytes, deadline: float, timeout: float
    ) -> tuple[dict[str, Any], list[int]]:
        # Small ones are sent as a whole or not at all, and an interrupt does not tell which.
        whole = len(data) <= _SENT_AS_A_WHOLE
        try:
            self._line.send(data, deadline)
            whole = True
            answer = self._next_message(deadline)
        except StreamTimeoutError:
            self._leave(whole, f"it did not answer {request.op!r} in time")
            raise RequestTimeoutError(self.address, request.op, timeout) from None
        except StreamClosedError:
            self._break(self._line.how_closed(_PATIENCE_WITH_AN_END))
            raise self._closed_error() from None
        except BaseException as error:
            # An interrupt, too: the answer may still come, and would be taken for the next one.
            self._leave(whole, f"{request.op!r} ended with {type(error).__name__}")
            raise
        if isinstance(answer, Reply) and answer.id == request.id:
            return answer.result, self._line.take_fds()
        if isinstance(answer, ErrorReply) and answer.id == request.id:
            self._line.drop_fds()
            raise RequestError(answer.code, answer.message, answer.fields)
        if isinstance(answer, Closed):
            self._break("its server has shut down")
            raise self._closed_error()
        self._break("its server broke the protocol")
        raise ProtocolError(f"{self.address} broke the control protocol: it answered out of turn")

    def _next_message(self, deadline: float) -> Message:
        try:
            while True:
                message = self._endpoint.next_message()
                if message is not None:
                    return message
                data = self._line.receive(deadline)
                if not data:
                    raise StreamClosedError(self._line.how_closed())
                self._endpoint.feed(data)
        except ProtocolError as error:
            raise ProtocolError(f"{self.address} broke the control protocol: {error}") from None

    def _leave(self, whole: bool, why: str) -> None:
        """Close for good, with a goodbye unless half of a request stands before it: so that the
        server does not keep what it may have granted meanwhile. The caller holds the lock.
        """
        try:
            if whole and self._why_closed is None:
                with contextlib.suppress(StreamClosedError, StreamTimeoutError, ProtocolError):
                    self._line.send(self._endpoint.send(Goodbye()), 0.0)
        finally:
            self._break(why)

    def _break(self, why: str) -> None:
        """Close for good; the caller holds the lock."""
        if self._why_closed is None:
            self._why_closed = why
        self._line.close()

    def _close_if_asked(self) -> None:
        """Close the descriptors, unless another thread still uses them; it will do so then."""
        if self._why_closed is not None and self._lock.acquire(blocking=False):
            try:
                self._line.close()
            finally:
                self._lock.release()


def _seconds(name: str, value: float) -> float:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or math.isnan(value) or value < 0:
        raise ValueError(f"{name}: expected seconds from 0 up, got {value!r}")
    return float(value)
