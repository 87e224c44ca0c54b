"""The client's end of a connected socket: blocking calls with deadlines that notice a dead server.

Every wait watches the socket and the pidfd of the process that listens, because the socket alone
does not tell: a child forked from the server may hold it open. Bytes only; what they say is for
``connection``. One thread at a time, except for ``hang_up`` and ``lost``.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import time

from shm_echo.control.descriptors import MAX_FDS, descriptor_limit
from shm_echo.control.peer import Peer

__all__ = ["ClientStream", "StreamClosedError", "StreamTimeoutError"]

_READ_SIZE = 1 << 16
_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
_LONGEST_POLL_MS = 60_000


class StreamClosedError(Exception):
    """Nothing can be said or heard any more. The text says how the other end went."""


class StreamTimeoutError(Exception):
    """The deadline has passed."""


class ClientStream:
    """A connected, non-blocking socket and the process that listens at its other end.

    Attributes:
        sock, pidfd: owned by the line.
        peer: the process that listens.
        fds: descriptors that came with what was received, owned by whoever takes them.
    """

    def __init__(self, sock: socket.socket, peer: Peer, pidfd: int) -> None:
        self.sock = sock
        self.peer = peer
        self.pidfd = pidfd
        self.fds: list[int] = []

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of it.

        Raises:
            LineClosedError, LineTimeoutError: part of it may have been sent.
        """
        left = memoryview(data)
        while left:
            try:
                left = left[self.sock.send(left, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except OSError:
                raise StreamClosedError(self.how_closed()) from None

    def receive(self, deadline: float) -> bytes:
        """The next bytes, empty at the end of the stream. Descriptors go to ``fds``.

        Raises:
            LineClosedError: the server's process has ended, and nothing that it said is left.
            LineTimeoutError: nothing came.
            DescriptorLimitError: descriptors came that this process may not open.
        """
        while True:
            try:
                data, ancillary, flags, _ = self.sock.recvmsg(
                    _READ_SIZE, _ANCILLARY_SIZE, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            except OSError:
                return b""  # reset: the server closed without reading what we said last
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    came = array.array("i")
                    came.frombytes(content[: len(content) - len(content) % came.itemsize])
                    self.fds.extend(came)
            if flags & socket.MSG_CTRUNC:
                raise descriptor_limit("what the server passed with its reply")
            return data

    def take_fds(self) -> list[int]:
        """The descriptors that have come; they are the caller's now."""
        taken, self.fds = self.fds, []
        return taken

    def drop_fds(self) -> None:
        """Close the descriptors that have come and that nobody has taken."""
        for fd in self.take_fds():
            os.close(fd)

    def lost(self) -> str | None:
        """How the other end went, or None while it is there. Any thread may ask."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        poll.register(self.pidfd, select.POLLIN)
        return self.how_closed() if poll.poll(0) else None

    def hang_up(self) -> None:
        """Make the thread that waits, if any, see the end of the stream."""
        with contextlib.suppress(OSError):  # the other end has gone already
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all descriptors, and say nothing. Idempotent."""
        self.drop_fds()
        self.sock.close()
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def _wait(self, event: int, deadline: float) -> None:
        """Return when the socket is worth trying again."""
        poll = select.poll()
        poll.register(self.sock, event)
        poll.register(self.pidfd, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            ready = dict(poll.poll(max(0.0, min(left * 1000, _LONGEST_POLL_MS))))
            if self.sock.fileno() in ready:
                return
            if ready:
                raise StreamClosedError(self.how_closed())
            if left <= 0:
                raise StreamTimeoutError

    def how_closed(self, patience: float = 0.0) -> str:
        """How the other end went, when it is known that it did.

        Args:
            patience: seconds for its process to end: one that is killed closes its sockets first.
        """
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if poll.poll(patience * 1000):
            return f"its server (pid {self.peer.pid}) has ended"
        return "its server has closed the connection"
