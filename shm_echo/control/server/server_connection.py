"""One accepted connection of a server: its bytes in both directions and its deadlines.

Never blocks. Takes no more input while an answer waits to be taken, so that a client which does
not read cannot make the server collect answers. Knows no services.
"""

from __future__ import annotations

import array
import os
import selectors
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shm_echo.control.peer import Peer
from shm_echo.control.protocol.handshake import ServerHandshake
from shm_echo.control.protocol.messages import Message

if TYPE_CHECKING:
    from shm_echo.control.server.processes import Process

__all__ = ["ConnectionBrokenError", "ServerConnection", "ServerLimits"]

_READ_SIZE = 1 << 16


@dataclass(frozen=True)
class ServerLimits:
    """What one control server grants its clients. Times are in seconds.

    Attributes:
        max_clients: connections at once.
        max_sessions: sessions at once, those included whose socket has closed and whose process
            is still watched.
        hello_timeout: from the connection to a complete hello.
        frame_timeout: from the first byte of a message to its last one.
        write_timeout: until a client has taken an answer.
    """

    max_clients: int = 1024
    max_sessions: int = 4096
    hello_timeout: float = 5.0
    frame_timeout: float = 10.0
    write_timeout: float = 10.0


class ConnectionBrokenError(Exception):
    """The connection must end. The text is for the log."""


@dataclass
class _Pending:
    """Bytes that wait to be sent, and descriptors that go with the first of them."""

    data: memoryview
    fds: list[int]


class ServerConnection:
    """A connection that the server has accepted.

    Attributes:
        handshake: speaks until the welcome; its endpoint speaks afterwards.
        greeted: the client has been welcomed.
        closing: the last words have been said; the connection closes when they are taken.
        ended: the client has closed its end; nothing more will come.
        taken_over: the service takes the connection when the welcome has been taken.
        closed: this end is closed; the object is of no more use.
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: Peer,
        process: Process,
        handshake: ServerHandshake,
        limits: ServerLimits,
        now: float,
    ) -> None:
        self.sock = sock
        self.peer = peer
        self.process = process
        self.handshake = handshake
        self.greeted = False
        self.closing = False
        self.ended = False
        self.taken_over = False
        self.closed = False
        self._limits = limits
        self._accepted = now
        self._frame_since: float | None = None
        self._write_since: float | None = None
        self._pending: _Pending | None = None
        self._mute = False

    # ------------------------------------------------------------ reading

    def fill(self, now: float) -> bool:
        """Read once.

        Returns:
            Whether bytes came. At the end of the stream ``ended`` is set; messages that came
            before can still be waiting.

        Raises:
            LinkBrokenError: the client sent file descriptors.
        """
        try:
            # No room for ancillary data: the kernel drops descriptors that a client sends.
            data, _, flags, _ = self.sock.recvmsg(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data, flags = b"", 0  # reset: the client closed without reading our last answers
        if flags & socket.MSG_CTRUNC:
            raise ConnectionBrokenError(
                "the client sent file descriptors, which are never accepted"
            )
        if not data:
            self.ended = True
            return False
        self.handshake.endpoint.feed(data)
        if self._frame_since is None:
            self._frame_since = now
        return True

    def next_message(self, now: float) -> Message | None:
        """The next message of the client; None if there is none or an answer is still waiting.

        Before the welcome this is the Hello to welcome, or the Refused to answer with.

        Raises:
            ProtocolError: the client broke the protocol.
        """
        if self.blocked or self.taken_over:
            return None
        message: Message | None
        if self.greeted:
            message = self.handshake.endpoint.next_message()
        else:
            message = self.handshake.receive(b"")
        if message is not None:
            # What is left is the beginning of another message, whose time starts now.
            self._frame_since = now if self.handshake.endpoint.unfinished else None
        return message

    # ------------------------------------------------------------ writing

    def send(self, data: bytes, now: float, fds: Sequence[int] = ()) -> None:
        """Send now what the socket takes, and keep the rest for ``flush``.

        Descriptors go with the first byte, and are closed here whatever happens.
        """
        if self._pending is not None:
            # Only last words come while an answer waits, and they bring no descriptors.
            self._pending.data = memoryview(bytes(self._pending.data) + data)
        else:
            self._pending = _Pending(memoryview(data), list(fds))
            self._write_since = now
        if self._mute:
            self.mute()
        else:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Send what the socket takes of what is waiting."""
        while self._pending is not None:
            pending = self._pending
            rights = array.array("i", pending.fds)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if pending.fds else []
            try:
                sent = self.sock.sendmsg([pending.data], ancillary, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.mute()
                return
            self._drop_copies()
            pending.data = pending.data[sent:]
            if not pending.data:
                self._pending = None
                self._write_since = None
                if self._frame_since is not None:
                    self._frame_since = now  # nothing was read while the answer waited

    def mute(self) -> None:
        """The client hears nothing any more. What it has said still counts, up to the last word."""
        self._mute = True
        self._drop_copies()
        self._pending = None
        self._write_since = None

    # ------------------------------------------------------------ state

    @property
    def blocked(self) -> bool:
        """An answer waits to be taken, or nothing more will be said: input has to wait."""
        return self._pending is not None or self.closing

    @property
    def finished(self) -> bool:
        """The last words have been taken."""
        return self.closing and self._pending is None

    @property
    def interest(self) -> int:
        """The events to wait for."""
        return selectors.EVENT_WRITE if self._pending is not None else selectors.EVENT_READ

    def overdue(self, now: float) -> str | None:
        """Which deadline has passed, in words for the log."""
        limits = self._limits
        if self._write_since is not None:
            if now - self._write_since > limits.write_timeout:
                return f"it took no answer for {limits.write_timeout:g} s"
        elif not self.greeted and now - self._accepted > limits.hello_timeout:
            return f"no complete hello came within {limits.hello_timeout:g} s"
        elif self._frame_since is not None and now - self._frame_since > limits.frame_timeout:
            return f"a message stayed incomplete for {limits.frame_timeout:g} s"
        return None

    @property
    def to_hand_over(self) -> bool:
        """Nothing is left to say or to hear before the service takes the connection."""
        return self.taken_over and self._pending is None

    def detach(self) -> socket.socket:
        """The socket, without the link, which is closed."""
        self.closed = True
        self._drop_copies()
        self._pending = None
        return self.sock

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.closed = True
        self._drop_copies()
        self._pending = None
        self.sock.close()

    def _drop_copies(self) -> None:
        if self._pending is not None:
            fds, self._pending.fds = self._pending.fds, []
            for fd in fds:
                os.close(fd)
