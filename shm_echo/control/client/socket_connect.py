"""Reaching a server: from an address to a connected socket whose other end has been checked.

Waits, as long as it may, for a server that is not up yet: no socket, one that a dead server left,
or one that is being made. Over TCP nothing can be checked: there the server is whoever listens.
What is said over the socket is for ``connection``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time

from shm_echo.control.address import Address, TcpAddress
from shm_echo.control.client.client_stream import ClientStream
from shm_echo.control.descriptors import descriptor_limit
from shm_echo.control.peer import SAME_USER, check_peer, check_user, open_pidfd, peer_of
from shm_echo.errors import (
    HandshakeError,
    PeerRefusedError,
    ProtocolError,
    ServerNotFoundError,
)

__all__ = ["connect_tcp", "connect_unix", "open_stream"]

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def open_stream(address: Address, deadline: float, server_uid: int | None = None) -> ClientStream:
    """Connect, trying again until ``deadline`` (``time.monotonic()``) while nobody listens.

    Args:
        address: where.
        deadline: see above.
        server_uid: another user whose server is trusted, beside this one's.

    Raises:
        ServerNotFoundError: nobody listens there.
        PeerRefusedError: the server is another user's, or lives in another pid namespace.
        ProtocolError: the socket is of a kind that shm-echo does not use.
        DescriptorLimitError: this process may open no more descriptors.
    """
    pause = _FIRST_PAUSE
    while True:
        line = _try(address, server_uid)
        if isinstance(line, ClientStream):
            return line
        left = deadline - time.monotonic()
        if left <= 0:
            raise ServerNotFoundError(address.path, line)
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def connect_unix(
    address: Address, server_uid: int | None, advice: str = SAME_USER
) -> socket.socket:
    """Connect to a server that is there now, and see that it is of this user or of ``server_uid``.

    For those who need not watch its process; it may live in another pid namespace.

    Args:
        address: where.
        server_uid: another user whose server is trusted, beside this one's.
        advice: what to do about another user's server, for the message.

    Raises:
        ServerNotFoundError, PeerRefusedError, ProtocolError, DescriptorLimitError: as for ``dial``.
    """
    sock = _connected(address)
    if isinstance(sock, str):
        raise ServerNotFoundError(address.path, sock)
    try:
        check_user(peer_of(sock), f"the server at {address.path}", server_uid, advice)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_tcp(address: TcpAddress, patience: float) -> socket.socket:
    """Connect to whoever listens at a port, within ``patience`` seconds.

    Raises:
        ServerNotFoundError: nobody does.
        DescriptorLimitError: this process may open no more descriptors.
    """
    try:
        sock = socket.create_connection((address.host, address.port), patience)
    except TimeoutError:
        raise ServerNotFoundError(str(address), f"no answer within {patience:g} s") from None
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit(f"a connection to {address}") from None
        why = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ConnectionRefusedError):
            why += "; start the server first, or give it time to start"
        raise ServerNotFoundError(str(address), why) from None
    # Requests are short, and each waits for its answer: nothing is gained by collecting them.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _try(address: Address, server_uid: int | None) -> ClientStream | str:
    """A line, or why there is none yet."""
    sock = _connected(address)
    if isinstance(sock, str):
        return sock
    try:
        peer = peer_of(sock)
        check_peer(peer, f"the server at {address.path}", server_uid)
        try:
            pidfd = open_pidfd(sock, peer)
        except ProcessLookupError:
            sock.close()
            return f"its server (pid {peer.pid}) has ended"
        except OSError as error:
            raise _shortage_or(error, address) from None
        return ClientStream(sock, peer, pidfd)
    except BaseException:
        sock.close()
        raise


def _connected(address: Address) -> socket.socket | str:
    """A connected socket, or why there is none yet."""
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
    except BaseException:
        sock.close()
        raise
    return sock


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
