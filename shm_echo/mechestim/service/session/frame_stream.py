"""The frames of one session on its socket, with a deadline for everything that has begun.

Waiting for the next request has no limit. A frame that has begun to arrive or to leave must be
complete by a deadline. It applies to the whole frame, so a client that sends a byte now and then
gains no time. Long frames have longer deadlines.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Protocol

from shm_echo.errors import ProtocolError
from shm_echo.mechestim.adaptive_spin import Spinner
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.scheduling.cpu_affinity import CpuMigrator
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot

__all__ = ["FrameStream", "SessionEndedError", "frame", "send_between_frames"]

_HEADER = struct.Struct("<I")
_length_at = _HEADER.unpack_from
_NOSIGNAL = int(socket.MSG_NOSIGNAL)
_DONTWAIT = int(socket.MSG_DONTWAIT)
_DONTWAIT_NOSIGNAL = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_ATOMIC_SEND_BYTES = 4096  # a Unix socket takes so few bytes as a whole or not at all
_BUFFER_BYTES = 1 << 16  # nearly every frame of requests fits
_MAX_READ_BYTES = 1 << 18  # one read of a long frame: `recv` allocates so much each time
_MIN_BYTES_PER_S = 1 << 20  # a client that is slower than this stalls

_GONE = "the client closed the connection"


def frame(payload: bytes) -> bytes:
    """Return a payload with its length in front of it.

    Example:
        >>> frame(b"abc")
        b'\\x03\\x00\\x00\\x00abc'
    """
    return _HEADER.pack(len(payload)) + payload


class SessionEndedError(Exception):
    """The session is over.

    Args:
        reason: The reason, for the log and the client.
        notify_client: False if the client can receive no message any more.
    """

    def __init__(self, reason: str, notify_client: bool = True) -> None:
        super().__init__(reason)
        self.notify_client = notify_client


class WriteLock(Protocol):
    """A lock on the writing side of a connection: no two frames mix.

    `threading.Lock` and `FileLock` are such locks.
    """

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock. Return True if it was taken."""

    def release(self) -> None:
        """Release the lock."""


