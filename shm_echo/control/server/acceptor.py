"""Accepts connections: checks where they come from, and refuses those that may not stay.

Keeps the server usable when it runs out of descriptors: a client gets a refusal that says so
instead of waiting for an answer, and the loop does not spin on a connection that it cannot accept.
Callers hold `FORK_LOCK`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket

from shm_echo.control.peer import peer_of
from shm_echo.control.protocol.handshake import FULL, INTERNAL, PEER, ServerHandshake
from shm_echo.control.protocol.messages import Refused
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.processes import ProcessTable
from shm_echo.control.server.server_connection import ServerConnection, ServerLimits
from shm_echo.control.server.tcp_listener import TcpListener
from shm_echo.control.server.unix_listener import UnixListener
from shm_echo.errors import (
    AddressError,
    AddressInUseError,
    PeerRefusedError,
    PidfdUnavailableError,
)

__all__ = ["Acceptor"]

_log = logging.getLogger("shm_echo.control")

# Errors of accept() that stay until descriptors or memory are free again.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_DESCRIPTORS = Refused(FULL, "the server has no file descriptor left (RLIMIT_NOFILE)")
_NO_ROOM = Refused(FULL, "the server has as many clients as it takes")


class Acceptor:
    """The listening socket, and the rules by which its clients are accepted.

    Attributes:
        backlog_empty: True if no client was waiting at the last `accept_one`.
        suspended: True if not even a refusal is possible now. Then call `resume` later.
    """

    # A crowd of new clients may not keep the event loop from the connected ones.
    MAX_ACCEPTS_PER_PASS = 64

    def __init__(
        self, listener: UnixListener | TcpListener, access: AccessPolicy, limits: ServerLimits
    ) -> None:
        self._listener = listener
        self._access = access
        self._limits = limits
        # When no other descriptor is left, this one is closed for a moment, which makes room to
        # accept a client and refuse it.
        self._reserve_fd = _open_reserve_fd()
        self._shortage_logged = False
        self._loss_logged = False
        self.backlog_empty = False
        self.suspended = False

    @property
    def sock(self) -> socket.socket:
        return self._listener.sock

    def accept_one(
        self, processes: ProcessTable, clients: int, now: float
    ) -> ServerConnection | None:
        """Accept one connection; None if no client waits or the one that did was refused."""
        self.backlog_empty = False
        try:
            sock, _ = self.sock.accept()
        except (BlockingIOError, InterruptedError):
            self.backlog_empty = True
            return None
        except OSError as error:
            if error.errno in _SHORTAGE:
                self._refuse_with_reserve_fd()
            return None  # other errors mean that the client has hung up already
        try:
            sock.setblocking(False)
            peer = peer_of(sock)
            offered = self._access.services_for(peer)
            if clients >= self._limits.max_clients:
                _refuse(sock, _NO_ROOM)
                return None
            process = processes.watch(sock, peer) if peer.pid else processes.unwatched()
        except PeerRefusedError as error:
            _log.warning("refused a connection: %s", error)
            _refuse(sock, Refused(PEER, str(error)))
            return None
        except ProcessLookupError:
            sock.close()
            return None
        except PidfdUnavailableError as error:
            # `start` has checked this; a filter can be installed later.
            _log.error("refused a connection: %s", error)
            _refuse(sock, Refused(INTERNAL, str(error)))
            return None
        except OSError:
            self._log_shortage_once()
            _refuse(sock, _NO_DESCRIPTORS)
            return None
        handshake = ServerHandshake(offered, tokens=self._access.tokens)
        return ServerConnection(sock, peer, process, handshake, self._limits, now)

    def renew_listener(self) -> socket.socket | None:
        """Listen anew if the socket file is gone, as after a logout that removed its folder.

        Returns:
            The old socket, to be closed by the caller; None if the file is there, or if it cannot
            be made yet, which is logged once.
        """
        listener = self._listener
        if not isinstance(listener, UnixListener) or listener.is_there():
            return None
        try:
            self._listener = listener.listen_again()
        except (AddressError, AddressInUseError) as error:
            if not self._loss_logged:
                self._loss_logged = True
                _log.error(
                    "the socket %s was removed, so that no client finds this server, and it cannot "
                    "be made again yet: %s",
                    listener.path,
                    error,
                )
            return None
        self._loss_logged = False
        _log.warning(
            "the socket %s was removed; clients find this server at %s now",
            listener.path,
            self._listener.path,
        )
        return listener.sock

    def resume(self) -> bool:
        """Try to leave `suspended`. Return True if clients can be accepted again."""
        self._reserve_fd = _open_reserve_fd()
        self.suspended = self._reserve_fd < 0
        return not self.suspended

    def close(self) -> None:
        """Remove the socket file and stop listening."""
        self._listener.close()
        self._close_reserve_fd()

    def close_in_child(self) -> None:
        """Close the descriptors, and leave the socket file to the parent, which serves on."""
        self.sock.close()
        self._close_reserve_fd()

    def _refuse_with_reserve_fd(self) -> None:
        self._log_shortage_once()
        self._close_reserve_fd()
        with contextlib.suppress(OSError):
            sock, _ = self.sock.accept()
            sock.setblocking(False)
            _refuse(sock, _NO_DESCRIPTORS)
        self._reserve_fd = _open_reserve_fd()
        self.suspended = self._reserve_fd < 0

    def _log_shortage_once(self) -> None:
        if not self._shortage_logged:
            self._shortage_logged = True
            _log.warning(
                "no file descriptor is left for new clients (RLIMIT_NOFILE is %d): they are "
                "refused until some are free (logged once)",
                resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )

    def _close_reserve_fd(self) -> None:
        fd, self._reserve_fd = self._reserve_fd, -1
        if fd >= 0:
            os.close(fd)


def _open_reserve_fd() -> int:
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _refuse(sock: socket.socket, refused: Refused) -> None:
    with sock, contextlib.suppress(OSError):
        sock.send(ServerHandshake(()).refuse(refused), socket.MSG_NOSIGNAL)
