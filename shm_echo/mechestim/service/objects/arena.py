"""Memory that a session shares with its client, for contents too large for messages.

There are two areas: the client writes into one, the server into the other. The server creates,
sizes and seals both, so no client can shrink an area under a running copy; the seal of the second
area forbids new writable mappings. The server copies the content of an area before it uses it,
because the client may change the area at any moment.
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

SIZE = 1 << 20

# The fcntl module names these only in some versions of Python.
_ADD_SEALS = 1033
_SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 1, 2, 4, 16


class SessionArena:
    """The two areas of one session, made when the client first asks for them.

    Attributes:
        fds: the descriptors of the areas, towards the server and towards the client.
        possible: True if the session's connection can pass descriptors.
    """

    def __init__(self, objects: HandleTable, quotas: Quotas, size: int = SIZE) -> None:
        self._objects = objects
        self._quotas = quotas
        self._size = size
        self.fds: tuple[int, ...] = ()
        self.possible = True
        self._incoming: Any = None
        self._outgoing: Any = None
        # Arrays that are being filled, and no others: a write into elements has its price.
        self._unfilled: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()

    def open(self) -> int:
        """Make the areas; their size in bytes. The descriptors are to be sent with the answer.

        Raises:
            MechEstimServerError: they could not be sent.
        """
        if not self.possible:
            raise MechEstimServerError(
                "this session has no arena: no descriptor can be passed over its connection"
            )
        if not self.fds:
            incoming, outgoing = _area("mechestim-to-server", self._size), -1
            try:
                outgoing = _area("mechestim-to-client", self._size)
                # A writable mapping comes before the seal that forbids all others.
                self._outgoing = _mapped(outgoing, self._size, mmap.PROT_READ | mmap.PROT_WRITE)
                self._incoming = _mapped(incoming, self._size, mmap.PROT_READ)
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
        """Return an array for `put` to fill.

        Raises:
            QuotaExceededError: it would not fit.
            TypeError, ValueError: there is no such array.
        """
        found = dtype_from_description(dtype)
        size = found.itemsize
        for length in shape:
            if type(length) is not int or length < 0:
                raise ValueError("a shape is a list of integers, 0 or more")
            size *= length
        self._objects.check_available(size)
        array = np.zeros(tuple(shape), found).view(Array)
        self._unfilled[id(array)] = array
        return array

    def put(self, array: Any, offset: Any, length: Any) -> None:
        """Copy `length` bytes of the incoming area into an array of `blank`, up to its end.

        Raises:
            ValueError: it is not being filled, or not any more.
        """
        if self._unfilled.get(id(array)) is not array:
            raise ValueError("only an array that is being sent can be filled")
        target = self._bytes_of(array, offset, length)
        target[offset : offset + length] = self._incoming[:length]
        if offset + length == target.size:
            del self._unfilled[id(array)]

    def hold(self, array: Any) -> Any:
        """`array`, or a copy of it, with its elements one behind the other.

        As much of it as there is room for lies in the outgoing area then.
        """
        plain = base_view(_checked(array))
        if not plain.flags.c_contiguous:
            plain = np.array(plain, order="C")
            array = plain.view(Array)
        self.get(array, 0, min(plain.nbytes, self._size))
        return array

    def get(self, array: Any, offset: Any, length: Any) -> None:
        """Copy `length` bytes of an array of `hold` into the outgoing area."""
        source = self._bytes_of(array, offset, length)
        self._outgoing[:length] = source[offset : offset + length]

    def _bytes_of(self, array: Any, offset: Any, length: Any) -> Any:
        plain = base_view(_checked(array))
        if not plain.flags.c_contiguous:
            raise ValueError("the array does not lie in one piece")
        if (
            type(offset) is not int
            or type(length) is not int
            or not 0 <= length <= self._size
            or not 0 <= offset <= plain.nbytes - length
        ):
            raise ValueError("a part of an array that is out of range")
        if not self.fds:
            raise ValueError("this session has no arena")
        return plain.reshape(-1).view(np.uint8)

    def close(self) -> None:
        """Unmap and close the areas."""
        fds, self.fds = self.fds, ()
        self._incoming = self._outgoing = None
        for fd in fds:
            os.close(fd)


def _area(name: str, size: int) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def _mapped(fd: int, size: int, access: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(mmap.mmap(fd, size, mmap.MAP_SHARED, access), np.uint8)


def _checked(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        raise TypeError("this needs an array")
    return array
