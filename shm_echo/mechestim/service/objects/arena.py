"""Memory that a session shares with its client, for contents too large for messages.

There are two areas: the client writes into one, the server into the other. The server creates,
sizes and seals both, so no client can shrink an area during a copy, which would end the server with
SIGBUS. The seal of the second area forbids new writable mappings. The client may change its area at
any moment, so the server copies the contents before it uses them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from typing import Any

import numpy as np

from shm_echo.mechestim.errors import MechEstimServerError
from shm_echo.mechestim.local.array import Array, base_view
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.value_codec import dtype_from_description

__all__ = ["SIZE", "SessionArena"]

SIZE = 1 << 20  # bytes of each area: it stays in a core's L2 cache; larger contents go in chunks

# F_ADD_SEALS and the F_SEAL_* of <linux/fcntl.h>. Python has F_SEAL_FUTURE_WRITE from 3.13 on only.
_ADD_SEALS = 1033
_SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 1, 2, 4, 16


class SessionArena:
    """The two areas of one session. `open` makes them when the client first asks.

    Args:
        objects: The objects of the session.
        quotas: The limits of the session.
        size: The bytes of each area.

    Attributes:
        fds: The descriptors of the areas, towards the server and towards the client.
        can_pass_fds: True if the session's connection can pass descriptors.
    """

    def __init__(self, objects: HandleTable, quotas: Quotas, size: int = SIZE) -> None:
        self._objects = objects
        self._quotas = quotas
        self._size = size
        self.fds: tuple[int, ...] = ()
        self.can_pass_fds = True
        self._incoming: Any = None
        self._outgoing: Any = None
        # The arrays that `put` may fill, and no others: otherwise it would change elements without
        # a charge. Weak, so that an array that the client frees half filled leaves the table.
        self._unfilled: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()

    def open(self) -> int:
        """Make the areas, and return their size in bytes. The caller sends `fds` with the answer.

        Raises:
            MechEstimServerError: The connection cannot pass descriptors.
        """
        if not self.can_pass_fds:
            raise MechEstimServerError(
                "this session has no arena: no descriptor can be passed over its connection"
            )
        if not self.fds:
            incoming, outgoing = _create_area("mechestim-to-server", self._size), -1
            try:
                outgoing = _create_area("mechestim-to-client", self._size)
                # The server's writable mapping must come before the seal that forbids new ones.
                self._outgoing = _map_area(outgoing, self._size, mmap.PROT_READ | mmap.PROT_WRITE)
                self._incoming = _map_area(incoming, self._size, mmap.PROT_READ)
                fcntl.fcntl(incoming, _ADD_SEALS, _SHRINK | _GROW | _SEAL)
                fcntl.fcntl(outgoing, _ADD_SEALS, _SHRINK | _GROW | _FUTURE_WRITE | _SEAL)
            except BaseException:
                for fd in (incoming, outgoing):
                    if fd >= 0:
                        os.close(fd)
                raise
            self.fds = (incoming, outgoing)
        return self._size

    def blank(self, dtype: Any, shape: Any) -> Array:
        """Return an array of zeros for `put` to fill.

        Raises:
            QuotaExceededError: The session has no room for it.
            TypeError: The dtype is unknown, or holds Python objects.
            ValueError: The shape is not a list of integers of 0 or more.
        """
        found = dtype_from_description(dtype)
        size = found.itemsize
        for length in shape:
            if type(length) is not int or length < 0:
                raise ValueError("a shape must be a list of integers of 0 or more")
            size *= length
        self._objects.check_available(size)
        array = np.zeros(tuple(shape), found).view(Array)
        self._unfilled[id(array)] = array
        return array

    def put(self, array: Any, offset: Any, length: Any) -> None:
        """Copy `length` bytes of the incoming area into an array of `blank`, at byte `offset`.

        The copy that reaches the array's end completes it: it cannot be filled again.

        Raises:
            ValueError: The array does not come from `blank`, or is complete; or the part is out of
                range.
        """
        if self._unfilled.get(id(array)) is not array:
            raise ValueError("only an array that is still being sent can be filled")
        target = self._bytes_of(array, offset, length)
        target[offset : offset + length] = self._incoming[:length]
        if offset + length == target.size:
            del self._unfilled[id(array)]

    def hold(self, array: Any) -> Any:
        """Return `array`, or a C-contiguous copy of it, for `get` to read.

        It also copies the array's beginning into the outgoing area, as much as has room there, so
        that an array of up to one area needs no further request.
        """
        plain = base_view(_checked_array(array))
        if not plain.flags.c_contiguous:
            plain = np.array(plain, order="C")
            array = plain.view(Array)
        self.get(array, 0, min(plain.nbytes, self._size))
        return array

    def get(self, array: Any, offset: Any, length: Any) -> None:
        """Copy `length` bytes of a contiguous array, from byte `offset`, into the outgoing area."""
        source = self._bytes_of(array, offset, length)
        self._outgoing[:length] = source[offset : offset + length]

    def _bytes_of(self, array: Any, offset: Any, length: Any) -> Any:
        """Return the bytes of an array, as uint8 and without a copy, after a check of the range.

        Raises:
            TypeError: `array` is not an array.
            ValueError: The array is not contiguous, the range is invalid, or there is no arena.
        """
        plain = base_view(_checked_array(array))
        if not plain.flags.c_contiguous:
            raise ValueError("the array is not C-contiguous")
        if (
            type(offset) is not int
            or type(length) is not int
            or not 0 <= length <= self._size
            or not 0 <= offset <= plain.nbytes - length
        ):
            raise ValueError(
                f"offset and length must lie within the array's {plain.nbytes:,} bytes, and length "
                f"within the area's {self._size:,}"
            )
        if not self.fds:
            raise ValueError("this session has no arena")
        return plain.reshape(-1).view(np.uint8)

    def close(self) -> None:
        """Unmap and close the areas."""
        fds, self.fds = self.fds, ()
        self._incoming = self._outgoing = None
        for fd in fds:
            os.close(fd)


def _create_area(name: str, size: int) -> int:
    """Return a descriptor of new anonymous memory that can be sealed."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def _map_area(fd: int, size: int, access: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(mmap.mmap(fd, size, mmap.MAP_SHARED, access), np.uint8)


def _checked_array(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        raise TypeError("this call needs an array")
    return array
