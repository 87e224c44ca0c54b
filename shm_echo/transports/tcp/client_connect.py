"""The way of a TcpClient to its server: name, connection, the options of the socket, first bytes.

All of it happens within one time-out. The first four bytes of the server say which wire it speaks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
import time
from typing import Any, NamedTuple

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.errors import HandshakeTimeoutError, ProtocolError, ServerNotFoundError
from shm_echo.transports.client_advice import advice_for_unknown_host

__all__ = [
    "Dialed",
    "Target",
    "connect",
    "is_loopback",
    "may_coalesce",
    "read_exactly",
    "refuse_a_greeting",
]

# Seconds that a name, a connection and a handshake have at least, whatever connect_timeout is.
LEAST_ATTEMPT = 1.0
# Seconds between two attempts to reach a server that is not up yet: the first pause, and the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.5
# A reason of a refused connection that goes away when the server starts.
_NOT_UP_YET = (errno.ECONNREFUSED, errno.ECONNRESET)
# The kernel's default may pace what goes through the loopback interface (bbr does).
_FOR_LOOPBACK = (b"cubic", b"reno")
# Probes of a silent connection until it counts as lost. The first one comes after a third of
# dead_after, and they share the rest.
_PROBES = 4
# Seconds, besides the way there and back, in which a busy server's greeting comes, and which each
# connection of TLS is later therefore.
_GREETING_WAIT = 0.05
# Bytes of a sample from which a packet of its own costs little beside the copies.
_MOST_TO_COALESCE = 1024
# The place of tcpi_rtt, in microseconds, in the kernel's struct tcp_info.
_RTT_OFFSET = 68


class Target(NamedTuple):
    """Where a client connects to, and how long it may take.

    Attributes:
        host, port: a name or an address, and a port.
        connect_timeout: seconds for everything up to the end of the handshake.
        dial_timeout: seconds for the name and the connection, in one attempt; None tries again
            until `connect_timeout` has passed.
        dead_after: seconds after which a silent host counts as gone.
    """

    host: str
    port: int
    connect_timeout: float
    dial_timeout: float | None
    dead_after: float

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dialed:
    """A socket on its way to be a connection: a forked child closes its copy.

    Attributes:
        sock: the socket. It does not block.
        deadline: the moment on the monotonic clock by which the handshake has to be done.
    """

    def __init__(self, sock: socket.socket, deadline: float = 0.0) -> None:
        self.sock = sock
        self.deadline = deadline
        register_at_fork(self)

    def after_fork_in_child(self) -> None:
        """Close the copy of the socket, which keeps the connection open otherwise."""
        self.sock.close()

    def __enter__(self) -> Dialed:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def connect(target: Target) -> Dialed:
    """Connect to a port, trying again while the server is not up.

    Raises:
        ServerNotFoundError: the name is unknown, or no process listens at the port in time.
        DescriptorLimitError: this process may open no more descriptors.
    """
    began = time.monotonic()
    once = target.dial_timeout is not None
    limit = target.connect_timeout if target.dial_timeout is None else target.dial_timeout
    end, pause = began + limit, _FIRST_PAUSE
    while True:
        dialed = _dial(target, end if once else max(end, time.monotonic() + LEAST_ATTEMPT))
        if isinstance(dialed, Dialed):
            break
        if once or dialed.errno not in _NOT_UP_YET or time.monotonic() + pause >= end:
            raise ServerNotFoundError(str(target), _reason(dialed)) from None
        time.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)
    now = time.monotonic()
    rest = began + target.connect_timeout - now if not once else target.connect_timeout
    dialed.deadline = now + max(rest, LEAST_ATTEMPT)
    try:
        _set_options(dialed.sock, target.dead_after)
    except OSError:
        pass  # the peer has gone already: the handshake says so
    except BaseException:
        dialed.sock.close()
        raise
    return dialed


def _dial(target: Target, end: float) -> Dialed | OSError:
    """Try each address of the host once; return the connection, or the last error."""
    failure = OSError("the name has no address")
    addresses = _resolve(target, end)
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        # A later address has its share, in case this one swallows what is sent to it.
        share = max(0.0, end - time.monotonic()) / min(left, 2)
        try:
            return _dial_address(family, address, share)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise descriptor_limit_error(f"a connection to {target}") from None
            failure = error
    return failure


def _reason(failure: OSError) -> str:
    if isinstance(failure, TimeoutError):
        return "no answer in time: a firewall drops the packets, or the machine is off"
    reason = failure.strerror or str(failure)
    if failure.errno == errno.ECONNREFUSED:
        reason += "; start the server first, or give it time to start (connect_timeout=)"
    return reason


def _resolve(target: Target, end: float) -> list[tuple[int, Any]]:
    """Return the families and addresses of the host, in the order to try them."""
    with contextlib.suppress(OSError, UnicodeError):
        return _lookup(target, socket.AI_NUMERICHOST)
    # The resolver has time-outs of its own, and no call of it can be interrupted.
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(_lookup(target, 0))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="shm-echo-resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    if not found:
        raise ServerNotFoundError(str(target), "the name was not resolved in time")
    if isinstance(found[0], Exception):
        reason = getattr(found[0], "strerror", None) or str(found[0])
        advice = advice_for_unknown_host(target.host)
        raise ServerNotFoundError(
            str(target), f"there is no host {target.host!r}: {reason}{advice}"
        )
    addresses: list[tuple[int, Any]] = found[0]
    return addresses


def _lookup(target: Target, flags: int) -> list[tuple[int, Any]]:
    entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in entries))


def _dial_address(family: int, address: Any, seconds: float) -> Dialed:
    with FORK_LOCK:
        dialed = Dialed(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    sock = dialed.sock
    try:
        if is_loopback(address[0]):
            _leave_pacing(sock)
        number = sock.connect_ex(address)
        if number in (errno.EINPROGRESS, errno.EINTR):
            if not _ready(sock, select.POLLOUT, time.monotonic() + seconds):
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if sock.getsockname() == sock.getpeername():
            # A port of the range for clients, where nobody listens: TCP connects it to itself.
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return dialed


def refuse_a_greeting(dialed: Dialed, peer: str) -> None:
    """Refuse, before TLS begins, a server that speaks first: with TLS the client does.

    On echo's wire all bytes are samples: a server would store those by which TLS begins. One that
    greets later than this waits is not found out.

    Args:
        dialed: the connection.
        peer: the server's address, for messages.

    Raises:
        ProtocolError: bytes have come.
    """
    from shm_echo.transports.tcp.tls_context import no_tls_text  # imports ssl

    end = min(dialed.deadline, time.monotonic() + _GREETING_WAIT + 2 * _round_trip(dialed.sock))
    if not _ready(dialed.sock, select.POLLIN, end):
        return
    try:
        greeting = dialed.sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return  # the handshake of TLS meets it again
    if greeting:
        raise ProtocolError(no_tls_text(peer))


def _round_trip(sock: socket.socket) -> float:
    """Return the kernel's estimate of the time to the peer and back, in seconds."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
    return int.from_bytes(info[_RTT_OFFSET:], sys.byteorder) / 1e6


