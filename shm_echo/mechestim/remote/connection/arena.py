"""The client's side of the memory that a session shares with its server.

Contents of `MIN_BYTES` and more travel through it, in chunks of its size. Over a Unix socket the
client asks for an arena when it first needs one. A program that inherits its connection inherits
the arena's descriptors, too (`fd://3?arena=4,5`). Without an arena, contents travel in messages.
"""

from __future__ import annotations

import io
import mmap
import os
from typing import TYPE_CHECKING, Any

from shm_echo.errors import AddressError
from shm_echo.mechestim.remote.connection.request_lock import RequestLock

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.requester import Requester

# The additional requests of a transfer cost more than copying fewer bytes through a socket.
MIN_BYTES = 32 << 10


class ClientArena:
    """Two areas of memory: one for contents to the server, one for contents from it.

    Args:
        to_server, to_client: The descriptors; they are closed once the memory is mapped.
        size: The bytes of each area.
    """

    def __init__(self, to_server: int, to_client: int, size: int) -> None:
        try:
            self._to_server = mmap.mmap(to_server, size)
            self._to_client = mmap.mmap(to_client, size, prot=mmap.PROT_READ)
        finally:
            os.close(to_server)
            os.close(to_client)
        self._size = size
        self._request_lock = RequestLock()  # one transfer at a time uses the areas

    def upload(self, channel: Requester, dtype: Any, shape: tuple[int, ...], content: Any) -> Any:
        """Make an array of the server with this content."""
        array = channel.request("arena.blank", (dtype, list(shape)))
        view = memoryview(content).cast("B")
        self._request_lock.check_not_owned()
        with self._request_lock.lock:
            for offset in range(0, len(view), self._size):
                chunk = view[offset : offset + self._size]
                self._to_server[: len(chunk)] = chunk
                channel.request("arena.put", (array, offset, len(chunk)))
        return array

    def download(self, channel: Requester, array: Any) -> io.BytesIO:
        """Return the content of an array of the server, in C order."""
        total, size = array.nbytes, self._size
        content = io.BytesIO()  # hands its bytes out without a copy
        # Allocate all of it at once, to the byte: malloc returns the memory of a buffer that grows,
        # or shrinks at its end, to the kernel, and page faults then take longer than the copies.
        content.seek(max(0, total - 1))
        content.write(b"\0")
        content.seek(0)
        source = memoryview(self._to_client)
        self._request_lock.check_not_owned()
        with self._request_lock.lock:
            snapshot = channel.request("arena.hold", (array,))  # also brings the first chunk
            content.write(source[: min(size, total)])
            for offset in range(size, total, size):
                length = min(size, total - offset)
                channel.request("arena.get", (snapshot, offset, length))
                content.write(source[:length])
        return content


def arena_descriptors(url: str) -> tuple[int, int] | None:
    """Return the descriptors in `fd://N?arena=I,O`; None for a URL without a query.

    Raises:
        AddressError: The query has another form.
    """
    _, mark, query = url.partition("?")
    if not mark:
        return None
    name, _, value = query.partition("=")
    first, _, second = value.partition(",")
    if name != "arena" or not first.isdecimal() or not second.isdecimal():
        raise AddressError(url, "expected fd://N or fd://N?arena=I,O")
    return int(first), int(second)


def open_arena(channel: Requester) -> ClientArena | None:
    """Ask for the arena of a session over a Unix socket; None if the server has none to give."""
    size, fds = channel.request_descriptors("arena.open")
    if len(fds) != 2:
        for fd in fds:
            os.close(fd)
        return None
    return ClientArena(fds[0], fds[1], size)
