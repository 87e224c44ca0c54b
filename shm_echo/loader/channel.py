"""Messages between the trainer's process, the nursery and the workers.

Each message is a pickled object behind its length, and may carry descriptors. Pickle is safe here:
the other end is a process that this one has started, or that has started this one.
"""

from __future__ import annotations

import array
import os
import pickle
import select
import socket
import struct
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Any

__all__ = ["Channel", "ChannelClosedError", "wait_readable"]

_LENGTH = struct.Struct("<Q")
# One message carries at most four descriptors; the rest is room for several messages in one read.
_MAX_FDS = 32
_READ = 1 << 16


class ChannelClosedError(Exception):
    """The process at the other end has closed the channel, or has ended."""


class Channel:
    """One end of a socket pair. One thread at a time may send, and one may receive.

    Args:
        sock: a connected stream socket, which the channel takes over.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = bytearray()
        self._fds: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return a channel, and the socket of its other end."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 once the channel is closed."""
        return self._socket.fileno()

    def send(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Send an object, and descriptors with it; they stay open here.

        Raises:
            ChannelClosedError: the other end is closed.
            Exception: the object cannot be pickled; nothing was sent.
        """
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        data = memoryview(_LENGTH.pack(len(body) << 8 | len(fds)) + body)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self._socket.sendmsg([data], ancillary)
            if sent < len(data):
                self._socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosedError from error
        except OSError as error:
            if self._socket.fileno() < 0:
                raise ChannelClosedError from error
            raise

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for the next message; return the object, and its descriptors.

        Raises:
            ChannelClosedError: the other end is closed, and every message has been received.
        """
        while (message := self._next()) is None:
            self._read(0)
        return message

    def receive_all(self) -> list[tuple[Any, list[int]]]:
        """Return the messages that have arrived, without waiting.

        Raises:
            ChannelClosedError: the other end is closed, and every message has been received.
        """
        messages = []
        try:
            while self._read(socket.MSG_DONTWAIT):
                pass
        except ChannelClosedError:
            if (message := self._next()) is None:
                raise
            messages.append(message)
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _read(self, flags: int) -> bool:
        room = socket.CMSG_SPACE(_MAX_FDS * 4)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                _READ, room, flags | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ChannelClosedError from error
        except OSError as error:
            if self._socket.fileno() < 0:
                raise ChannelClosedError from error
            raise
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
        if not data:
            raise ChannelClosedError
        self._data += data
        return True

    def _next(self) -> tuple[Any, list[int]] | None:
        """Return the first message that has arrived whole."""
        if len(self._data) < _LENGTH.size:
            return None
        (word,) = _LENGTH.unpack_from(self._data)
        end = _LENGTH.size + (word >> 8)
        if len(self._data) < end:
            return None
        body = bytes(self._data[_LENGTH.size : end])
        del self._data[:end]
        count = word & 0xFF
        fds, self._fds = self._fds[:count], self._fds[count:]
        return pickle.loads(body), fds

    def close(self) -> None:
        """Close this end, and the descriptors that nobody has received."""
        self._socket.close()
        # One call: no signal handler comes between a descriptor's end and that of its note.
        deque(map(os.close, map(self._fds.pop, repeat(-1, len(self._fds)))), maxlen=0)


def wait_readable(fds: Sequence[int], timeout: float | None = None) -> list[int]:
    """Wait until at least one descriptor is readable or closed; return those that are.

    Unlike `select.select`, it takes descriptors above 1023.
    """
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    milliseconds = None if timeout is None else max(0, int(timeout * 1000) + (timeout > 0))
    return [fd for fd, _ in poll.poll(milliseconds)]
