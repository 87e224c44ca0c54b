"""Listening TCP sockets: by host name or address, IPv4 and IPv6, one port for all of them."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
from typing import Any

from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.errors import BindError, PortInUseError

__all__ = ["accept", "host_and_port", "is_loopback", "is_wildcard", "open_listeners", "peer_text"]

# As echo's. Accepting is quick, so that a longer queue would only hide a server that is stuck.
_BACKLOG = 128
# A host name with several addresses gets the port that is free at the first one. It may be taken
# at another one, and then the next free port is tried.
_PORTS_TO_TRY = 16
# This machine does not have the address, or not the protocol: the name's other addresses count.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)

# Descriptors that connections leave to the program, at most, and of a low limit one in so many;
# csrc/ingress/ingress_accept.c has the same numbers.
_DESCRIPTORS_LEFT = 64
_DESCRIPTORS_PART = 16

SocketAddress = tuple[Any, ...]


def accept(listener: socket.socket) -> tuple[socket.socket, SocketAddress]:
    """Accept a connection, unless its descriptor were one of the last, which the program keeps.

    Raises:
        OSError: as `socket.accept`; EMFILE, too, if only the last descriptors are free. Then the
            connection stays in the kernel's queue.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest_free = os.dup(listener.fileno())
    os.close(lowest_free)
    left = min(limit // _DESCRIPTORS_PART, _DESCRIPTORS_LEFT)
    if limit != resource.RLIM_INFINITY and lowest_free >= limit - left:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return listener.accept()


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Listen at a port of all addresses of a host. The sockets do not block.

    Args:
        host: a name or an address; "0.0.0.0" is every IPv4 address of this machine, "::" every
            IPv4 and IPv6 address.
        port: 0 takes one that is free.

    Raises:
        PortInUseError: another socket listens at the port.
        BindError: the host is unknown or not of this machine, the port needs privileges, or no
            descriptor is left.
    """
    asked = host_and_port(host, port)
    addresses = _resolve(host, port, asked)
    for attempt in range(_PORTS_TO_TRY if port == 0 and len(addresses) > 1 else 1):
        try:
            return _listen_at_all(addresses, port)
        except OSError as error:
            last_error = error
            if error.errno != errno.EADDRINUSE or attempt == _PORTS_TO_TRY - 1:
                break
    if last_error.errno == errno.EADDRINUSE:
        raise PortInUseError(asked, errno.EADDRINUSE) from None
    raise BindError(asked, _reason(last_error), last_error.errno) from None


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EACCES:
        return f"{text}: ports below 1024 need privileges"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{text}: it is no address of this machine"
    return text


def _resolve(host: str, port: int, asked: str) -> list[tuple[int, SocketAddress]]:
    """Return the families and socket addresses of a host, IPv4 first."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: the host has an empty label ("..")
        reason = getattr(error, "strerror", None) or str(error)
        raise BindError(asked, f"there is no host {host!r}: {reason}") from None
    found = dict.fromkeys((int(family), address) for family, _, _, _, address in entries)
    return sorted(found, key=lambda entry: entry[0] != socket.AF_INET)


def _listen_at_all(addresses: list[tuple[int, SocketAddress]], port: int) -> list[socket.socket]:
    with FORK_LOCK, contextlib.ExitStack() as undo:
        sockets: list[socket.socket] = []
        error: OSError | None = None
        for family, address in addresses:
            at = (address[0], port, *address[2:])
            try:
                sockets.append(undo.enter_context(_listen(family, at)))
            except OSError as failure:
                if failure.errno not in _NOT_HERE:
                    raise
                error = failure
                continue
            port = sockets[-1].getsockname()[1]
        if not sockets:
            assert error is not None
            raise error
        undo.pop_all()
        return sockets


def _listen(family: int, address: SocketAddress) -> socket.socket:
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        # Allows a port whose old connections are in TIME_WAIT, but not one that is in use.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Off for "::", which then takes IPv4 too, whatever the machine's default is.
            only = not is_wildcard(address[0])
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(address)
        sock.listen(_BACKLOG)
        undo.pop_all()
        return sock


def host_and_port(host: str, port: int) -> str:
    """Return an address as text: "127.0.0.1:5000", "[::1]:5000"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_text(host: str, port: int) -> str:
    """Return a peer's address as text; one that came by IPv4 to an IPv6 socket has its own form."""
    return host_and_port(host.removeprefix("::ffff:") if "." in host else host, port)


def is_loopback(sock: socket.socket) -> bool:
    """Return True if only processes of this machine can reach a listening socket."""
    return _ip(sock.getsockname()[0]).is_loopback


def is_wildcard(host: str) -> bool:
    """Return True if an address stands for all addresses of this machine."""
    return _ip(host).is_unspecified


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
