"""Reaching a server: from an address to a connected socket whose other end has been checked.

Waits, as long as it may, for a server that is not up yet: no socket, one that a dead server left,
or one that is being made. What is said over the socket is for ``connection``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time

from shm_echo.control.address import Address
from shm_echo.control.descriptors import descriptor_limit
from shm_echo.control.line import Line
from shm_echo.control.peer import check_peer, open_pidfd, peer_of
from shm_echo.errors import (
    HandshakeError,
    PeerRefusedError,
    ProtocolError,
    ServerNotFoundError,
)

__all__ = ["dial"]

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def dial(address: Address, deadline: float) -> Line:
    """Connect, trying again until ``deadline`` (``time.monotonic()``) while nobody listens.

    Raises:
        ServerNotFoundError: nobody listens there.
        PeerRefusedError: the server is another user's, or lives in another pid namespace.
        ProtocolError: the socket is of a kind that shm-echo does not use.
        DescriptorLimitError: this process may open no more descriptors.
    """
    pause = _FIRST_PAUSE
    while True:
        line = _try(address)
        if isinstance(line, Line):
            return line
        left = deadline - time.monotonic()
        if left <= 0:
            raise ServerNotFoundError(address.path, line)
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _try(address: Address) -> Line | str:
    """A line, or why there is none yet."""
    address.check_folder()
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _shortage_or(error, address) from None
    try:
        try:
            sock.connect(address.path)
        except FileNotFoundError:
            sock.close()
            return "there is no socket; start the server first, or give it time to start"
        except ConnectionRefusedError:
            sock.close()
            return _why_refused(address)
        except BlockingIOError:
            sock.close()
            return "its queue of waiting clients is full"
        except PermissionError:
            raise PeerRefusedError(
                f"{address.path} may not be opened by this process (user {os.geteuid()}): it "
                "belongs to another user"
            ) from None
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:
                raise ProtocolError(
                    f"{address.path} is not served by shm-echo: it is a socket of another kind"
                ) from None
            raise ServerNotFoundError(address.path, error.strerror or str(error)) from None
        peer = peer_of(sock)
        check_peer(peer, f"the server at {address.path}")
        try:
            pidfd = open_pidfd(sock, peer)
        except ProcessLookupError:
            sock.close()
            return f"its server (pid {peer.pid}) has ended"
        except OSError as error:
            raise _shortage_or(error, address) from None
        return Line(sock, peer, pidfd)
    except BaseException:
        sock.close()
        raise


def _why_refused(address: Address) -> str:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(address.path).st_mode)
    except OSError:
        is_socket = True
    if not is_socket:
        return "that file is not a socket"
    return "its server has ended and left the socket behind, or is just starting"


def _shortage_or(error: OSError, address: Address) -> Exception:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return descriptor_limit(f"a connection to {address.path}")
    return HandshakeError(f"cannot connect to {address.path}: {error.strerror or error}")
