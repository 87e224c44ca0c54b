"""The client processes of a server: one pidfd for each, however many connections it has.

A process stays in the table as long as a connection or a session refers to it. So a client that
connects and hangs up a thousand times costs one descriptor, and its end is noticed once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Hashable

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.control.peer import Peer, has_exited, open_pidfd, pidfd_of
from shm_echo.errors import PidfdUnavailableError

__all__ = ["Process", "ProcessTable", "require_pidfds"]


class Process:
    """A client's process, from its first connection until nothing refers to it any more.

    Attributes:
        pid: its process id.
        pidfd: -1 if the process cannot be watched from here (it lives in another pid namespace or
            behind a TCP port); then the end of its connection is all that the server notices.
        references: its open connections, and its sessions that have not ended, some of them
            without a connection. This module does not know their types; it only counts them.
        released: True once the table has closed the pidfd.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.released = False
        self.references: set[Hashable] = set()


class ProcessTable:
    """All processes that are watched, by pid."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Process] = {}
        # More than the values of _by_pid: the kernel may give the number of a dead process to a
        # new one before the server has handled the death.
        self._all: set[Process] = set()

    def __len__(self) -> int:
        return len(self._all)

    def watch(self, sock: socket.socket, peer: Peer) -> Process:
        """Return the process at the other end of a socket, known already or new.

        Raises:
            ProcessLookupError: the process has ended.
            OSError: no descriptor is left.
        """
        with FORK_LOCK:
            pidfd = open_pidfd(sock, peer)
            if has_exited(pidfd):
                os.close(pidfd)
                raise ProcessLookupError(f"pid {peer.pid} has ended")
            known = self._by_pid.get(peer.pid)
            # Both pidfds are alive now and have this number, so they are the same process.
            if known is not None and not has_exited(known.pidfd):
                os.close(pidfd)
                return known
            process = Process(peer.pid, pidfd)
            self._all.add(process)
            self._by_pid[peer.pid] = process
            return process

    def unwatched(self) -> Process:
        """Return a stand-in for a process that cannot be watched: a new one per connection."""
        return Process(0, -1)

    def release(self, process: Process) -> None:
        """Close the pidfd of a process that nothing refers to any more."""
        with FORK_LOCK:
            if process.released:
                return
            process.released = True
            if process.pidfd < 0:
                return
            self._all.discard(process)
            if self._by_pid.get(process.pid) is process:
                del self._by_pid[process.pid]
            os.close(process.pidfd)

    def close(self) -> None:
        """Close every pidfd."""
        for process in list(self._all):
            self.release(process)


def require_pidfds() -> None:
    """Check that this process can watch others.

    `open_pidfd` does without pidfd_open on Linux 6.5 and later. The check insists on it all the
    same: the processes that a service starts are watched through it, and a program that starts on
    one kernel should not fail on another with the same profile.

    Raises:
        PidfdUnavailableError: the kernel is too old, or a seccomp filter forbids the call.
        DescriptorLimitError: this process may open no more descriptors.
    """
    try:
        os.close(pidfd_of(os.getpid()))
    except PidfdUnavailableError:
        raise
    except OSError:
        raise descriptor_limit_error("a pidfd") from None
