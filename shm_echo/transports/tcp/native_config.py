"""The configuration of a C ingress, and its structures as values of Python."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shm_echo.ring.core import ffi, lib
from shm_echo.transports.tcp.echo_wire import server_hello
from shm_echo.transports.tcp.listener import peer_text

if TYPE_CHECKING:
    from shm_echo.transports.base import Ingress

__all__ = [
    "NativeOptions",
    "address_of",
    "check_errno",
    "config_of",
    "set_for_accepted",
]

_WIRES = {"echo": lib.SHE_WIRE_ECHO, "shm": lib.SHE_WIRE_SHM}


@dataclass(frozen=True)
class NativeOptions:
    """The arguments of a TcpTransport that concern its threads.

    Attributes:
        wire: "echo" or "shm".
        num_readers: threads that read connections.
        ingress_bytes: a bound on the memory of all queues together.
        dead_after: seconds after which a vanished host counts as lost, or None.
    """

    wire: str
    num_readers: int
    ingress_bytes: int
    dead_after: float | None


def config_of(native: NativeOptions, ingress: Ingress) -> tuple[Any, list[Any]]:
    """Return a `she_ingress_config` and the objects that it points to."""
    options = ingress.options
    owners = ffi.new(
        "uint32_t[]", ingress.producers.reserve(native.num_readers + options.num_drainers)
    )
    if native.wire == "echo":
        greeting = server_hello(ingress.spec)
        order: Any = ffi.new("uint32_t[]", ingress.spec.optree_order)
    else:
        greeting, order = b"", ffi.NULL
    hello = ffi.new("uint8_t[]", greeting or b"\0")
    idle, interval, count = keepalive_times(native.dead_after)
    config = ffi.new(
        "she_ingress_config *",
        {
            "num_readers": native.num_readers,
            "num_drainers": options.num_drainers,
            "queue_samples": options.producer_queue_size,
            "wire": _WIRES[native.wire],
            "ingress_bytes": native.ingress_bytes,
            "owners": owners,
            "leaf_order": order,
            "greeting": hello,
            "greeting_bytes": len(greeting),
            "keepalive_idle_s": idle,
            "keepalive_interval_s": interval,
            "keepalive_count": count,
            "user_timeout_ms": int((native.dead_after or 0) * 1000),
            "detailed": int(ingress.ring.config.detailed),
        },
    )
    return config, [owners, order, hello]


def keepalive_times(dead_after: float | None) -> tuple[int, int, int]:
    """Return idle time, interval and count of the probes that notice a vanished host in time.

    After a third of the time without traffic four probes share the rest: 10, 5 and 4 of 30 s.
    """
    if dead_after is None:
        return 0, 0, 0
    idle = max(1, round(dead_after / 3))
    interval = max(1, round((dead_after - idle) / 4))
    return idle, interval, max(1, int((dead_after - idle) / interval))


def set_for_accepted(sock: socket.socket, dead_after: float | None, *, with_tls: bool) -> None:
    """Set the options of the connections that a listening socket accepts, which inherit them.

    The C ingress sets its own. This is for those that Python keeps: control connections, and the
    encrypted side of TLS.

    Args:
        dead_after: seconds after which a peer whose host has vanished is lost; None: never.
        with_tls: True if all of them are encrypted. Then data that no host acknowledges counts,
            too, because the ingress does not see the real socket.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if dead_after is None:
        return
    idle, interval, count = keepalive_times(dead_after)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    if with_tls:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(dead_after * 1000))


def check_errno(error: int) -> None:
    """Raise the OSError of an errno, unless it is 0."""
    if error:
        raise OSError(error, os.strerror(error))


def address_of(event: Any) -> str:
    """Return the address of an event's peer as text."""
    storage = bytes(ffi.buffer(ffi.addressof(event, "peer"))[: event.peer_bytes])
    family = int.from_bytes(storage[:2], sys.byteorder) if storage else socket.AF_UNSPEC
    if family == socket.AF_INET:
        return peer_text(socket.inet_ntop(family, storage[4:8]), _port(storage))
    if family == socket.AF_INET6:
        return peer_text(socket.inet_ntop(family, storage[8:24]), _port(storage))
    return "a local socket"


def _port(storage: bytes) -> int:
    return int.from_bytes(storage[2:4], "big")
