"""The processes behind the connections: one pidfd for each, however many connections it has.

A process stays here as long as a connection or a session refers to it. So a client that connects
and hangs up a thousand times costs one descriptor, and its end is noticed once.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.control.peer import Peer, has_exited, open_pidfd

if TYPE_CHECKING:
    from shm_echo.control.server.server_connection import ServerConnection
    from shm_echo.control.server.session_table import SessionRecord

__all__ = ["Process", "ProcessTable"]


class Process:
    """One live process, or one whose end has not been dealt with.

    Attributes:
        pidfd: -1 for a process that cannot be seen from here; its connection says all there is
            to know.
        links: its open connections.
        attached: its sessions that have not ended, some of them without a connection.
        gone: the table has closed the pidfd.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.gone = False
        self.links: set[ServerConnection] = set()
        self.attached: set[SessionRecord] = set()


class ProcessTable:
    """All processes that are watched, by pid."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Process] = {}
        # More than the values of _by_pid: a dead process whose number has been given away already
        # stays until its end has been dealt with.
        self._all: set[Process] = set()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, sock: socket.socket, peer: Peer) -> Process:
        """The process at the other end: the one that is here already, or a new one.

        Raises:
            ProcessLookupError: it has gone already.
            OSError: no descriptor is left.
        """
        with FORK_LOCK:
            pidfd = open_pidfd(sock, peer)
            if has_exited(pidfd):
                os.close(pidfd)
                raise ProcessLookupError(f"pid {peer.pid} has gone")
            known = self._by_pid.get(peer.pid)
            # Both live now and both have this number, so they are the same process.
            if known is not None and not has_exited(known.pidfd):
                os.close(pidfd)
                return known
            process = Process(peer.pid, pidfd)
            self._all.add(process)
            self._by_pid[peer.pid] = process
            return process

    def unseen(self) -> Process:
        """What stands for a process that cannot be watched: one for each connection."""
        return Process(0, -1)

    def leave(self, process: Process) -> None:
        """Close the pidfd of a process that nothing refers to any more."""
        with FORK_LOCK:
            if process.gone:
                return
            process.gone = True
            if process.pidfd < 0:
                return
            self._all.discard(process)
            if self._by_pid.get(process.pid) is process:
                del self._by_pid[process.pid]
            os.close(process.pidfd)

    def close(self) -> None:
        """Close every pidfd."""
        for process in list(self._all):
            self.leave(process)