def is_loopback(host: str) -> bool:
    """Return True if an address, as text, is one by which a host reaches itself."""
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")


def may_coalesce(sock: socket.socket, sample_bytes: int) -> bool:
    """Return True if samples may be put together on their way, see csrc/python/tcp_stream.c."""
    try:
        return sample_bytes <= _MOST_TO_COALESCE and is_loopback(sock.getpeername()[0])
    except OSError:  # the peer has gone already
        return False


def _leave_pacing(sock: socket.socket) -> None:
    for name in _FOR_LOOPBACK:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
            return


def _set_options(sock: socket.socket, dead_after: float) -> None:
    # Samples are written whole, so that Nagle's algorithm would only delay them, but where the
    # peer's answer comes at once: see `may_coalesce`.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = max(1, round(dead_after / 3))
    interval = max(1, round((dead_after - idle) / _PROBES))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def read_exactly(dialed: Dialed, count: int, peer: str, *, advice: str = "") -> bytes:
    """Return the next `count` bytes.

    Args:
        dialed: the connection.
        count: the number of bytes.
        peer: the server's address, for messages.
        advice: the end of the message of a server that says nothing.

    Raises:
        HandshakeTimeoutError: they did not come in time.
        ProtocolError: the peer closed the connection before.
    """
    parts, began = bytearray(), time.monotonic()
    while len(parts) < count:
        try:
            part = dialed.sock.recv(count - len(parts))
        except BlockingIOError:
            if not _ready(dialed.sock, select.POLLIN, dialed.deadline):
                waited = time.monotonic() - began
                raise HandshakeTimeoutError(
                    peer, waited, None, f"no handshake came{advice}"
                ) from None
            continue
        except OSError as error:
            part, reason = b"", error.strerror or str(error)
        else:
            reason = "it closed the connection"
        if not part:
            raise ProtocolError(
                f"{peer}: the handshake ended after {len(parts)} of {count} bytes: {reason}{advice}"
            )
        parts += part
    return bytes(parts)


def _ready(sock: socket.socket, event: int, deadline: float) -> bool:
    """Wait until the socket is ready; False at the deadline."""
    poll = select.poll()
    poll.register(sock, event)
    while True:
        left = deadline - time.monotonic()
        if poll.poll(max(0.0, min(left, 60.0)) * 1000):
            return True
        if left <= 0:
            return False
