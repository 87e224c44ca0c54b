"""The client's side of control connections: published values, and the learner's progress.

A request and its reply have a connection to themselves. Threads that ask at the same time use one
connection each, so one that waits for a version delays no other; a connection that is not in use
is kept for the next request.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shm_echo.errors import ConnectionClosedError, HandshakeError, ProtocolError
from shm_echo.ring.broadcast import leaf_arrays, payload_bytes
from shm_echo.transports.tcp.control_wire import MESSAGE_LIMIT, Reply, Request
from shm_echo.transports.tcp.shm_handshake import ClientIdentity, Opened, shake_hands
from shm_echo.transports.tcp.shm_wire import FrameDecoder
from shm_echo.validation import check_count, seconds

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec
    from shm_echo.spec.leaf import Array

__all__ = ["RemoteSubscriber"]

# Seconds between two looks at whether the client was closed meanwhile.
_SLICE = 0.1
# Seconds that a reply may take longer than the request's own time.
_GRACE = 5.0


class RemoteSubscriber:
    """Reads what a server publishes, and waits for its learner, over TCP. Threads may share it.

    Args:
        open_stream: returns a connected stream socket, by a deadline on the monotonic clock.
        identity: what the client says about itself.
        role: "reader" for a client that sends nothing, else "control".
        address: the server's address, for messages.
        publishes: the spec of the published values; None takes the server's.
        spec: the spec that the server's samples must have; None takes any.
        connect_timeout: seconds for a connection and its handshake.
        reconnect: True to connect again when the server has gone and come back.
        instance_id: the instance that must answer; None takes any.
    """

    def __init__(
        self,
        open_stream: Callable[[float], socket.socket],
        identity: ClientIdentity,
        *,
        role: Literal["control", "reader"],
        address: str,
        publishes: TreeSpec | None = None,
        spec: TreeSpec | None = None,
        connect_timeout: float = 5.0,
        reconnect: bool = False,
        instance_id: bytes | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._identity = identity
        self._role = role
        self._address = address
        self._publishes = publishes
        self._spec = spec
        self._connect_timeout = connect_timeout
        self._reconnect = reconnect
        self._expected = instance_id
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._busy: set[socket.socket] = set()
        self._last: tuple[int, list[Array]] | None = None  # the newest version read, read-only
        self._instance: bytes | None = None
        self._closed = False

    # ---------------------------------------------------------------- calls

    def open(self) -> Opened:
        """Connect now, instead of at the first request.

        Raises:
            HandshakeError: it failed; the subclass gives the reason.
            SpecMismatchError: an example differs from the server's.
            ConnectionClosedError: the server closed the connection.
        """
        sock, opened = self._connect()
        self._put_back(sock)
        return opened

    def latest(self, timeout: float | None, writable: bool = False) -> tuple[int, Any] | None:
        """Return the newest version and its value, or None before the first.

        Args:
            timeout: seconds to wait for the server; None waits as long as it lives.
            writable: return arrays that no other call returns; else they are read-only, and the
                same ones until the next version, in a tree of their own.

        Raises:
            TimeoutError: the server did not send it within `timeout` seconds.
            ConnectionClosedError: this client was closed, or the server has gone.
        """
        limit = seconds("timeout", timeout)
        sock, deadline = self._take(limit)
        with self._using(sock) as stream:
            # Read under this connection: another thread may have met a newer server meanwhile.
            last = self._last
            have = last[0] if last is not None and not writable else 0
            reply = stream.ask(Request("newest", have, limit), deadline)
            spec = self._publishes
            memory = None
            if reply.payload:
                if spec is None or reply.payload != payload_bytes(spec):
                    raise ProtocolError(
                        f"{self._address} sent a value of {reply.payload:,} bytes, which is not "
                        "the size of what it publishes"
                    )
                memory = stream.payload(reply.payload, deadline)
        if reply.outcome == "late":
            raise TimeoutError(
                f"{self._address} published faster than it could copy for {limit:g} s"
            )
        if reply.version == 0:
            return None
        assert spec is not None
        if memory is None and reply.version != have:
            raise ProtocolError(f"{self._address} sent no value with version {reply.version}")
        if memory is None:
            assert last is not None
            return last[0], spec.unflatten(last[1])
        arrays = leaf_arrays(spec, memory, writable=writable)
        if not writable:
            self._keep(reply.version, arrays)
        return reply.version, spec.unflatten(arrays)

    def wait_for(self, version: int, timeout: float | None) -> int:
        """Block until the newest version is at least `version`; return the newest.

        Raises:
            TimeoutError: the version was not published within `timeout` seconds.
            ConnectionClosedError: this client was closed, or the server has closed or gone.
        """
        version = check_count("version", version, 0, most=2**63 - 1)
        timeout = seconds("timeout", timeout)
        reply = self._ask("wait_for", version, timeout)
        if reply.outcome == "late":
            raise TimeoutError(
                f"version {version} did not come within {timeout:g} s (newest: {reply.version})"
            )
        return reply.version

    def taken(self, count: int, timeout: float | None) -> None:
        """Block until the learner has been handed the first `count` samples of this session.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
            ConnectionClosedError: this client was closed, or the server has closed or gone.
        """
        timeout = seconds("timeout", timeout)
        if self._ask("taken", count, timeout).outcome == "late":
            raise TimeoutError(f"not every sample was handed to the learner within {timeout:g} s")

    def close(self) -> None:
        """Say goodbye, and end the waits of other threads."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for sock in self._busy:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for sock in idle:
            with contextlib.suppress(OSError):
                sock.send(Request("goodbye").encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            sock.close()

    def after_fork_in_child(self) -> None:
        """Close the copies of the connections, which the parent uses."""
        self._lock = threading.Lock()
        self._closed = True
        for sock in (*self._idle, *self._busy):
            sock.close()
        self._idle, self._busy = [], set()

    # ---------------------------------------------------------------- connections

    def _ask(self, op: Literal["wait_for", "taken"], number: int, limit: float | None) -> Reply:
        sock, deadline = self._take(limit)
        with self._using(sock) as stream:
            reply = stream.ask(Request(op, number, limit), deadline)
        if reply.outcome == "closed":
            raise ConnectionClosedError(
                f"the server of {self._address} has gone; its newest version is {reply.version}"
            )
        return reply

    def _take(self, limit: float | None) -> tuple[socket.socket, float | None]:
        """Return a connection that is not in use, and the moment by which it must have answered."""
        deadline = None if limit is None else time.monotonic() + limit + _GRACE
        with self._lock:
            self._check_open()
            while self._idle:
                sock = self._idle.pop()
                if _has_ended(sock):
                    sock.close()
                    continue
                self._busy.add(sock)
                return sock, deadline
            if self._instance is not None and not self._reconnect:
                # It may be a new thread's, beside connections that are in use and alive.
                expected: bytes | None = self._instance
            else:
                expected = self._expected
        try:
            sock, _ = self._connect(expected)
        except HandshakeError as error:
            if self._instance is None:
                raise
            raise ConnectionClosedError(
                f"the server of {self._address} has gone: {error}"
            ) from None
        return sock, deadline

    def _connect(self, expected: bytes | None = None) -> tuple[socket.socket, Opened]:
        expected = expected or self._expected
        deadline = time.monotonic() + self._connect_timeout
        sock = self._open_stream(deadline)
        try:
            opened = shake_hands(
                sock,
                b"",
                self._role,
                self._identity,
                address=self._address,
                deadline=deadline,
                spec=self._spec,
                publishes=self._publishes,
                instance_id=expected,
            )
            with self._lock:
                self._check_open()
                if opened.hello.instance_id != self._instance:
                    self._last = None  # another server counts its versions from 1, too
                self._instance = opened.hello.instance_id
                self._publishes = self._publishes or opened.publishes
                self._busy.add(sock)
        except BaseException:
            sock.close()
            raise
        return sock, opened

    @contextlib.contextmanager
    def _using(self, sock: socket.socket) -> Any:
        """Give the stream of a connection, and keep the connection if all went well."""
        stream = _Stream(sock, self._address, lambda: self._closed)
        try:
            yield stream
        except BaseException:
            with self._lock:
                self._busy.discard(sock)
            sock.close()
            raise
        self._put_back(sock)

    def _put_back(self, sock: socket.socket) -> None:
        with self._lock:
            self._busy.discard(sock)
            if not self._closed:
                self._idle.append(sock)
                return
        sock.close()

    def _keep(self, version: int, arrays: list[Array]) -> None:
        with self._lock:
            if self._last is None or self._last[0] < version:
                self._last = version, arrays

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError(f"the client of {self._address} is closed")


def _has_ended(sock: socket.socket) -> bool:
    """Return True if the server has closed a connection that is not in use."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))  # nothing is sent unasked, so it is the end


class _Stream:
    """One connection while a request uses it."""

    def __init__(self, sock: socket.socket, address: str, is_closed: Callable[[], bool]) -> None:
        self._sock = sock
        self._address = address
        self._is_closed = is_closed

    def ask(self, request: Request, deadline: float | None) -> Reply:
        """Send a request and return the reply to it."""
        try:
            self._sock.sendall(request.encode(), socket.MSG_NOSIGNAL)
        except OSError as error:
            raise self._gone(error) from None
        frames = FrameDecoder(MESSAGE_LIMIT)
        memory = bytearray(MESSAGE_LIMIT)
        body = None
        while body is None:
            view = memoryview(memory)[: frames.missing]
            frames.feed(bytes(view[: self._read(view, deadline)]))
            body = frames.next_frame()
        reply = Reply.decode(body)
        if reply.outcome == "refused":
            raise ProtocolError(f"{self._address} refused a request: {reply.message}")
        return reply

    def payload(self, nbytes: int, deadline: float | None) -> Array:
        """Return the bytes that follow a reply."""
        memory = np.empty(nbytes, np.uint8)
        view = memoryview(memory)
        while view:
            view = view[self._read(view, deadline) :]
        return memory

    def _read(self, view: memoryview, deadline: float | None) -> int:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if poll.poll(1000 * (_SLICE if left is None else max(0.0, min(_SLICE, left)))):
                break
            if self._is_closed():
                raise self._gone(None)
            if left is not None and left <= 0:
                raise TimeoutError(f"{self._address} did not answer in time")
        try:
            count = self._sock.recv_into(view)
        except OSError as error:
            raise self._gone(error) from None
        if count == 0:
            raise self._gone(None)
        return count

    def _gone(self, error: OSError | None) -> ConnectionClosedError:
        if self._is_closed():
            return ConnectionClosedError(f"the client of {self._address} is closed")
        why = f": {error.strerror}" if error is not None and error.strerror else ""
        return ConnectionClosedError(f"the server of {self._address} has gone{why}")
