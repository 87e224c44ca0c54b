"""The process at the other end of a Unix socket: who it is, whether it lives, how it ended.

Everything here comes from the kernel; nothing that a peer says about itself counts. A pidfd
refers to one process for ever, so the reuse of process ids cannot mislead anybody who holds one.
Nothing here takes an exit status away from the parent that waits for it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
from dataclasses import dataclass

from shm_echo.errors import PeerRefusedError

__all__ = [
    "SAME_USER",
    "Peer",
    "check_peer",
    "check_user",
    "check_visible",
    "exit_signal",
    "has_exited",
    "open_pidfd",
    "peer_of",
]

_SO_PEERPIDFD = 77  # Linux 6.5; the socket module does not name it
SAME_USER = "both must be the same user"

_UCRED = struct.Struct("3i")

# struct pidfd_info of <linux/pidfd.h>, first version: 64 bytes.
#   0 u64 mask    8 u64 cgroup id    16 u32 pid, tgid, ppid    28 u32 x 8 user and group ids
#   60 i32 exit code, as in a wait status
_PIDFD_INFO = struct.Struct("=QQ3I8Ii")
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO.size << 16) | (0xFF << 8) | 11


@dataclass(frozen=True)
class Peer:
    """A process, as the kernel names it: the one that connected, or that listens.

    Attributes:
        pid: 0 where it cannot be seen from here.
        uid: -1 where nobody knows.
        place: host and port of one that is known by nothing else.
    """

    pid: int
    uid: int
    place: str = ""

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.place or (f"pid {self.pid}" if self.pid else f"a process of user {self.uid}")


def peer_of(sock: socket.socket) -> Peer:
    """The other end of a connected socket."""
    if sock.family != socket.AF_UNIX:
        try:
            host, port, *_ = sock.getpeername()
        except OSError:  # it has gone again
            return Peer(0, -1, "somebody")
        return Peer(0, -1, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(raw)
    return Peer(pid, uid)


def check_peer(peer: Peer, who: str, uid: int | None = None) -> None:
    """See that this process may talk to the peer.

    Args:
        who: the peer's part, for the message: ``"the client"``, ``"the server at /path"``.
        uid: another user that is welcome, too.

    Raises:
        PeerRefusedError: another user, or a process whose life cannot be watched from here.
    """
    check_user(peer, who, uid)
    check_visible(peer, who)


def check_user(peer: Peer, who: str, uid: int | None = None, advice: str = SAME_USER) -> None:
    """See that the peer is of this user, or of ``uid``.

    Args:
        who, uid: as for ``check_peer``.
        advice: the end of the message where there is no ``uid``.

    Raises:
        PeerRefusedError: it is not.
    """
    ours = os.geteuid()
    if peer.uid not in (ours, uid):
        found = f"{who} runs as user {peer.uid} and this process as user {ours}: "
        if uid is None:
            raise PeerRefusedError(f"{found}{advice}")
        raise PeerRefusedError(f"{found}only that user and user {uid} are welcome")


def check_visible(peer: Peer, who: str) -> None:
    """See that the life of the peer can be watched from here.

    Raises:
        PeerRefusedError: it cannot.
    """
    if peer.pid == 0:
        raise PeerRefusedError(
            f"{who} lives in another pid namespace (a container), so that its end could not be "
            "noticed: run both in one pid namespace"
        )


def open_pidfd(sock: socket.socket, peer: Peer) -> int:
    """A pidfd of the process at the other end, which may have ended since it connected.

    Raises:
        ProcessLookupError: it has gone, and no pidfd can be had any more.
        OSError: no descriptor is left.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENODATA):
            raise ProcessLookupError(error.errno, "the peer has gone") from None
        if error.errno != errno.ENOPROTOOPT:
            raise
    pidfd = os.pidfd_open(peer.pid)
    # Before Linux 6.5 the number could have been given to another process since the peer
    # connected. The peer that still holds its end of the socket now held its number all along.
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    if any(mask & (select.POLLHUP | select.POLLRDHUP | select.POLLERR) for _, mask in poll.poll(0)):
        os.close(pidfd)
        raise ProcessLookupError(errno.ESRCH, "the peer has gone")
    return pidfd


def has_exited(pidfd: int) -> bool:
    """Whether the process has ended, all of its threads included (a zombie has)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def exit_signal(pidfd: int) -> int | None:
    """The signal that ended a process.

    Returns:
        None while it lives, if it ended by itself, and where the kernel does not tell.
    """
    for ask in (_status_of_child, _status_of_zombie, _status_of_reaped):
        status = ask(pidfd)
        if status is not None:
            return status & 0x7F or None
    return None


def _status_of_child(pidfd: int) -> int | None:
    """The wait status of a child of ours that nobody has waited for, left as it is."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else 0


def _status_of_zombie(pidfd: int) -> int | None:
    """The wait status of somebody else's child that its parent has not waited for.

    The kernel gives it through the pidfd only later, when the parent has; the process table has
    it now. A zombie keeps its number, so if it is one before and after, the number was its own.
    """
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as lines:
            pid = next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
        if pid <= 0:
            return None
        with open(f"/proc/{pid}/stat") as line_of_stat:
            # The name of the program, in parentheses, can contain anything, spaces included.
            after_name = line_of_stat.read().rpartition(")")[2].split()
        signal.pidfd_send_signal(pidfd, 0)
    except (OSError, StopIteration, ValueError):
        return None
    state, code = after_name[0], int(after_name[-1])
    # 0 is also what those see who may not know the code.
    return code if state == "Z" and code else None


def _status_of_reaped(pidfd: int) -> int | None:
    """The wait status of a process that its parent has waited for (Linux 6.15)."""
    buffer = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    mask, *_, code = _PIDFD_INFO.unpack(buffer)
    return int(code) if mask & _PIDFD_INFO_EXIT else None
