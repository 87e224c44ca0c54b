"""Shared memory that leaves nothing behind.

A segment is made under a name, unlinked at once and only then allocated, in full: a kill at
any moment leaves nothing in /dev/shm, and a shortage shows at the start as an
exception, never later as a bus error. The only way in is the file descriptor. What lies in the
memory is the business of the ring and of the broadcast.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
from pathlib import Path
from typing import Literal

import posix_ipc

from shm_echo.errors import ShmTooSmallError
from shm_echo.ring.core import _core_cpython, ffi
from shm_echo.ring.host_pinning import CudaLibrary, HostPin
from shm_echo.ring.memory_limit import free_memory, free_under_limit

__all__ = ["Backing", "Segment", "start_time", "sweep"]

Backing = Literal["auto", "posix", "memfd", "private"]

_log = logging.getLogger("shm_echo.ring")
_SHM = Path("/dev/shm")
_PREFIX = "shm-echo-"

# Python has no names for these before 3.13 or none at all; the values are the kernel's interface.
_F_ADD_SEALS = 1033
_F_SEAL_SEAL, _F_SEAL_SHRINK, _F_SEAL_GROW = 1, 2, 4


class Segment:
    """One mapping of shared (or, for in-process use, private) memory, zeroed when new.

    The memory stays mapped as long as an object refers to `mapping`, as each buffer over it does.
    Closing a segment closes its descriptor, which is the only one, and arrays over the memory stay
    readable.
    """

    def __init__(self, mapping: _core_cpython.Mapping, fd: int, kind: str) -> None:
        self.mapping = mapping
        self.size = len(mapping)
        self.kind = kind
        self._fd = fd
        self._pin: HostPin | None = None

    @classmethod
    def allocate(cls, size: int, backing: Backing = "auto") -> Segment:
        """Return a new zeroed segment of `size` bytes, with every page allocated.

        Args:
            size: the number of bytes.
            backing: "posix" (/dev/shm), "memfd" (bounded by memory alone), "auto" (a memfd if
                /dev/shm is too small), or "private" (no other process can ever share it).

        Raises:
            ShmTooSmallError: /dev/shm, the machine's memory, or the memory limit of this process's
                control group is too small; nothing was allocated.
            ValueError: the backing is unknown.
        """
        if backing not in ("auto", "posix", "memfd", "private"):
            raise ValueError(f"backing must be 'auto', 'posix' or 'memfd', not {backing!r}")
        free, limit = free_under_limit()
        if free is not None and size > free:
            raise ShmTooSmallError(
                size, free, limit, "use a smaller batch_size or num_buffers, or raise the limit"
            )
        available = free_memory()
        if available is not None and size > available:
            raise ShmTooSmallError(
                size, available, "this machine's memory", "use a smaller batch_size or num_buffers"
            )
        if backing == "private":
            return cls(_core_cpython.Mapping(-1, size), -1, "private")
        if backing in ("auto", "posix"):
            try:
                return cls._own(_posix(size), size, "posix")
            except ShmTooSmallError as error:
                if backing == "posix":
                    raise
                _log.info(
                    "/dev/shm has %d bytes free, the ring needs %d: using a memfd instead",
                    error.have,
                    error.need,
                )
        return cls._own(_memfd(size), size, "memfd")

    @classmethod
    def _own(cls, fd: int, size: int, kind: str) -> Segment:
        try:
            return cls(_core_cpython.Mapping(fd, size), fd, kind)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int, size: int) -> Segment:
        """Map memory that another process allocated. The descriptor is closed in any case.

        Raises:
            ValueError: the memory is smaller than `size`.
        """
        try:
            have = os.fstat(fd).st_size
            if have < size:
                raise ValueError(f"shared memory of {have} bytes cannot hold {size}")
            return cls(_core_cpython.Mapping(fd, size), -1, "attached")
        finally:
            os.close(fd)

    def fileno(self) -> int:
        """Return the descriptor to send to another process.

        Raises:
            ValueError: the segment is private, attached or closed.
        """
        if self._fd < 0:
            raise ValueError(f"this segment ({self.kind}) has no descriptor to hand on")
        return self._fd

    def pin(self, cuda: CudaLibrary) -> None:
        """Page-lock the whole mapping for a GPU until `close`.

        Raises:
            RuntimeError: CUDA refused the registration.
        """
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(self.mapping)))
        self._pin = HostPin(cuda, address, self.size)
        self._pin.register()

    def close(self) -> None:
        """Close the descriptor, and unpin. The mapping ends with the last array over it."""
        if self._pin is not None:
            self._pin.release()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _posix(size: int) -> int:
    name = f"/{_PREFIX}{os.getpid()}-{start_time(os.getpid())}-{secrets.token_hex(8)}"
    shm = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    fd = int(shm.fd)
    try:
        # In another pid namespace that shares /dev/shm, this process looks dead: a sweep there may
        # unlink the name first.
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(name)
        stat = os.fstatvfs(fd)
        have = stat.f_bavail * stat.f_frsize
        # Check before allocating: filling a nearly full /dev/shm only to fail would harm its other
        # users.
        if stat.f_blocks and have < size:
            raise _too_small(size, have)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            raise _too_small(size, have) from None
        return fd
    except BaseException:
        os.close(fd)
        raise


def _too_small(need: int, have: int) -> ShmTooSmallError:
    return ShmTooSmallError(
        need,
        have,
        str(_SHM),
        "use a smaller batch_size or num_buffers, backing='memfd', or a larger /dev/shm "
        "(docker run --shm-size)",
    )


def _memfd(size: int) -> int:
    fd = os.memfd_create("shm-echo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(fd, 0, size)
        # Sealed: a producer that shrank the segment would end this process with a bus error.
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
        return fd
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise ShmTooSmallError(
                size, 0, "memory", "use a smaller batch_size or num_buffers"
            ) from None
        raise
    except BaseException:
        os.close(fd)
        raise


def start_time(pid: int) -> str:
    """Return the start time of a process, in clock ticks since boot; "" if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The command, in parentheses, may contain spaces and parentheses. Field 22 of the line is the
    # 20th after the last parenthesis.
    return stat.rpartition(")")[2].split()[19]


def sweep() -> int:
    """Remove the segments of creators that died before unlinking them; return their number."""
    removed = 0
    for path in _SHM.glob(f"{_PREFIX}*"):
        parts = path.name.removeprefix(_PREFIX).split("-")
        if len(parts) != 3 or not parts[0].isdigit() or start_time(int(parts[0])) == parts[1]:
            continue
        # Another sweep was quicker, or the segment belongs to another user.
        with contextlib.suppress(posix_ipc.ExistentialError, posix_ipc.PermissionsError):
            posix_ipc.unlink_shared_memory(f"/{path.name}")
            removed += 1
    return removed
