"""Frames over a file descriptor, and for how long their other end may be silent.

Needs ``os.read``, ``os.write`` and ``struct``; ``select`` where the descriptor has no time-out of
its own. One write for a request and one read for a short answer: a system call costs more than
anything else here.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable

from shm_echo.errors import ConnectionClosedError, ProtocolError
from shm_echo.mechestim.adaptive_spin import Spinner

_HEADER = struct.Struct("<I")
_unpacked = _HEADER.unpack_from
_SHORT = 1 << 13  # a first read; what it allocates comes from the heap
_LONG = 1 << 20
_PIECE = 1 << 15  # of a long frame, when the descriptor may block for ever
_LONGEST_FRAME = 4 << 30


class PeerSilentError(Exception):
    """Nothing came, or nothing was taken, for as long as may be."""


class FramePipe:
    """One end of a connection.

    Args:
        fd: the connection; the pipe closes it.
        address: for messages.
        silence: seconds after which the other end counts as gone.
        timed: the descriptor itself gives up after that time (``SO_RCVTIMEO``); otherwise it is
            polled.
    """

    def __init__(self, fd: int, address: str, silence: float, timed: bool) -> None:
        self.fd = fd
        self.address = address
        self.silence = silence
        self.sending = False  # a frame has gone out in part, perhaps
        self.read: Callable[[int, int], bytes] = os.read
        self._timed = timed
        self._buffer = bytearray()
        self._incoming = poller(fd, "POLLIN")
        self._outgoing = poller(fd, "POLLOUT")
        self._spin = Spinner(functools.partial(self._incoming, 0)).wait

    def send(self, payload: bytes) -> None:
        """Send a payload as one frame.

        Raises:
            BrokenPipeError: the other end has closed the connection; it may have said why.
            Silence: it takes nothing.
        """
        data = _HEADER.pack(len(payload)) + payload
        self.sending = True
        try:
            sent = os.write(self.fd, data) if self._timed or len(data) <= _PIECE else 0
            if sent != len(data):
                self._send_rest(memoryview(data)[sent:])
        except BlockingIOError:
            if self._timed:
                raise PeerSilentError from None
            self._send_rest(memoryview(data))
        except OSError as error:
            raise BrokenPipeError(error.errno, error.strerror) from None
        self.sending = False

    def _send_rest(self, data: memoryview) -> None:
        while data:
            if not self._outgoing(self.silence * 1e3):
                raise PeerSilentError
            try:
                data = data[os.write(self.fd, data[:_PIECE]) :]
            except BlockingIOError:
                if self._outgoing is _at_once:  # only the descriptor's own time-out says so
                    raise PeerSilentError from None

    def receive(self, within: float | None = None) -> bytes:
        """The payload of the next frame.

        Args:
            within: seconds; the pipe's own time of silence when left out.

        Raises:
            Silence: none came.
            ConnectionClosedError: the other end has closed the connection.
            ProtocolError: what it sent is no frame.
        """
        buffer = self._buffer
        if not buffer:
            self._spin()
            data = self._some(_SHORT, within)
            size = len(data)
            if size > 4 and _unpacked(data)[0] == size - 4:
                return data[4:]
            buffer += data
        while len(buffer) < 4:
            buffer += self._some(_SHORT, within)
        (length,) = _unpacked(buffer)
        if not 0 < length <= _LONGEST_FRAME:
            raise ProtocolError(f"{self.address} announced a frame of {length:,} bytes")
        end = 4 + length
        while len(buffer) < end:
            buffer += self._some(min(_LONG, max(_SHORT, end - len(buffer))), within)
        payload = bytes(memoryview(buffer)[4:end])
        del buffer[:end]
        return payload

    def _some(self, most: int, within: float | None) -> bytes:
        """What there is to read, once there is something."""
        if within is not None or not self._timed:
            seconds = self.silence if within is None else max(0.0, within)
            if not self._incoming(seconds * 1e3):
                raise PeerSilentError
        try:
            data = self.read(self.fd, most)
        except BlockingIOError:
            raise PeerSilentError from None
        except OSError:
            data = b""
        if not data:
            raise ConnectionClosedError(self.ended())
        return data

    def ended(self, why: object = "its server closed the connection") -> str:
        """That the session is over, as a sentence."""
        return f"the session with {self.address} has ended: {why}"

    def close(self) -> None:
        """Close the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _at_once(milliseconds: float) -> bool:
    return True


def poller(fd: int, event: str) -> Callable[[float], object]:
    """Waits until ``fd`` is ready; where ``select`` is not to be had, the call itself waits."""
    try:
        import select
    except ImportError:
        return _at_once
    poll = select.poll()
    poll.register(fd, getattr(select, event))
    return poll.poll
