"""The frames of one session on its socket, with a deadline for everything that has begun.

Waiting for the next request may last for ever; a frame that has begun to come, or to go, may not. A
client that sends a byte now and then gains nothing by it: the time is that of the whole frame. Long
frames have more of it.
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
_ATOMIC_SEND_BYTES = 4096  # bytes that the kernel takes as a whole or not at all
_BUFFER_BYTES = 1 << 16  # bytes that are received at once
_MAX_READ_BYTES = 1 << 18  # bytes of a long frame
_MIN_BYTES_PER_S = 1 << 20  # bytes per second of a long frame

_GONE = "the client closed the connection"


def frame(payload: bytes) -> bytes:
    """A payload behind its length."""
    return _HEADER.pack(len(payload)) + payload


class SessionEndedError(Exception):
    """The session is over.

    Args:
        why: for the log.
        notify_client: the client can be told so.
    """

    def __init__(self, reason: str, notify_client: bool = True) -> None:
        super().__init__(reason)
        self.notify_client = notify_client


class WriteLock(Protocol):
    """Of the writing side: a frame goes out in one piece."""

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; whether it was there to be taken."""

    def release(self) -> None:
        """Give it back."""


class FrameStream:
    """Whole messages over a connected socket, which must be in blocking mode.

    Args:
        sock: the connection; stays the caller's.
        max_frame: the longest payload that is accepted.
        stall_s: seconds for a frame, and one more for each MiB of it.
        stats: shows whether a message has been sent in part.
        lock: held while a message goes out.
        slot: the session's scheduler slot, released before the session waits for its client.
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
        self._start = self._stop = 0  # what has come and was not asked for yet
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._migrator = CpuMigrator()
        self._slot = slot
        self._spin = Spinner(functools.partial(poll.poll, 0), slot.short_is_taken)

    def receive(self) -> bytes:
        """The next payload.

        Raises:
            SessionEnded: the client has gone, or stalls.
            ProtocolError: it announces a frame that is empty or too long.
        """
        if self._start == self._stop:
            self._stop = self._receive_some()
            self._start = 0
        return self._next_payload()

    def receive_nowait(self) -> bytes | None:
        """The next payload, if anything has come; waits only for the rest of what has begun to.

        Raises:
            SessionEnded, ProtocolError: as ``receive``.
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
        """The next message, or a part of it, has been read already."""
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
        """The next payload, the beginning of which is in ``_buffer``."""
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
        """The payload of a frame whose beginning has come."""
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
        """Read more of a frame, and nothing of the next one."""
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
            sole_writer: nobody else can have had a reason to write in the meantime. A short payload
                needs no lock then: the kernel takes it in one piece.

        Raises:
            SessionEnded: the client does not take it.
            OSError: it has gone.
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
        if fds:  # so short a message is taken as a whole or not at all
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
    """Send a short payload from outside of the session, between two messages of it.

    Never waits. Returns whether it was sent: not while the session is writing itself, and not to a
    client that takes nothing.
    """
    if not lock.acquire(blocking=False):
        return False
    try:
        if stats.writing:  # its writer has died in the middle of a message
            return False
        # So short a message is taken as a whole or not at all; by TCP, where there is much room.
        if sock.family != socket.AF_UNIX and not _is_writable(sock):
            return False
        data = frame(payload)
        return sock.send(data, _DONTWAIT_NOSIGNAL) == len(data)
    except OSError:
        return False
    finally:
        lock.release()
