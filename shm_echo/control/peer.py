"""The process at the other end of a Unix socket: its identity, its life and the way it ended.

Everything here comes from the kernel; nothing depends on what a peer says about itself. A pidfd
refers to the same process for ever, so a process id that is used again cannot be mistaken for it.
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

from shm_echo.errors import PeerRefusedError, PidfdUnavailableError

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
    "pidfd_of",
]

_SO_PEERPIDFD = 77  # Linux 6.5; Python's socket module does not define it
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
    """A process as the kernel identifies it: the one that connected, or that listens.

    Attributes:
        pid: the process id; 0 if the process is not visible in this pid namespace.
        uid: the user id; -1 if it is unknown, as it is over TCP.
        remote_address: host and port of a peer over TCP, otherwise empty.
    """

    pid: int
    uid: int
    remote_address: str = ""

    @property
    def name(self) -> str:
        """The name of the process in logs."""
        return self.remote_address or (
            f"pid {self.pid}" if self.pid else f"a process of user {self.uid}"
        )


def peer_of(sock: socket.socket) -> Peer:
    """Return the process at the other end of a connected socket."""
    if sock.family != socket.AF_UNIX:
        try:
            host, port, *_ = sock.getpeername()
        except OSError:  # the peer has disconnected already
            return Peer(0, -1, "an unknown host")
        return Peer(0, -1, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(raw)
    return Peer(pid, uid)


def check_peer(peer: Peer, role: str, uid: int | None = None) -> None:
    """Check that this process may talk to the peer.

    Args:
        peer: the other process.
        role: its role in the message: `"the client"`, `"the server at /path"`.
        uid: another user that is allowed, too.

    Raises:
        PeerRefusedError: the peer belongs to another user, or cannot be watched from here.
    """
    check_user(peer, role, uid)
    check_visible(peer, role)


def check_user(peer: Peer, role: str, uid: int | None = None, advice: str = SAME_USER) -> None:
    """Check that the peer runs as this user, or as `uid`.

    Args:
        peer, role, uid: as for `check_peer`.
        advice: the end of the message if `uid` is None.

    Raises:
        PeerRefusedError: the peer runs as another user.
    """
    own_uid = os.geteuid()
    if peer.uid not in (own_uid, uid):
        found = f"{role} runs as user {peer.uid} and this process as user {own_uid}: "
        if uid is None:
            raise PeerRefusedError(f"{found}{advice}")
        raise PeerRefusedError(f"{found}only that user and user {uid} are welcome")


def check_visible(peer: Peer, role: str) -> None:
    """Check that the end of the peer can be noticed from here.

    Raises:
        PeerRefusedError: the peer lives in another pid namespace.
    """
    if peer.pid == 0:
        raise PeerRefusedError(
            f"{role} lives in another pid namespace (a container), so that its end could not be "
            "noticed: run both in one pid namespace"
        )


def pidfd_of(pid: int) -> int:
    """Return a pidfd of a process, which must not have been reaped.

    Raises:
        PidfdUnavailableError: the call does not exist, or is forbidden.
        OSError: the process has ended, or no descriptor is left.
    """
    try:
        return os.pidfd_open(pid)
    except AttributeError:
        raise _no_pidfds("this Python was built without os.pidfd_open") from None
    except OSError as error:
        # The call itself knows no EPERM; profiles of containers answer so to calls they don't know.
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise _no_pidfds(error.strerror or str(error)) from None
        raise


def _no_pidfds(reason: str) -> PidfdUnavailableError:
    return PidfdUnavailableError(
        f"pidfd_open is not available here ({reason}): it takes Linux 5.3 or later, and in a "
        "container a seccomp profile that allows it (Docker's does since version 20.10)"
    )


def open_pidfd(sock: socket.socket, peer: Peer) -> int:
    """Open a pidfd of the process at the other end, which may have ended since it connected.

    Raises:
        ProcessLookupError: the process has ended, and the kernel gives no pidfd for it any more.
        PidfdUnavailableError: the kernel is too old, or a seccomp filter forbids pidfd_open.
        OSError: no descriptor is left.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENODATA):
            raise ProcessLookupError(error.errno, "the peer has ended") from None
        if error.errno != errno.ENOPROTOOPT:
            raise
    pidfd = pidfd_of(peer.pid)
    # Before Linux 6.5 the kernel may have given the number to another process since the peer
    # connected. If the peer still has its end of the socket open, it has had its number all along.
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    if any(mask & (select.POLLHUP | select.POLLRDHUP | select.POLLERR) for _, mask in poll.poll(0)):
        os.close(pidfd)
        raise ProcessLookupError(errno.ESRCH, "the peer has ended")
    return pidfd


def has_exited(pidfd: int) -> bool:
    """Return True if the process has ended, all of its threads included. A zombie has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def exit_signal(pidfd: int) -> int | None:
    """Return the signal that killed a process.

    Returns:
        The signal's number. None while the process lives, if it exited by itself, and if the kernel
        does not tell.
    """
    for read_status in (_status_of_child, _status_of_zombie, _status_of_reaped):
        status = read_status(pidfd)
        if status is not None:
            return status & 0x7F or None
    return None


def _status_of_child(pidfd: int) -> int | None:
    """Return the wait status of this process's own child, without reaping it."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else 0


def _status_of_zombie(pidfd: int) -> int | None:
    """Return the wait status of another process's child that its parent has not reaped.

    The kernel gives it through the pidfd only after the parent has reaped the child, but /proc has
    it now. A zombie keeps its number, and the signal 0 at the end shows that the pidfd's process
    still exists: so the number was its own while /proc was read.
    """
    try:
        with open(f"/proc/self/fdinfo/{pidfd}") as lines:
            pid = next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
        if pid <= 0:
            return None
        with open(f"/proc/{pid}/stat") as line_of_stat:
            # The second field, the program's name in parentheses, can contain spaces and
            # parentheses itself.
            after_name = line_of_stat.read().rpartition(")")[2].split()
        signal.pidfd_send_signal(pidfd, 0)
    except (OSError, StopIteration, ValueError):
        return None
    state, code = after_name[0], int(after_name[-1])
    # Readers that may not see the code get 0, too.
    return code if state == "Z" and code else None


def _status_of_reaped(pidfd: int) -> int | None:
    """Return the wait status of a process that its parent has reaped (Linux 6.15)."""
    buffer = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    mask, *_, code = _PIDFD_INFO.unpack(buffer)
    return int(code) if mask & _PIDFD_INFO_EXIT else None
