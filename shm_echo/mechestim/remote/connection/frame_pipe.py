"""Frames over a file descriptor, and the time for which their other end may be silent.

Needs `os.read`, `os.write` and `struct`; `select` where the descriptor has no time-out of its own,
and `socket` only to receive descriptors. A request takes one write and a short answer one read: a
system call costs more than anything else here.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shm_echo.errors import ConnectionClosedError, ProtocolError
from shm_echo.mechestim.adaptive_spin import Spinner

_HEADER = struct.Struct("<I")
_unpack_header = _HEADER.unpack_from
_SHORT_READ = 1 << 13  # bytes of a first read; the heap serves a buffer of this size, without mmap
_LONG_READ = 1 << 20  # bytes of a later read of a long frame, at most
_CHUNK = 1 << 15  # bytes of one write, where a longer one might block without end
_MAX_FRAME = 4 << 30  # the header has the length in 32 bits
_MAX_DESCRIPTORS = 8  # in one message; the server sends 2


class PeerSilentError(Exception):
    """The other end sent nothing, or took nothing, for the time-out."""


class FramePipe:
    """One end of a connection.

    Args:
        fd: The connection; the pipe closes it.
        address: The server's address, for messages.
        peer_timeout: The other end counts as gone after so many seconds of silence.
        has_socket_timeout: Reads and writes of the descriptor give up after that time themselves
            (`SO_RCVTIMEO`); the pipe polls other descriptors.
    """

    def __init__(
        self, fd: int, address: str, peer_timeout: float, has_socket_timeout: bool
    ) -> None:
        self.fd = fd
        self.address = address
        self.peer_timeout = peer_timeout
        self.sending = False  # True while a part of a frame may have been sent
        self.read: Callable[[int, int], bytes] = os.read
        self._has_socket_timeout = has_socket_timeout
        self._buffer = bytearray()
        self._poll_in = poller(fd, "POLLIN")
        self._poll_out = poller(fd, "POLLOUT")
        self._spin = Spinner(functools.partial(self._poll_in, 0)).wait

    def send(self, payload: bytes) -> None:
        """Send a payload as one frame.

        Raises:
            BrokenPipeError: The other end has closed the connection. It may have sent the reason.
            PeerSilentError: The other end takes nothing.
        """
        data = _HEADER.pack(len(payload)) + payload
        self.sending = True
        try:
            sent = os.write(self.fd, data) if self._has_socket_timeout or len(data) <= _CHUNK else 0
            if sent != len(data):
                self._send_rest(memoryview(data)[sent:])
        except BlockingIOError:
            if self._has_socket_timeout:
                raise PeerSilentError from None
            self._send_rest(memoryview(data))
        except OSError as error:
            raise BrokenPipeError(error.errno, error.strerror) from None
        self.sending = False

    def _send_rest(self, data: memoryview) -> None:
        while data:
            if not self._poll_out(self.peer_timeout * 1e3):
                raise PeerSilentError
            try:
                data = data[os.write(self.fd, data[:_CHUNK]) :]
            except BlockingIOError:
                # Nothing was polled, so this is the descriptor's own time-out.
                if self._poll_out is _always_ready:
                    raise PeerSilentError from None

    def receive(self, timeout: float | None = None) -> bytes:
        """Return the payload of the next frame.

        Args:
            timeout: Seconds; the time-out of the pipe when left out.

        Raises:
            PeerSilentError: No frame came in time.
            ConnectionClosedError: The other end has closed the connection.
            ProtocolError: The bytes are not a frame.
        """
        buffer = self._buffer
        if not buffer:
            self._spin()
            data = self._read_some(_SHORT_READ, timeout)
            size = len(data)
            if size > 4 and _unpack_header(data)[0] == size - 4:  # one frame, and nothing else
                return data[4:]
            buffer += data
        while len(buffer) < 4:
            buffer += self._read_some(_SHORT_READ, timeout)
        (length,) = _unpack_header(buffer)
        if not 0 < length <= _MAX_FRAME:
            raise ProtocolError(f"{self.address} announced a frame of {length:,} bytes")
        end = 4 + length
        while len(buffer) < end:
            most = min(_LONG_READ, max(_SHORT_READ, end - len(buffer)))
            buffer += self._read_some(most, timeout)
        payload = bytes(memoryview(buffer)[4:end])
        del buffer[:end]
        return payload

    def _read_some(self, most: int, timeout: float | None) -> bytes:
        """Wait until there is something to read, and read at most so many bytes."""
        if timeout is not None or not self._has_socket_timeout:
            seconds = self.peer_timeout if timeout is None else max(0.0, timeout)
            if not self._poll_in(seconds * 1e3):
                raise PeerSilentError
        try:
            data = self.read(self.fd, most)
        except BlockingIOError:
            raise PeerSilentError from None
        except OSError:
            data = b""
        if not data:
            raise ConnectionClosedError(self.end_of_session())
        return data

    def end_of_session(self, reason: object = "its server closed the connection") -> str:
        """Return a sentence that says that the session has ended, and why."""
        return f"the session with {self.address} has ended: {reason}"

    def close(self) -> None:
        """Close the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _always_ready(milliseconds: float) -> bool:
    return True


def poller(fd: int, event: str) -> Callable[[float], object]:
    """Return a function that waits until `fd` is ready, for so many milliseconds.

    A sandbox may lack `select`. There the function returns at once: the read or write itself waits.
    """
    try:
        import select
    except ImportError:
        return _always_ready
    poll = select.poll()
    poll.register(fd, getattr(select, event))
    return poll.poll


@contextmanager
def receiving_descriptors(pipe: FramePipe) -> Iterator[list[int]]:
    """Collect the descriptors that come over `pipe`, a Unix socket, while the block runs.

    Yields:
        The list that they are added to.
    """
    import array
    import socket

    fds: list[int] = []
    with socket.socket(fileno=os.dup(pipe.fd)) as sock:
        space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)

        def read(fd: int, size: int) -> bytes:
            data, ancillary, _, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    whole = len(content) - len(content) % received.itemsize
                    received.frombytes(content[:whole])
                    fds.extend(received)
            return data

        pipe.read = read
        try:
            yield fds
        finally:
            pipe.read = os.read
            # socket.setdefaulttimeout() makes new sockets non-blocking, and `sock` shares the flag.
            os.set_blocking(pipe.fd, True)
