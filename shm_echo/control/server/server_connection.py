"""One accepted connection of a server: its bytes in both directions and its deadlines.

Never blocks. Reads no more input while an answer waits to be sent, so that a client which does not
read cannot make the server pile up answers. Knows nothing of services.
"""

from __future__ import annotations

import array
import os
import selectors
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from shm_echo.control.peer import Peer
from shm_echo.control.protocol.handshake import ServerHandshake
from shm_echo.control.protocol.messages import Message
from shm_echo.control.server.processes import Process

__all__ = ["ConnectionBrokenError", "ServerConnection", "ServerLimits"]

_READ_SIZE = 1 << 16


@dataclass(frozen=True)
class ServerLimits:
    """The limits that one control server sets its clients. Times are in seconds.

    Attributes:
        max_clients: the most connections at once.
        max_sessions: the most sessions at once. Sessions whose socket has closed count as long as
            their process is watched.
        hello_timeout: the longest time from the connection to a complete hello.
        frame_timeout: the longest time from the first byte of a message to its last.
        write_timeout: the longest time that an answer may wait until the client has read it.
    """

    max_clients: int = 1024
    max_sessions: int = 4096
    hello_timeout: float = 5.0
    frame_timeout: float = 10.0
    write_timeout: float = 10.0


class ConnectionBrokenError(Exception):
    """The server must close the connection. The text is for the log."""


@dataclass
class _Pending:
    """Bytes that wait to be sent, and the descriptors that go with the first of them."""

    data: memoryview
    fds: list[int]


class ServerConnection:
    """A connection that the server has accepted.

    Attributes:
        sock: the non-blocking socket.
        peer: the client's process, or its host and port.
        process: the entry of that process in the `ProcessTable`.
        handshake: reads messages until the welcome; afterwards its endpoint does.
        welcomed: True once the client has been welcomed.
        closing: True once the final message was given to `send`; the connection closes when the
            client has read it.
        peer_closed: True once the client has closed its end, and no more bytes will come.
        service_takes_over: True if the service takes the socket once the welcome has been sent.
        closed: True once this end is closed; the object is of no more use.
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
        self.welcomed = False
        self.closing = False
        self.peer_closed = False
        self.service_takes_over = False
        self.closed = False
        self._limits = limits
        self._accepted = now
        self._frame_since: float | None = None
        self._write_since: float | None = None
        self._pending: _Pending | None = None
        self._output_discarded = False

    # ------------------------------------------------------------ reading

    def receive_bytes(self, now: float) -> bool:
        """Read once from the socket.

        Returns:
            True if bytes came. At the end of the stream `peer_closed` is set; messages that came
            before it may still wait in the endpoint.

        Raises:
            ConnectionBrokenError: the client sent file descriptors.
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
            self.peer_closed = True
            return False
        self.handshake.endpoint.feed(data)
        if self._frame_since is None:
            self._frame_since = now
        return True

    def next_message(self, now: float) -> Message | None:
        """Return the client's next message; None if there is none or input is paused.

        Before the welcome this is the Hello to welcome, or the Refused to answer with.

        Raises:
            ProtocolError: the client broke the protocol.
        """
        if self.input_paused or self.service_takes_over:
            return None
        message: Message | None
        if self.welcomed:
            message = self.handshake.endpoint.next_message()
        else:
            message = self.handshake.receive(b"")
        if message is not None:
            # The bytes that remain begin another message, and its time starts now.
            self._frame_since = now if self.handshake.endpoint.has_partial_frame else None
        return message

    # ------------------------------------------------------------ writing

    def send(self, data: bytes, now: float, fds: Sequence[int] = ()) -> None:
        """Send as much as the socket takes now, and keep the rest for `flush`.

        Descriptors go with the first byte. They belong to this object from here on, and are closed
        once they are sent or cannot be.
        """
        if self._pending is not None:
            # While an answer waits, only the final message can follow; it has no descriptors.
            self._pending.data = memoryview(bytes(self._pending.data) + data)
        else:
            self._pending = _Pending(memoryview(data), list(fds))
            self._write_since = now
        if self._output_discarded:
            self.discard_output()
        else:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Send as much of the waiting bytes as the socket takes."""
        while self._pending is not None:
            pending = self._pending
            rights = array.array("i", pending.fds)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if pending.fds else []
            try:
                sent = self.sock.sendmsg([pending.data], ancillary, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.discard_output()
                return
            self._close_pending_fds()
            pending.data = pending.data[sent:]
            if not pending.data:
                self._pending = None
                self._write_since = None
                if self._frame_since is not None:
                    self._frame_since = now  # nothing was read while the answer waited

    def discard_output(self) -> None:
        """Send nothing from now on. Messages that the client has sent are still handled."""
        self._output_discarded = True
        self._close_pending_fds()
        self._pending = None
        self._write_since = None

    # ------------------------------------------------------------ state

    @property
    def input_paused(self) -> bool:
        """True while an answer waits to be sent, and after the final message."""
        return self._pending is not None or self.closing

    @property
    def last_message_sent(self) -> bool:
        """True once the final message has gone out."""
        return self.closing and self._pending is None

    @property
    def events(self) -> int:
        """The selector events to wait for."""
        return selectors.EVENT_WRITE if self._pending is not None else selectors.EVENT_READ

    def expired_deadline(self, now: float) -> str | None:
        """Describe the deadline that has passed, for the log; None if none has."""
        limits = self._limits
        if self._write_since is not None:
            if now - self._write_since > limits.write_timeout:
                return f"it took no answer for {limits.write_timeout:g} s"
        elif not self.welcomed and now - self._accepted > limits.hello_timeout:
            return f"no complete hello came within {limits.hello_timeout:g} s"
        elif self._frame_since is not None and now - self._frame_since > limits.frame_timeout:
            return f"a message stayed incomplete for {limits.frame_timeout:g} s"
        return None

    def excuse(self, seconds: float) -> None:
        """Extend the deadlines: for so long the server itself could not read or write."""
        self._accepted += seconds
        if self._frame_since is not None:
            self._frame_since += seconds
        if self._write_since is not None:
            self._write_since += seconds

    @property
    def ready_to_hand_over(self) -> bool:
        """True once the welcome has gone out to a client whose service takes the connection."""
        return self.service_takes_over and self._pending is None

    def detach(self) -> socket.socket:
        """Return the socket, still open, and mark the connection as closed."""
        self.closed = True
        self._close_pending_fds()
        self._pending = None
        return self.sock

    def close(self) -> None:
        """Close this end. Idempotent."""
        self.closed = True
        self._close_pending_fds()
        self._pending = None
        self.sock.close()

    def _close_pending_fds(self) -> None:
        if self._pending is not None:
            fds, self._pending.fds = self._pending.fds, []
            for fd in fds:
                os.close(fd)
