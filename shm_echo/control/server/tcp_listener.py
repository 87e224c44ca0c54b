"""Listens at a TCP port: on the loopback interface, unless other hosts are allowed explicitly.

A TCP socket does not tell which user connects, so every listener of this kind asks its clients for
a token (`tokens`). The connection is not encrypted.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

from shm_echo.control.address import TcpAddress
from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.errors import AddressError, AddressInUseError

__all__ = ["TcpListener", "listen_tcp"]

# A client whose host vanishes is noticed after 60 + 4 * 15 seconds.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass
class TcpListener:
    """A listening socket.

    Attributes:
        sock: the socket.
        address: the address, with the port in use.
    """

    sock: socket.socket
    address: TcpAddress

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()


def listen_tcp(address: TcpAddress, allow_remote: bool) -> TcpListener:
    """Listen at a port.

    Args:
        address: the host and port; port 0 takes one that is free.
        allow_remote: True to accept an address that other hosts can reach.

    Raises:
        AddressInUseError: another process listens at the port.
        AddressError: the host is unknown or not of this machine, or other hosts can reach it and
            `allow_remote` is False.
        DescriptorLimitError: this process may open no more descriptors.
    """
    family, socket_address = _resolve(address)
    if not allow_remote and not _is_loopback(socket_address[0]):
        raise AddressError(
            address.text,
            f"{socket_address[0]} can be reached from other hosts, and nothing is encrypted: use "
            "127.0.0.1, or allow it explicitly (--allow-remote, allow_remote=True)",
        )
    try:
        with FORK_LOCK, contextlib.ExitStack() as undo:
            sock = undo.enter_context(
                socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            )
            # Allows a port whose old connections are in TIME_WAIT, but not one that is in use.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit these options. Requests are short and wait for their
            # answers, so Nagle's algorithm would only delay them.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.bind(socket_address)
            sock.listen(socket.SOMAXCONN)
            undo.pop_all()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(str(address), None) from None
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit_error(f"a socket at {address}") from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise AddressError(address.text, f"cannot listen there: {reason}") from None
    return TcpListener(sock, TcpAddress(address.text, address.host, sock.getsockname()[1]))


def _resolve(address: TcpAddress) -> tuple[int, tuple[str, int]]:
    """Return the family and the socket address of a host and port."""
    try:
        entries = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: the host has an empty label ("..")
        reason = getattr(error, "strerror", None) or str(error)
        raise AddressError(address.text, f"there is no host {address.host}: {reason}") from None
    # "localhost" can be both ::1 and 127.0.0.1. Clients try both, so the server takes IPv4.
    family, _, _, _, socket_address = min(entries, key=lambda entry: entry[0] != socket.AF_INET)
    return family, socket_address  # type: ignore[return-value]


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