class FrameStream:
    """Whole messages over a connected socket, which must be in blocking mode.

    Args:
        sock: The connection. The caller closes it.
        max_frame: The length of the longest payload that is accepted.
        stall_s: The seconds that a frame may take, plus one for each MiB of it.
        stats: Shows while a message is sent in part.
        lock: Held while a message is sent.
        slot: The session's slot, returned before the stream waits for the client.
    """

    def __init__(
        self,
        sock: socket.socket,
        max_frame: int,
        stall_s: float,
        stats: StatsPage,
        lock: WriteLock,
        slot: SchedulerSlot,
    ) -> None:
        self._sock = sock
        self._max_frame = max_frame
        self._stall_s = stall_s
        self._stats = stats
        self._lock = lock
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._stop = 0  # the received bytes in the buffer that no call has returned
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._migrator = CpuMigrator()
        self._slot = slot
        self._spin = Spinner(functools.partial(poll.poll, 0), slot.short_is_taken)

    def receive(self) -> bytes:
        """Wait for the next payload, and return it.

        Raises:
            SessionEndedError: The client has gone, or stalls.
            ProtocolError: The client announces a frame that is empty or too long.
        """
        if self._start == self._stop:
            self._stop = self._receive_some()
            self._start = 0
        return self._next_payload()

    def receive_nowait(self) -> bytes | None:
        """Return the next payload, or None if no byte of it has come.

        Waits for the rest of a frame that has begun to arrive.

        Raises:
            SessionEndedError: The client has gone, or stalls.
            ProtocolError: The client announces a frame that is empty or too long.
        """
        if self._start == self._stop:
            try:
                self._stop = self._sock.recv_into(self._buffer, 0, _DONTWAIT)
            except BlockingIOError:
                return None
            self._start = 0
        return self._next_payload()

    @property
    def pending(self) -> bool:
        """Return True if bytes of the next message have been read already."""
        return self._start != self._stop

    def _receive_some(self) -> int:
        if self._spin.wait():
            return self._sock.recv_into(self._buffer)
        since = time.monotonic()
        size = self._sock.recv_into(self._buffer)
        if self._migrator.record_wait(time.monotonic() - since):
            self._spin.reset()
        return size

    def _next_payload(self) -> bytes:
        """Return the payload that begins in the buffer."""
        start, stop = self._start, self._stop
        if start == stop:
            raise SessionEndedError(_GONE, notify_client=False)
        if stop - start > 4:
            (length,) = _length_at(self._buffer, start)
            end = start + 4 + length
            if end <= stop and 0 < length <= self._max_frame:
                self._start = end
                return bytes(self._buffer[start + 4 : end])
        self._start = self._stop = 0
        return self._receive_rest(bytearray(self._buffer[start:stop]))

    def _receive_rest(self, buffer: bytearray) -> bytes:
        """Receive the rest of a frame. Return its payload."""
        self._slot.step_down()
        deadline = time.monotonic() + self._stall_s
        while len(buffer) < 4:
            self._wait_and_read(buffer, 4, deadline)
        (length,) = _length_at(buffer)
        if not 0 < length <= self._max_frame:
            raise ProtocolError(
                f"a frame of {length:,} bytes was announced (allowed: 1 to {self._max_frame:,})"
            )
        deadline += length / _MIN_BYTES_PER_S
        while len(buffer) < 4 + length:
            self._wait_and_read(buffer, 4 + length, deadline)
        return bytes(memoryview(buffer)[4:])

    def _wait_and_read(self, buffer: bytearray, size: int, deadline: float) -> None:
        """Read more of a frame, and no byte of the next one."""
        if not _wait_until_ready(self._sock, select.POLLIN, deadline):
            raise SessionEndedError(f"a message stayed incomplete for {self._stall_s:g} s or more")
        with contextlib.suppress(BlockingIOError):
            most = min(size - len(buffer), _MAX_READ_BYTES)
            data = self._sock.recv(most, socket.MSG_DONTWAIT)
            if not data:
                raise SessionEndedError(_GONE, notify_client=False)
            buffer += data

    def send(self, payload: bytes, fds: Sequence[int] = (), sole_writer: bool = False) -> None:
        """Send one payload, and descriptors with its first byte.

        Args:
            payload: The payload.
            fds: Descriptors to pass to the client.
            sole_writer: True if the service cannot be sending a message of its own at this time. A
                short payload needs no lock then: the kernel takes it in one piece.

        Raises:
            SessionEndedError: The client does not take it in time.
            OSError: The client has gone.
        """
        data = _HEADER.pack(len(payload)) + payload
        sent = 0
        if sole_writer and not fds and len(data) <= _ATOMIC_SEND_BYTES:
            sent = _try_send(self._sock, data)
            if sent == len(data):
                return
        self._lock.acquire()
        try:
            self._stats.writing = True
            if fds:
                self._wait_until_writable(time.monotonic() + self._stall_s)
            rest = memoryview(data)[sent:]
            rest = rest[_try_send(self._sock, rest, fds) :]
            if rest:
                self._send_rest(rest)
            self._stats.writing = False
        finally:
            self._lock.release()

    def _send_rest(self, data: memoryview) -> None:
        deadline = time.monotonic() + self._stall_s + len(data) / _MIN_BYTES_PER_S
        while data:
            self._wait_until_writable(deadline)
            data = data[_try_send(self._sock, data) :]

    def _wait_until_writable(self, deadline: float) -> None:
        self._slot.step_down()
        if not _wait_until_ready(self._sock, select.POLLOUT, deadline):
            raise SessionEndedError(
                f"the client has taken no answer for {self._stall_s:g} s or more",
                notify_client=False,
            )


def _try_send(sock: socket.socket, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
    try:
        if fds:  # the caller has waited for room, so the descriptors go out with the first byte
            return socket.send_fds(sock, [data], list(fds), _NOSIGNAL)
        return sock.send(data, _DONTWAIT_NOSIGNAL)
    except BlockingIOError:
        return 0


def _wait_until_ready(sock: socket.socket, event: int, deadline: float) -> bool:
    left = deadline - time.monotonic()
    if left <= 0:
        return False
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(left * 1000))


def _is_writable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def send_between_frames(
    sock: socket.socket, payload: bytes, stats: StatsPage, lock: WriteLock
) -> bool:
    """Send a short payload between two frames of a session, from outside of it. Never waits.

    Returns:
        True if it was sent; False while the session itself sends, or when the client takes no data.
    """
    if not lock.acquire(blocking=False):
        return False
    try:
        if stats.writing:  # the lock is free, so the writer has died in the middle of a message
            return False
        # A Unix socket takes so short a message as a whole or not at all. TCP might take a part, so
        # poll first: it reports a socket as writable only while a third of its buffer is free.
        if sock.family != socket.AF_UNIX and not _is_writable(sock):
            return False
        data = frame(payload)
        return sock.send(data, _DONTWAIT_NOSIGNAL) == len(data)
    except OSError:
        return False
    finally:
        lock.release()
