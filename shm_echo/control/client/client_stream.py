"""The client's end of a connected socket: blocking calls with deadlines that notice a dead server.

Every wait watches the socket and the pidfd of the server's process, because the socket alone does
not tell: a child forked from the server may hold it open. This module moves bytes;
`client_connection` reads messages from them. One thread at a time may use a stream, except for
`shutdown` and `loss_reason`.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import time

from shm_echo.control.descriptors import MAX_FDS, descriptor_limit_error
from shm_echo.control.peer import Peer

__all__ = ["ClientStream", "StreamClosedError", "StreamTimeoutError"]

_READ_SIZE = 1 << 16
_ANCILLARY_SIZE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
_LONGEST_POLL_MS = 60_000  # poll() takes a C int; a later deadline just polls again


class StreamClosedError(Exception):
    """The stream has ended. The text says whether the server's process has, too."""


class StreamTimeoutError(Exception):
    """The deadline has passed."""


class ClientStream:
    """A connected, non-blocking socket and the process that listens at its other end.

    Attributes:
        sock, pidfd: the socket, and a pidfd of the peer; both belong to the stream.
        peer: the process that listens.
        fds: descriptors that came with the received bytes and that `take_fds` has not returned.
    """

    def __init__(self, sock: socket.socket, peer: Peer, pidfd: int) -> None:
        self.sock = sock
        self.peer = peer
        self.pidfd = pidfd
        self.fds: list[int] = []

    @property
    def path(self) -> str:
        """The path at which the server listens: of a bare name, one of two."""
        return str(self.sock.getpeername())

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of the bytes.

        Raises:
            StreamClosedError: the stream has ended. Part of the bytes may have been sent.
            StreamTimeoutError: the deadline has passed. Part of the bytes may have been sent.
        """
        remaining = memoryview(data)
        while remaining:
            try:
                remaining = remaining[self.sock.send(remaining, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                self._wait_ready(select.POLLOUT, deadline)
            except OSError:
                raise StreamClosedError(self.close_reason()) from None

    def receive(self, deadline: float) -> bytes:
        """Return the next bytes, empty at the end of the stream. Descriptors go to `fds`.

        Raises:
            StreamClosedError: the server's process has ended, and all that it sent has been read.
            StreamTimeoutError: no bytes came before the deadline.
            DescriptorLimitError: descriptors came that this process may not open.
        """
        while True:
            try:
                data, ancillary, flags, _ = self.sock.recvmsg(
                    _READ_SIZE, _ANCILLARY_SIZE, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                self._wait_ready(select.POLLIN, deadline)
                continue
            except OSError:
                return b""  # reset: the server closed before it read this client's last bytes
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(content[: len(content) - len(content) % received.itemsize])
                    self.fds.extend(received)
            if flags & socket.MSG_CTRUNC:
                raise descriptor_limit_error("what the server passed with its reply")
            return data

    def take_fds(self) -> list[int]:
        """Return the descriptors that have come, which the caller owns from now on."""
        fds, self.fds = self.fds, []
        return fds

    def drop_fds(self) -> None:
        """Close the descriptors that have come and that were not taken."""
        for fd in self.take_fds():
            os.close(fd)

    def loss_reason(self) -> str | None:
        """Return how the stream ended; None while the server is connected. Any thread may ask."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        poll.register(self.pidfd, select.POLLIN)
        return self.close_reason() if poll.poll(0) else None

    def shutdown(self) -> None:
        """End the stream, which wakes a thread that waits on it. Any thread may call this."""
        with contextlib.suppress(OSError):  # the server has closed its end already
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close all descriptors, and send nothing. Idempotent."""
        self.drop_fds()
        self.sock.close()
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)

    def _wait_ready(self, event: int, deadline: float) -> None:
        """Wait until the socket is ready for the event."""
        poll = select.poll()
        poll.register(self.sock, event)
        poll.register(self.pidfd, select.POLLIN)
        while True:
            remaining = deadline - time.monotonic()
            ready = dict(poll.poll(max(0.0, min(remaining * 1000, _LONGEST_POLL_MS))))
            if self.sock.fileno() in ready:
                return
            if ready:
                raise StreamClosedError(self.close_reason())
            if remaining <= 0:
                raise StreamTimeoutError

    def close_reason(self, exit_grace: float = 0.0) -> str:
        """Describe how the stream ended, once it is known that it did.

        Args:
            exit_grace: seconds to wait for the end of the server's process, because a killed
                process closes its sockets first.
        """
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if poll.poll(exit_grace * 1000):
            return f"its server (pid {self.peer.pid}) has ended"
        return "its server has closed the connection"
