"""The host and the network namespace of a process: what decides which addresses mean the same.

`127.0.0.1` is another machine's or another container's own address, so a client takes it for the
server's only where both see the same loopback interface. The kernel tells: a boot id (one for all
containers of a host, and for the copies of a snapshot of a virtual machine) and a number of the
network namespace.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["HostFacts", "own_addresses", "this_host"]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NETWORK_NAMESPACE = "/proc/thread-self/ns/net"
_SO_NETNS_COOKIE = 71  # Linux 5.14; Python's socket module does not define it

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_addr.h>
_NETLINK_ROUTE = 0
_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_ERROR, _NLMSG_DONE = 22, 20, 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_SCOPE_LINK = 253  # valid on one link only; the loopback interface has 254
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # length, type


@dataclass(frozen=True)
class HostFacts:
    """The place of a process, for comparison with another one's.

    Attributes:
        boot_id: the id of the running kernel; empty if it is not known.
        netns: the network namespace; empty if it is not known.
        name: the host's name, for messages and as its first address.
    """

    boot_id: str
    netns: str
    name: str

    def may_share_memory(self, other: HostFacts | None) -> bool:
        """Return False if the other process runs on another kernel. True proves nothing."""
        return other is None or not (self.boot_id and other.boot_id) or self.boot_id == other.boot_id

    def same_network(self, other: HostFacts | None) -> bool:
        """Return True if both processes see the same loopback interface."""
        return (
            other is not None
            and bool(self.boot_id and self.netns)
            and (self.boot_id, self.netns) == (other.boot_id, other.netns)
        )


def this_host() -> HostFacts:
    """Return the facts of this process. They are read anew: a process can change its namespace."""
    import socket

    try:
        with open(_BOOT_ID) as lines:
            boot_id = lines.read().strip()
    except OSError:
        boot_id = ""
    return HostFacts(boot_id, _network_namespace(), socket.gethostname())


def _network_namespace() -> str:
    import socket

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        return f"cookie {int.from_bytes(raw, 'little')}"
    except OSError:  # before Linux 5.14; the inode's number may be used again after its end
        pass
    try:
        return f"inode {os.stat(_NETWORK_NAMESPACE).st_ino}"
    except OSError:
        return ""


def own_addresses(*, reachable: bool = False) -> tuple[str, ...]:
    """Return the IP addresses of this network namespace, IPv4 first.

    Args:
        reachable: leave out those that other hosts cannot use: loopback and link-local ones.

    Returns:
        The addresses as text; none if the kernel does not tell.
    """
    import socket

    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as sock:
            sock.settimeout(1.0)
            sock.sendto(
                _HEADER.pack(_HEADER.size + _ADDRESS.size, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
                + bytes(_ADDRESS.size),
                (0, 0),
            )
            found = list(_replies(sock))
    except (OSError, struct.error):
        return ()
    found = [(family, text) for family, scope, text in found if not reachable or scope < _SCOPE_LINK]
    found.sort(key=lambda one: one[0])  # AF_INET is 2, AF_INET6 is 10
    return tuple(dict.fromkeys(text for _, text in found))


def _replies(sock: object) -> Iterator[tuple[int, int, str]]:
    """Read the answers to a request for addresses: family, scope and text of each."""
    import socket

    assert isinstance(sock, socket.socket)
    while True:
        data = sock.recv(1 << 16)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
                return
            if kind == _RTM_NEWADDR:
                yield from _addresses(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _addresses(data: bytes) -> Iterator[tuple[int, int, str]]:
    import socket

    family, _, _, scope, _ = _ADDRESS.unpack_from(data)
    attributes: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        attributes[kind] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    # On a point-to-point link, IFA_ADDRESS is the address of the other end.
    raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
    if raw is not None and family in (socket.AF_INET, socket.AF_INET6):
        yield family, scope, socket.inet_ntop(family, raw)
