"""The client's side of the memory that a session shares with its server.

Contents of :data:`LEAST` bytes and more travel through it, in pieces of its size. It is asked for
when it is first wanted, over a Unix socket; a program that was given its descriptor is given the
arena's too (``fd://3?arena=4,5``). Where there is none, contents travel in messages.
"""

from __future__ import annotations

import io
import mmap
import os
from typing import TYPE_CHECKING, Any

from shm_echo.errors import AddressError
from shm_echo.mechestim.remote.connection.request_lock import RequestLock

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

LEAST = 32 << 10


class ClientArena:
    """Two areas: what goes to the server, and what comes from it.

    Args:
        to_server, to_client: their descriptors; they are closed once they are mapped.
        size: bytes of each.
    """

    def __init__(self, to_server: int, to_client: int, size: int) -> None:
        try:
            self._to_server = mmap.mmap(to_server, size)
            self._to_client = mmap.mmap(to_client, size, prot=mmap.PROT_READ)
        finally:
            os.close(to_server)
            os.close(to_client)
        self._size = size
        self._turns = RequestLock()  # what lies in an area is one transfer's

    def upload(self, channel: Channel, dtype: Any, shape: tuple[int, ...], content: Any) -> Any:
        """An array of the server with this content."""
        array = channel.request("arena.blank", (dtype, list(shape)))
        view = memoryview(content).cast("B")
        self._turns.check()
        with self._turns.lock:
            for offset in range(0, len(view), self._size):
                piece = view[offset : offset + self._size]
                self._to_server[: len(piece)] = piece
                channel.request("arena.put", (array, offset, len(piece)))
        return array

    def download(self, channel: Channel, array: Any) -> io.BytesIO:
        """The content of an array of the server, in C order."""
        total, size = array.nbytes, self._size
        content = io.BytesIO()  # it gives its bytes away without a copy
        # All of it at once, to the byte: what grows, or shrinks at its end, is memory that malloc
        # returns to the kernel, and page faults then take longer than all copies.
        content.seek(max(0, total - 1))
        content.write(b"\0")
        content.seek(0)
        source = memoryview(self._to_client)
        self._turns.check()
        with self._turns.lock:
            held = channel.request("arena.hold", (array,))  # which brings the first piece, too
            content.write(source[: min(size, total)])
            for offset in range(size, total, size):
                length = min(size, total - offset)
                channel.request("arena.get", (held, offset, length))
                content.write(source[:length])
        return content


def given(url: str) -> tuple[int, int] | None:
    """The descriptors that ``fd://N?arena=I,O`` names; None if it names none.

    Raises:
        AddressError: it says something else behind the question mark.
    """
    _, mark, query = url.partition("?")
    if not mark:
        return None
    name, _, value = query.partition("=")
    first, _, second = value.partition(",")
    if name != "arena" or not first.isdecimal() or not second.isdecimal():
        raise AddressError(url, "expected fd://N or fd://N?arena=I,O")
    return int(first), int(second)


def asked_for(channel: Channel) -> ClientArena | None:
    """The arena of a session that goes over a Unix socket; None where it cannot be had."""
    size, fds = channel.request_descriptors("arena.open")
    if len(fds) != 2:
        for fd in fds:
            os.close(fd)
        return None
    return ClientArena(fds[0], fds[1], size)
