"""TCP: listening, and reaching who listens. Loopback, unless the server was told otherwise.

Nothing here says who the other end is: that takes a token (``tokens``), which every listener of
this kind asks for. What crosses is not encrypted.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

from shm_echo.control.address import TcpAddress
from shm_echo.control.descriptors import descriptor_limit
from shm_echo.control.fork_safety import FORK_LOCK
from shm_echo.errors import AddressError, AddressInUseError

__all__ = ["TcpListener", "listen_tcp"]

# A client whose host is gone without a word is noticed after about two minutes.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))


@dataclass
class TcpListener:
    """A listening socket.

    Attributes:
        sock: the socket.
        address: with the port that it has got.
    """

    sock: socket.socket
    address: TcpAddress

    def close(self) -> None:
        """Stop listening."""
        self.sock.close()


def listen_tcp(address: TcpAddress, allow_remote: bool) -> TcpListener:
    """Listen at a port.

    Args:
        address: where; port 0 takes one that is free.
        allow_remote: whether other hosts may reach it.

    Raises:
        AddressInUseError: somebody listens there.
        AddressError: there is no such place here, or it is not on the loopback interface and was
            not to be anything else.
    """
    family, where = _resolved(address)
    if not allow_remote and not _is_loopback(where[0]):
        raise AddressError(
            address.text,
            f"{where[0]} can be reached from other hosts, and what crosses is not encrypted: use "
            "127.0.0.1, or say that this is meant (--allow-remote, allow_remote=True)",
        )
    try:
        with FORK_LOCK, contextlib.ExitStack() as undo:
            sock = undo.enter_context(
                socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            )
            # A port whose last connections are still being forgotten; not one that is in use.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted inherits these.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.bind(where)
            sock.listen(socket.SOMAXCONN)
            undo.pop_all()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(str(address), None) from None
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit(f"a socket at {address}") from None
        why = os.strerror(error.errno) if error.errno else str(error)
        raise AddressError(address.text, f"cannot listen there: {why}") from None
    return TcpListener(sock, TcpAddress(address.text, address.host, sock.getsockname()[1]))


def _resolved(address: TcpAddress) -> tuple[int, tuple[str, int]]:
    """Family and socket address of the place that the text names."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:  # the latter: of two dots side by side
        why = getattr(error, "strerror", None) or str(error)
        raise AddressError(address.text, f"there is no host {address.host}: {why}") from None
    # "localhost" can be both ::1 and 127.0.0.1; clients try both, and servers write the latter.
    family, _, _, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, where  # type: ignore[return-value]


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback
