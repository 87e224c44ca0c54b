"""Connects to a server: from an address to a connected socket whose other end has been checked.

Waits up to a deadline for a server that is not up yet: there is no socket, or a dead server left
it, or a server has just created it. Over TCP the other end cannot be checked: the process that
listens at the port is taken for the server. `client_connection` does the handshake.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time

from shm_echo.control.address import Address, TcpAddress
from shm_echo.control.client.client_stream import ClientStream
from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.peer import SAME_USER, check_peer, check_user, open_pidfd, peer_of
from shm_echo.errors import (
    AddressError,
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    PidfdUnavailableError,
    ProtocolError,
    ServerNotFoundError,
)

__all__ = ["connect_tcp", "connect_unix", "open_stream"]

# Seconds between two attempts, doubled each time: a server that starts at the same time is found at
# once, and a long wait costs ten attempts a second.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1

_NO_SOCKET = "there is no socket; start the server first, or give it time to start"
_QUEUE_FULL = "its queue of waiting clients is full"


def open_stream(
    address: Address, deadline: float, server_uid: int | None = None, patience: float = 0.0
) -> ClientStream:
    """Connect to a server, trying again until the deadline while none listens.

    Args:
        address: the address of its socket.
        deadline: on the clock of `time.monotonic()`.
        server_uid: another user whose server is trusted, besides this user's.
        patience: seconds to wait for a server that listens and accepts no client, if fewer are left
            until the deadline.

    Raises:
        ServerNotFoundError: no server listens at the address.
        HandshakeTimeoutError: a server listens, and its queue of waiting clients stays full.
        PeerRefusedError: the server belongs to another user, or lives in another pid namespace.
        ProtocolError: the socket is of a kind that shm-echo does not use.
        DescriptorLimitError: this process may open no more descriptors.
        PidfdUnavailableError: the end of the server could not be noticed on this kernel.
    """
    pause = _FIRST_PAUSE
    began = time.monotonic()
    reached = False
    while True:
        outcome = _attempt(address, server_uid)
        if isinstance(outcome, ClientStream):
            return outcome
        now = time.monotonic()
        busy = outcome.startswith(_QUEUE_FULL)
        if busy and not reached:
            reached, deadline = True, max(deadline, now + patience)
        remaining = deadline - now
        if remaining <= 0 and busy:
            heard = f"{outcome}, and no place came"
            raise HandshakeTimeoutError(str(address), now - began, None, heard)
        if remaining <= 0:
            raise ServerNotFoundError(str(address), outcome)
        time.sleep(min(pause, remaining))
        pause = min(2 * pause, _LONGEST_PAUSE)


def connect_unix(
    address: Address, server_uid: int | None, advice: str = SAME_USER
) -> socket.socket:
    """Connect at once to a server of this user or of `server_uid`.

    For callers that do not watch the server's process, which may live in another pid namespace.

    Args:
        address: the address of its socket.
        server_uid: another user whose server is trusted, besides this user's.
        advice: the end of the message about another user's server.

    Raises:
        ServerNotFoundError: no server listens at the address.
        PeerRefusedError: the server belongs to another user.
        ProtocolError: the socket is of a kind that shm-echo does not use.
        DescriptorLimitError: this process may open no more descriptors.
    """
    sock = _connect_socket(address)
    if isinstance(sock, str):
        raise ServerNotFoundError(str(address), sock)
    try:
        check_user(peer_of(sock), f"the server at {sock.getpeername()}", server_uid, advice)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_tcp(address: TcpAddress, timeout: float) -> socket.socket:
    """Connect to a TCP port within `timeout` seconds.

    Raises:
        ServerNotFoundError: the host is unknown, or no process listens at the port.
        DescriptorLimitError: this process may open no more descriptors.
    """
    try:
        sock = socket.create_connection((address.host, address.port), timeout)
    except TimeoutError:
        raise ServerNotFoundError(str(address), f"no answer within {timeout:g} s") from None
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit_error(f"a connection to {address}") from None
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ConnectionRefusedError):
            reason += "; start the server first, or give it time to start"
        raise ServerNotFoundError(str(address), reason) from None
    # Requests are short and wait for their answers, so Nagle's algorithm would only delay them.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _attempt(address: Address, server_uid: int | None) -> ClientStream | str:
    """Try once. Return a stream, or the reason why there is none yet."""
    sock = _connect_socket(address)
    if isinstance(sock, str):
        return sock
    try:
        peer = peer_of(sock)
        check_peer(peer, f"the server at {sock.getpeername()}", server_uid)
        try:
            pidfd = open_pidfd(sock, peer)
        except ProcessLookupError:
            sock.close()
            return f"its server (pid {peer.pid}) has ended"
        except PidfdUnavailableError:
            raise
        except OSError as error:
            raise _connect_error(error, address) from None
        return ClientStream(sock, peer, pidfd)
    except BaseException:
        sock.close()
        raise


def _connect_socket(address: Address) -> socket.socket | str:
    """Try each path of an address. Return a socket, or the reason why there is none yet.

    Raises:
        AddressError: no folder in which a server could serve is safe.
    """
    reason = _NO_SOCKET
    unsafe: AddressError | None = None
    servable = False
    for candidate in address.candidates:
        if not candidate.has_place():
            continue
        try:
            candidate.check_folder()
        except AddressError as error:
            unsafe = unsafe or error
            continue
        servable = True
        outcome = _connect_to(candidate)
        if not isinstance(outcome, str):
            return outcome
        if reason == _NO_SOCKET:
            reason = outcome
    if unsafe is None:
        return reason
    if not servable:
        raise unsafe
    return f"{reason} ({unsafe})"


def _connect_to(address: Address) -> socket.socket | str:
    """Try one path. Return a connected socket, or the reason why there is none yet."""
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _connect_error(error, address) from None
    try:
        try:
            sock.connect(address.path)
        except FileNotFoundError:
            sock.close()
            return _NO_SOCKET
        except ConnectionRefusedError:
            sock.close()
            return _refused_reason(address)
        except BlockingIOError:
            sock.close()
            return _QUEUE_FULL
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


def _refused_reason(address: Address) -> str:
    try:
        is_socket = stat.S_ISSOCK(os.lstat(address.path).st_mode)
    except OSError:
        is_socket = True
    if not is_socket:
        return "that file is not a socket"
    return "its server has ended and left the socket behind, or is just starting"


def _connect_error(error: OSError, address: Address) -> Exception:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return descriptor_limit_error(f"a connection to {address.path}")
    return HandshakeError(f"cannot connect to {address.path}: {error.strerror or error}")
