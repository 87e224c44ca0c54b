"""The TCP addresses of a server, as other processes use them.

The address that a socket is bound to is rarely the one to connect to: a wildcard is none, and a
loopback address means something else on each host. An entrance keeps the two apart.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["TcpEntrance", "check_advertise", "describe_address", "is_wildcard", "tcp_entrance"]

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
# Names that each host gives to itself.
_OWN_NAMES = ("", "localhost", "localhost.localdomain", "localhost6", "ip6-localhost")


@dataclass(frozen=True)
class TcpEntrance:
    """One TCP port of a server.

    Attributes:
        bound: the address that the port is bound to, as the user gave it.
        addresses: host and port of each address for other hosts, in the order in which they are
            tried; empty if the port is bound to a loopback address.
        loopback: host and port for processes that see the server's own loopback interface; None if
            the port is not bound to it.
        wire: the wire that is spoken there.
        tls: True if connections are encrypted.
        advertised: True if the user gave the addresses: they lead to the server from anywhere, so
            that a loopback address among them is the end of a tunnel.
    """

    bound: str
    addresses: tuple[tuple[str, int], ...] = ()
    loopback: tuple[str, int] | None = None
    wire: Literal["echo", "shm"] = "echo"
    tls: bool = False
    advertised: bool = False

    def __str__(self) -> str:
        first = self.addresses[0] if self.addresses else self.loopback
        return self.bound if first is None else describe_address(*first)

    @property
    def wildcard(self) -> bool:
        """Return True if the port is bound to all addresses of the host."""
        return is_wildcard(self.bound)


def describe_address(host: str, port: int) -> str:
    """Return host and port as text: "learner:50051", "[fd00::1]:50051"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_advertise(advertise: Any) -> tuple[tuple[str, int | None], ...]:
    """Return the hosts of the argument `advertise` of a transport, and the ports that it names.

    Args:
        advertise: None, or one or several texts "HOST", "HOST:PORT", "V6" or "[V6]:PORT".

    Raises:
        TypeError: it is neither text nor a sequence of texts.
        ValueError: a text is none of these forms, or the sequence is empty.

    Example:
        >>> check_advertise(["gpu1.example", "[fd00::1]:6000"])
        (('gpu1.example', None), ('fd00::1', 6000))
    """
    if advertise is None:
        return ()
    texts = [advertise] if isinstance(advertise, str) else advertise
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"advertise must be text, a list of texts or None, not {advertise!r}")
    if not texts:
        raise ValueError("advertise is an empty list: give None for the host's own addresses")
    return tuple(map(_parse_advertised, texts))


def _parse_advertised(text: str) -> tuple[str, int | None]:
    host, port = text, None
    match = re.fullmatch(r"\[(.+)\](?::(.*))?|([^:]*):([^:]*)", text)
    if match is not None:
        host = match[1] if match[1] is not None else match[3]
        port = match[2] if match[1] is not None else match[4]
    if port is not None and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(f"advertise: port {port!r} of {text!r} is not a number from 1 to 65535")
    address = _ip(host)
    if address is None and (":" in host or not _HOST_NAME.fullmatch(host)):
        raise ValueError(
            f"advertise must be HOST, HOST:PORT or [V6]:PORT, such as 'gpu1.example', not {text!r}"
        )
    if address is not None and address.is_unspecified:
        raise ValueError(f"advertise: no client can connect to {text!r}: name one address")
    return host, None if port is None else int(port)


def tcp_entrance(
    host: str,
    port: int,
    advertise: Any = None,
    *,
    wire: Literal["echo", "shm"] = "echo",
    tls: bool = False,
    host_name: str = "",
    own: Sequence[str] = (),
    resolved: Sequence[str] = (),
) -> TcpEntrance:
    """Return the entrance of a port that is bound to `host`.

    Args:
        host: the address that the port is bound to, as the user gave it.
        port: the port.
        advertise: the addresses for other hosts, as for `check_advertise`.
        wire: the wire that is spoken there.
        tls: True if connections are encrypted.
        host_name: the name of the host.
        own: the addresses of the host that other hosts can use.
        resolved: the addresses that `host` stands for, if it is a name.

    Raises:
        TypeError, ValueError: `advertise` is malformed.
    """
    loopback = _loopback_of(host, port, resolved)
    given = check_advertise(advertise)
    if given:
        addresses = tuple((name, port if other is None else other) for name, other in given)
        return TcpEntrance(host, addresses, loopback, wire, tls, advertised=True)
    if loopback is None:
        return TcpEntrance(host, ((host, port),), None, wire, tls)
    hosts: list[str] = []
    if is_wildcard(host):
        hosts += [host_name] if host_name.lower() not in _OWN_NAMES else []
        hosts += [one for one in own if ":" in host or ":" not in one]
    return TcpEntrance(host, tuple((one, port) for one in hosts), loopback, wire, tls)


def is_wildcard(host: str) -> bool:
    """Return True if binding to `host` means all addresses."""
    address = _ip(host)
    return host == "" or (address is not None and address.is_unspecified)


def _loopback_of(host: str, port: int, resolved: Sequence[str]) -> tuple[str, int] | None:
    """Return the address by which the port is reached in the server's own network namespace."""
    if is_wildcard(host):
        return ("::1" if ":" in host else "127.0.0.1", port)
    address = _ip(host)
    if address is not None:
        return (host, port) if address.is_loopback else None
    found = [one for one in map(_ip, resolved) if one is not None]
    if host.lower() in _OWN_NAMES or (found and all(one.is_loopback for one in found)):
        return (host, port)
    return None


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
