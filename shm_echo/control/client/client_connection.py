"""The client's side: one connection to one service of a control server.

Requests go one at a time, however many threads share the connection. Every wait has a limit and
notices the death of the server. A time-out, an interrupt or a broken protocol leaves requests and
answers out of step, so each of them closes the connection for good, with a goodbye if one can still
be sent. After a fork the connection belongs to the parent alone.
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
from shm_echo.control.client.client_handshake import HangUpError, perform_handshake
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
from shm_echo.copying import Uncopyable
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    ProtocolError,
    RequestError,
    RequestTimeoutError,
)

__all__ = ["ClientConnection", "connect"]

# All times are in seconds.
_HANDSHAKE_TIMEOUT = 5.0
# Between two attempts at a server that hangs up: long enough for the next one to take its place.
_RETRY_PAUSE = 0.01
# A killed process closes its sockets before its pidfd tells. Within this time the error message can
# say that the process has ended, and not only that the connection has closed.
_EXIT_GRACE = 0.5
# Bytes. The kernel puts a message of this size into one buffer, so it is sent whole or not at all.
_ATOMIC_SEND_SIZE = 4096


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
        address: a name or an `ipc://` path, see `parse_address`.
        service: the name of the service.
        timeout: seconds to wait for a server that is not up yet.
        handshake_timeout: seconds that the server may take to answer once it is reached, if fewer
            are left of `timeout`.
        server_uid: another user whose server is trusted, besides this user's.

    Raises:
        ServerNotFoundError: no server listens at the address.
        ServiceUnavailableError: the server does not offer this service.
        ProtocolVersionError: the server speaks another version of the control protocol.
        HandshakeTimeoutError: the server is there and does not answer.
        ProtocolError: the other end is not a control server.
        PeerRefusedError: the server belongs to another user, or lives in another pid namespace.
        RefusedError: the server or its service refuses this client.
        DescriptorLimitError: this process may open no more descriptors.
        AddressError: the address is malformed, or its folder is not safe.

    Example:
        ```python
        with connect("my-server", "echo", timeout=5.0) as connection:
            result, fds = connection.request("echo", {"text": "hello"})
        ```
    """
    target = parse_address(address) if isinstance(address, str) else address
    deadline = time.monotonic() + _seconds("timeout", timeout)
    patience = _seconds("handshake_timeout", handshake_timeout)
    while True:
        stream = open_stream(target, deadline, server_uid, patience)
        answer_by = max(deadline, time.monotonic() + patience)
        try:
            handshake = ClientHandshake(stream.path, service)
            welcome = perform_handshake(stream, handshake, answer_by)
            return ClientConnection(stream.path, service, stream, handshake, welcome, answer_by)
        except HangUpError as error:
            stream.close()
            # The server is closing, and another may take its place: try again while time is left.
            if time.monotonic() >= deadline:
                raise error.reason from None
            time.sleep(_RETRY_PAUSE)
        except BaseException:
            stream.close()
            raise


