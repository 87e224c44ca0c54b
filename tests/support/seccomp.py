"""System calls that fail, as on an older kernel or under a container's seccomp profile."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

__all__ = ["PIDFD_OPEN", "forbid", "old_kernel_without_pidfds"]

# Numbers of <asm/unistd.h>; pidfd_open has the same on every architecture.
PIDFD_OPEN = 434
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_GETSOCKOPT = {"x86_64": 55, "aarch64": 209}
_SO_PEERPIDFD = 77

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _FLAG_ALL_THREADS = 1, 1
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
# Instructions of the filter machine: load a word of the call's description, jump if equal, return.
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _THIRD_ARGUMENT = 0, 32  # offsets in struct seccomp_data


def _step(code: int, value: int, if_equal: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_equal, if_not, value)


def forbid(
    call: int,
    number: int = errno.ENOSYS,
    third_argument: int | None = None,
    all_threads: bool = False,
) -> None:
    """Make a system call of this thread and its children fail from now on. It can't be undone.

    Args:
        call: the number of the system call.
        number: the error number.
        third_argument: let only calls with this third argument fail.
        all_threads: apply it to the process's other threads too.
    """
    steps = [_step(_LOAD, _NUMBER)]
    if third_argument is None:
        steps += [_step(_JUMP_EQUAL, call, 0, 1)]
    else:
        steps += [
            _step(_JUMP_EQUAL, call, 0, 3),
            _step(_LOAD, _THIRD_ARGUMENT),
            _step(_JUMP_EQUAL, third_argument, 0, 1),
        ]
    steps += [_step(_RETURN, _RET_ERRNO | number), _step(_RETURN, _RET_ALLOW)]
    program = b"".join(steps)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _FLAG_ALL_THREADS if all_threads else 0
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(
        _SECCOMP[platform.machine()], _SET_MODE_FILTER, flags, head
    ):
        raise OSError(ctypes.get_errno(), "this process may not install a seccomp filter")


def old_kernel_without_pidfds(number: int = errno.ENOSYS, all_threads: bool = False) -> None:
    """Make this process see a kernel that has neither pidfd_open nor SO_PEERPIDFD."""
    forbid(PIDFD_OPEN, number, all_threads=all_threads)
    forbid(_GETSOCKOPT[platform.machine()], errno.ENOPROTOOPT, _SO_PEERPIDFD, all_threads)
