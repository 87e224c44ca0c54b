"""Memory that a server shares with its worker processes, and a lock between these processes."""

from __future__ import annotations

import fcntl
import os

__all__ = ["FileLock", "reopened", "sealed_memory"]


class FileLock:
    """A lock between processes; the kernel releases it when its holder dies.

    Args:
        fd: A descriptor of an open file description that nothing else locks. `flock` locks belong
            to descriptions, so two descriptors of one description would not exclude each other.
            The caller closes it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock. Return True if it was taken."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def sealed_memory(name: str, size: int) -> int:
    """Return the descriptor of new memory that processes can share and whose size is fixed.

    The seals keep a worker from shrinking the memory: the server's next access would kill it.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


def reopened(fd: int) -> int:
    """Return another open file description of the same memory, whose locks are its own."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
