"""The door of a control server: who is let in, and what those hear who are not.

Accepts connections, checks who they come from, and keeps the server usable when it runs out of
descriptors: a client is told so instead of being left to wait, and the loop does not spin on a
connection that it cannot accept. Must be used under ``FORK_LOCK``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket

from shm_echo.control.peer import peer_of
from shm_echo.control.protocol.handshake import FULL, PEER, ServerHandshake
from shm_echo.control.protocol.messages import Refused
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.processes import ProcessTable
from shm_echo.control.server.server_connection import ServerConnection, ServerLimits
from shm_echo.control.server.tcp_listener import TcpListener
from shm_echo.control.server.unix_listener import UnixListener
from shm_echo.errors import PeerRefusedError

__all__ = ["Acceptor"]

_log = logging.getLogger("shm_echo.control")

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_DESCRIPTORS = Refused(FULL, "the server has no file descriptor left (RLIMIT_NOFILE)")
_NO_ROOM = Refused(FULL, "the server has as many clients as it takes")


class Acceptor:
    """The listening socket, where the rules of admission are kept.

    Attributes:
        idle: nobody was waiting at the last ``admit``.
        closed: not even a refusal is possible now; wait a moment, then ``reopen``.
    """

    CROWD = 64  # admissions in a row before others get their turn

    def __init__(
        self, listening: UnixListener | TcpListener, access: AccessPolicy, limits: ServerLimits
    ) -> None:
        self._listening = listening
        self._access = access
        self._limits = limits
        # Given up for a moment when there is no other descriptor, to tell a client so.
        self._spare = _spare()
        self._told_shortage = False
        self.idle = False
        self.closed = False

    @property
    def sock(self) -> socket.socket:
        return self._listening.sock

    def admit(self, processes: ProcessTable, clients: int, now: float) -> ServerConnection | None:
        """Accept one connection; None if nobody waits or the one who did may not come in."""
        self.idle = False
        try:
            sock, _ = self.sock.accept()
        except (BlockingIOError, InterruptedError):
            self.idle = True
            return None
        except OSError as error:
            if error.errno in _SHORTAGE:
                self._refuse_without_descriptors()
            return None  # else the client has gone again
        try:
            sock.setblocking(False)
            peer = peer_of(sock)
            offered = self._access.offered_to(peer)
            if clients >= self._limits.max_clients:
                _refuse(sock, _NO_ROOM)
                return None
            process = processes.enter(sock, peer) if peer.pid else processes.unseen()
        except PeerRefusedError as error:
            _log.warning("refused a connection: %s", error)
            _refuse(sock, Refused(PEER, str(error)))
            return None
        except ProcessLookupError:
            sock.close()
            return None
        except OSError:
            self._tell_shortage()
            _refuse(sock, _NO_DESCRIPTORS)
            return None
        handshake = ServerHandshake(offered, tokens=self._access.tokens)
        return ServerConnection(sock, peer, process, handshake, self._limits, now)

    def reopen(self) -> bool:
        """After ``closed``: try again."""
        self._spare = _spare()
        self.closed = self._spare < 0
        return not self.closed

    def shut(self) -> None:
        """Remove the socket file and stop listening."""
        self._listening.close()
        self._close_spare()

    def let_go(self) -> None:
        """Close the descriptors, and leave the file to the process that serves."""
        self.sock.close()
        self._close_spare()

    def _refuse_without_descriptors(self) -> None:
        self._tell_shortage()
        self._close_spare()
        with contextlib.suppress(OSError):
            sock, _ = self.sock.accept()
            sock.setblocking(False)
            _refuse(sock, _NO_DESCRIPTORS)
        self._spare = _spare()
        self.closed = self._spare < 0

    def _tell_shortage(self) -> None:
        if not self._told_shortage:
            self._told_shortage = True
            _log.warning(
                "no file descriptor is left for new clients (RLIMIT_NOFILE is %d): they are "
                "refused until some are free (told once)",
                resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )

    def _close_spare(self) -> None:
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)


def _spare() -> int:
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _refuse(sock: socket.socket, refused: Refused) -> None:
    with sock, contextlib.suppress(OSError):
        sock.send(ServerHandshake(()).refuse(refused), socket.MSG_NOSIGNAL)