class ClientConnection(Uncopyable):
    """A session with a service. Thread-safe: requests wait for each other.

    Use it as a context manager, or end it with `goodbye` (which tells the server that the end is on
    purpose) or `close`.

    Attributes:
        address: the path of the server's socket.
        service: the name of the service.
        session: the number of the session on the server.
        limits: the server's limits, such as `max_frame`.
        info: the map that the service put into the welcome.
        peer: the server's process.
        answer_by: the monotonic time until which `connect` would have waited for an answer.
    """

    _copying_advice = "it is one session of one process; connect again instead"

    def __init__(
        self,
        address: str,
        service: str,
        stream: ClientStream,
        handshake: ClientHandshake,
        welcome: Welcome,
        answer_by: float,
    ) -> None:
        self.address = address
        self.service = service
        self.session = welcome.session
        self.limits = welcome.limits
        self.info = welcome.info
        self.peer: Peer = stream.peer
        self.answer_by = answer_by
        self._stream = stream
        self._endpoint = handshake.endpoint
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._last_id = 0
        self._close_reason: str | None = None

    # ------------------------------------------------------------ requests

    def request(
        self, op: str, args: dict[str, Any], timeout: float = 30.0
    ) -> tuple[dict[str, Any], list[int]]:
        """Send a request, and wait for the answer.

        Args:
            op: the operation, by its name in the service.
            args: its arguments.
            timeout: seconds until the answer must have come, including the time that requests of
                other threads take before.

        Returns:
            The result and the file descriptors that came with it. The caller must close them.

        Raises:
            RequestError: the service refused the request or failed. The connection stays usable.
            RequestTimeoutError: no answer came in time. The connection is closed.
            ConnectionClosedError: the server has ended, or the connection was closed.
            ProtocolError: the answer breaks the protocol. The connection is closed.
            DescriptorLimitError: this process may not open the descriptors of the answer. The
                connection is closed.
            ValueError: the request cannot be encoded. Nothing was sent.
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
            self._close_when_idle()

    def goodbye(self, timeout: float = 5.0) -> bool:
        """End the session on purpose, and close the connection.

        Returns:
            True if the server has confirmed it; False if the server has ended, did not answer in
            time, or the connection was closed before.
        """
        deadline = time.monotonic() + _seconds("timeout", timeout)
        if os.getpid() != self._pid:
            self.abandon()
            return False
        try:
            if not self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
                return False
            try:
                if self._close_reason is not None:
                    return False
                self._stream.send(self._endpoint.send(Goodbye()), deadline)
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
        """True once the connection is closed at this end."""
        return self._close_reason is not None

    @property
    def pidfd(self) -> int:
        """A pidfd of the server's process, readable once that has ended; -1 once closed."""
        return self._stream.pidfd

    def fileno(self) -> int:
        """Return the socket's descriptor, for `select` and `poll` only; -1 once closed."""
        return self._stream.sock.fileno()

    def loss_reason(self) -> str | None:
        """Return why this connection cannot be used any more; None while the server is connected.

        Asks the kernel, not the server, so it is cheap and never waits.
        """
        if self._close_reason is not None:
            return self._close_reason
        try:
            return self._stream.loss_reason()
        except (OSError, ValueError):
            return self._close_reason  # another thread has closed the descriptors meanwhile

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        """Close without a goodbye, which the server sees as a hang-up. Idempotent.

        A request of another thread that still waits ends with ConnectionClosedError.
        """
        if os.getpid() != self._pid:
            self.abandon()
            return
        if self._close_reason is None:
            self._close_reason = "it was closed"
            self._stream.shutdown()
        self._close_when_idle()

    def abandon(self) -> None:
        """Close the inherited descriptors in a forked child, and send nothing.

        The parent's connection is not affected. In the parent itself this is `close`.
        """
        if os.getpid() == self._pid:
            self.close()
            return
        # No lock: the thread that held it may not exist in this process.
        self._close_reason = "it belongs to the parent process"
        self._stream.close()

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
        stream = getattr(self, "_stream", None)
        if stream is None:  # the constructor failed
            return
        stream.close()
        if self._close_reason is None and os.getpid() == self._pid:
            warnings.warn(f"unclosed connection to {self.address}", ResourceWarning, 2)

    # ------------------------------------------------------------ inside

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedHandleError(
                f"this connection to {self.address} was made by process {self._pid} and cannot be "
                "used in its forked child: connect again there"
            )
        if self._close_reason is not None:
            raise self._closed_error()

    def _closed_error(self) -> ConnectionClosedError:
        return ConnectionClosedError(
            f"the connection to {self.address} is closed: {self._close_reason}"
        )

    def _exchange(
        self, request: Request, data: bytes, deadline: float, timeout: float
    ) -> tuple[dict[str, Any], list[int]]:
        # An interrupt can come before or after the system call that sends a small request. Either
        # way no part of a message is on the wire, and a goodbye may follow.
        request_is_complete = len(data) <= _ATOMIC_SEND_SIZE
        try:
            self._stream.send(data, deadline)
            request_is_complete = True
            answer = self._next_message(deadline)
        except StreamTimeoutError:
            self._close_with_goodbye(
                request_is_complete, f"it did not answer {request.op!r} in time"
            )
            raise RequestTimeoutError(self.address, request.op, timeout) from None
        except StreamClosedError:
            self._close_for_good(self._stream.close_reason(_EXIT_GRACE))
            raise self._closed_error() from None
        except BaseException as error:
            # After an interrupt the answer may still come, and would be taken for the next one.
            self._close_with_goodbye(
                request_is_complete, f"{request.op!r} ended with {type(error).__name__}"
            )
            raise
        if isinstance(answer, Reply) and answer.id == request.id:
            return answer.result, self._stream.take_fds()
        if isinstance(answer, ErrorReply) and answer.id == request.id:
            self._stream.drop_fds()
            raise RequestError(answer.code, answer.message, answer.fields)
        if isinstance(answer, Closed):
            self._close_for_good("its server has shut down")
            raise self._closed_error()
        self._close_for_good("its server broke the protocol")
        raise ProtocolError(f"{self.address} broke the control protocol: it answered out of turn")

    def _next_message(self, deadline: float) -> Message:
        try:
            while True:
                message = self._endpoint.next_message()
                if message is not None:
                    return message
                data = self._stream.receive(deadline)
                if not data:
                    raise StreamClosedError(self._stream.close_reason())
                self._endpoint.feed(data)
        except ProtocolError as error:
            raise ProtocolError(f"{self.address} broke the control protocol: {error}") from None

    def _close_with_goodbye(self, request_is_complete: bool, reason: str) -> None:
        """Close for good, with a goodbye unless half a request is on the wire.

        The goodbye makes the server release anything that it grants with the answer that no one
        waits for. The caller holds the lock.
        """
        try:
            if request_is_complete and self._close_reason is None:
                with contextlib.suppress(StreamClosedError, StreamTimeoutError, ProtocolError):
                    self._stream.send(self._endpoint.send(Goodbye()), 0.0)
        finally:
            self._close_for_good(reason)

    def _close_for_good(self, reason: str) -> None:
        """Close for good. The caller holds the lock."""
        if self._close_reason is None:
            self._close_reason = reason
        self._stream.close()

    def _close_when_idle(self) -> None:
        """Close the descriptors unless another thread uses them; that thread closes them then."""
        if self._close_reason is not None and self._lock.acquire(blocking=False):
            try:
                self._stream.close()
            finally:
                self._lock.release()


def _seconds(name: str, value: float) -> float:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric or math.isnan(value) or value < 0:
        raise ValueError(f"{name}: expected seconds from 0 up, got {value!r}")
    return float(value)
