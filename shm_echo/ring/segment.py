"""Shared memory that leaves nothing behind.

A segment is made under a name, unlinked at once and only then allocated, in full: a kill at
any moment leaves nothing in /dev/shm, and a shortage shows at the start as an
exception, never later as a bus error. The only way in is the file descriptor. A memfd is sealed, so
that no process can truncate it; memory of /dev/shm cannot be sealed, and its mappings are guarded
against SIGBUS instead (csrc/sigbus_guard.c). What lies in the memory is the business of the ring
and of the broadcast.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import posix_ipc

from shm_echo.errors import DescriptorLimitError, RingCorruptedError, ShmTooSmallError
from shm_echo.ring.core import _core_cpython, ffi
from shm_echo.ring.host_pinning import CudaLibrary, HostPin
from shm_echo.ring.memory_limit import free_memory, free_under_limit, free_under_ulimits
from shm_echo.validation import environment_switch

__all__ = ["Backing", "Segment", "sigbus_guard_enabled", "start_time", "sweep"]

Backing = Literal["auto", "posix", "memfd", "private"]

_log = logging.getLogger("shm_echo.ring")
_SHM = Path("/dev/shm")
_PREFIX = "shm-echo-"

# Python has no names for these before 3.13 or none at all; the values are the kernel's interface.
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
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
    def allocate(cls, size: int, backing: Backing = "auto", *, guarded: bool = False) -> Segment:
        """Return a new zeroed segment of `size` bytes, with every page allocated.

        Args:
            size: the number of bytes.
            backing: "posix" (/dev/shm), "memfd" (bounded by memory alone), "auto" (a memfd if
                /dev/shm is too small, absent or read-only), or "private" (no other process can ever
                share it).
            guarded: True to survive that another process truncates memory of /dev/shm.

        Raises:
            ShmTooSmallError: /dev/shm, the machine's memory, or a limit of this process or of its
                control group is too small; nothing was allocated.
            DescriptorLimitError: this process may open no more files.
            ValueError: the backing is unknown.
        """
        if backing not in ("auto", "posix", "memfd", "private"):
            raise ValueError(f"backing must be 'auto', 'posix' or 'memfd', not {backing!r}")
        _check_limits(size, in_file=backing != "private")
        if backing == "private":
            return cls(_map(-1, size, False), -1, "private")
        try:
            if backing in ("auto", "posix"):
                try:
                    return cls._own(_posix(size), size, "posix", guarded)
                except ShmTooSmallError as error:
                    if backing == "posix" or not error.path.startswith(str(_SHM)):
                        raise
                    _log.info(
                        "%s has %d bytes free, the ring needs %d: using a memfd instead",
                        error.path,
                        error.have,
                        error.need,
                    )
            return cls._own(_memfd(size), size, "memfd", False)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            raise DescriptorLimitError("the memory of the ring", limit) from None

    @classmethod
    def _own(cls, fd: int, size: int, kind: str, guarded: bool) -> Segment:
        try:
            return cls(_map(fd, size, guarded), fd, kind)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def from_fd(cls, fd: int, size: int) -> Segment:
        """Map memory that another process allocated. The descriptor is closed in any case.

        A mapping that other processes could truncate is guarded, unless SHM_ECHO_SIGBUS is off.

        Raises:
            ValueError: the memory is smaller than `size`.
        """
        try:
            have = os.fstat(fd).st_size
            if have < size:
                raise ValueError(f"shared memory of {have} bytes cannot hold {size}")
            guarded = not _is_sealed(fd) and sigbus_guard_enabled()
            return cls(_core_cpython.Mapping(fd, size, guarded), -1, "attached")
        finally:
            os.close(fd)

    def check_intact(self) -> None:
        """Check that what was read before this call came from the shared memory.

        Raises:
            RingCorruptedError: another process has truncated the memory, and this process reads
                zeros since then.
        """
        if self.mapping.broken:
            raise RingCorruptedError("another process has truncated it")

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
        # First: whatever interrupts this, the number is not closed again when it is another file's.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sigbus_guard_enabled() -> bool:
    """Return True unless SHM_ECHO_SIGBUS switches the guard of this process off.

    Raises:
        ValueError: the variable is neither on nor off.
    """
    return environment_switch("SHM_ECHO_SIGBUS", default=True)


def _is_sealed(fd: int) -> bool:
    """Return True if no process can truncate the memory behind a descriptor."""
    try:
        return bool(fcntl.fcntl(fd, _F_GET_SEALS) & _F_SEAL_SHRINK)
    except OSError:  # not memory, but a file
        return False


_LESS = "use a smaller batch_size or num_buffers"


def _check_limits(size: int, in_file: bool) -> None:
    """Check the limits that hold for every backing, before anything is made.

    Raises:
        ShmTooSmallError: one of them is too small.
    """
    for free, name in free_under_ulimits(in_file):
        if size > free:
            raise ShmTooSmallError(size, free, name, f"{_LESS}, or raise the limit")
    under_limit, limit = free_under_limit()
    if under_limit is not None and size > under_limit:
        raise ShmTooSmallError(size, under_limit, limit, f"{_LESS}, or raise the limit")
    available = free_memory()
    if available is not None and size > available:
        raise ShmTooSmallError(size, available, "this machine's memory", _LESS)


def _map(fd: int, size: int, guarded: bool) -> _core_cpython.Mapping:
    try:
        return _core_cpython.Mapping(fd, size, guarded)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        name = "the address space of this process (ulimit -v)"
        raise ShmTooSmallError(size, 0, name, _LESS) from None


def _posix(size: int) -> int:
    have = _check_dev_shm(size)
    name = f"/{_PREFIX}{os.getpid()}-{start_time(os.getpid())}-{os.urandom(8).hex()}"
    try:
        shm = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
    except posix_ipc.PermissionsError:
        raise _too_small(size, 0, "not writable for this process") from None
    except OSError as error:
        if error.errno is None:  # posix_ipc gives no number if no descriptor is left
            raise OSError(errno.EMFILE, str(error)) from None
        raise
    fd = int(shm.fd)
    try:
        # In another pid namespace that shares /dev/shm, this process looks dead: a sweep there may
        # unlink the name first.
        with contextlib.suppress(posix_ipc.ExistentialError):
            posix_ipc.unlink_shared_memory(name)
        _allocate(fd, size, lambda: _too_small(size, have))
        return fd
    except BaseException:
        os.close(fd)
        raise


def _check_dev_shm(size: int) -> int:
    """Return the free bytes of /dev/shm, if they are enough.

    Filling a nearly full /dev/shm only to fail would harm its other users.

    Raises:
        ShmTooSmallError: it is too small, absent, read-only or not for this user.
    """
    try:
        stat = os.statvfs(_SHM)
    except OSError as error:
        raise _too_small(size, 0, "absent" if error.errno == errno.ENOENT else "unusable") from None
    if stat.f_flag & os.ST_RDONLY:
        raise _too_small(size, 0, "read-only")
    if not os.access(_SHM, os.W_OK | os.X_OK, effective_ids=True):
        raise _too_small(size, 0, "not writable for this process")
    have = stat.f_bavail * stat.f_frsize
    if stat.f_blocks and have < size:
        raise _too_small(size, have)
    return have


def _too_small(need: int, have: int, why: str = "") -> ShmTooSmallError:
    return ShmTooSmallError(
        need,
        have,
        f"{_SHM} ({why})" if why else str(_SHM),
        f"{_LESS}, backing='memfd', or a larger /dev/shm (docker run --shm-size)",
    )


def _allocate(fd: int, size: int, shortage: Callable[[], ShmTooSmallError]) -> None:
    """Allocate every page; raise the error of a shortage that the checks could not see."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno == errno.EFBIG:  # the limit was lowered meanwhile
            name = "the file size limit of this process (ulimit -f)"
            raise ShmTooSmallError(size, 0, name, f"{_LESS}, or raise the limit") from None
        if error.errno not in (errno.ENOSPC, errno.ENOMEM):
            raise
        raise shortage() from None


def _memfd(size: int) -> int:
    fd = os.memfd_create("shm-echo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _allocate(fd, size, lambda: ShmTooSmallError(size, 0, "memory", _LESS))
        # Sealed: a producer that shrank the segment would end this process with a bus error.
        fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
        return fd
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
