"""The exceptions of listening and of connecting; `shm_echo.errors` is their public place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shm_echo.error_base import ShmEchoError

__all__ = [
    "AddressInUseError",
    "BindError",
    "EchoWireError",
    "HandshakeError",
    "HandshakeTimeoutError",
    "OtherServerError",
    "PeerRefusedError",
    "PortInUseError",
    "ProtocolError",
    "ProtocolVersionError",
    "RefusedError",
    "ServerNotFoundError",
    "ServiceUnavailableError",
]

_PUBLIC_PLACE = "shm_echo.errors"  # which tracebacks and pickles name


# ---------------------------------------------------------------- listening


class AddressInUseError(ShmEchoError, OSError):
    """Another live process serves at this address.

    Attributes:
        address: the socket path.
        pid: the process that serves there, or None where it is not known.
    """

    __module__ = _PUBLIC_PLACE

    _fields: tuple[str, ...] = ("address", "pid")

    def __init__(self, address: str, pid: int | None) -> None:
        server = "another process" if pid is None else f"pid {pid}"
        super().__init__(
            f"{address} is already served by {server}: close that server or choose another name"
        )
        self.address = address
        self.pid = pid


class BindError(ShmEchoError, OSError, RuntimeError):
    """A transport could not listen at its address. `errno` has the reason, if the kernel gave one.

    It is an OSError and a RuntimeError: `echo` raises the latter.

    Attributes:
        address: the host and port that were asked for.
    """

    __module__ = _PUBLIC_PLACE

    _fields: tuple[str, ...] = ("address", "errno")

    def __init__(self, address: str, reason: str, errno: int | None = None) -> None:
        # Not super(), which is AddressInUseError's for the class below.
        OSError.__init__(self, f"failed to start transport: cannot listen at {address}: {reason}")
        self.address, self.errno = address, errno


class PortInUseError(BindError, AddressInUseError):
    """Another socket listens at this port."""

    __module__ = _PUBLIC_PLACE

    _fields = ("address", "errno", "pid")

    def __init__(self, address: str, errno: int) -> None:
        BindError.__init__(
            self,
            address,
            "the port is in use: close its server, choose another port, or port=0 for a free one",
            errno,
        )
        self.pid = None


# ---------------------------------------------------------------- connecting


class HandshakeError(ShmEchoError, ConnectionError):
    """Attaching failed. The subclasses give the reason."""

    __module__ = _PUBLIC_PLACE


class ServerNotFoundError(HandshakeError):
    """No server listens at this address.

    Attributes:
        address: the socket path or address that was tried.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("address",)

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(f"no server at {address}: {detail}")
        self.address = address


class OtherServerError(HandshakeError):
    """Another server answers at the address of a connector: not the one that made it.

    Attributes:
        address: the address that answered.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("address",)

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address} is served by another server than the one whose connector() this is, which "
            "was closed or restarted, or lives elsewhere: get a connector from the new server"
        )
        self.address = address


class HandshakeTimeoutError(HandshakeError, TimeoutError):
    """The server is there and does not answer in time: it is stopped or busy.

    Attributes:
        address: the socket path or address of the server.
        pid: the process that listens there, or None where it is not known.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("address", "pid")

    def __init__(
        self, address: str, seconds: float, pid: int | None, heard: str = "no answer came"
    ) -> None:
        super().__init__(
            f"{address}: the server is there{f' (pid {pid})' if pid else ''} and does not answer: "
            f"{heard} within {round(seconds, 2):g} s: it is stopped or busy, such as a learner "
            "that compiles or loads, or it is another program; connect_timeout= gives it more time"
        )
        self.address = address
        self.pid = pid


class ProtocolError(HandshakeError):
    """The peer does not speak the control protocol of shm-echo, or violated it."""

    __module__ = _PUBLIC_PLACE


class EchoWireError(ProtocolError, ValueError):
    """The peer of a TcpClient does not speak echo's wire, or another version of it.

    It is a ValueError too, as in echo.
    """

    __module__ = _PUBLIC_PLACE


class ProtocolVersionError(HandshakeError):
    """Both sides are shm-echo, with control protocols that do not match.

    Attributes:
        ours: the protocol version of this process.
        theirs: the protocol version of the peer.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("ours", "theirs")

    def __init__(self, address: str, ours: int, theirs: int, their_package: str) -> None:
        super().__init__(
            f"{address} speaks control protocol {theirs} (shm-echo {their_package}), this process "
            f"speaks {ours}: install the same shm-echo on both sides"
        )
        self.ours = ours
        self.theirs = theirs


class ServiceUnavailableError(HandshakeError):
    """The server does not offer the requested service at this address.

    Attributes:
        service: the service that was requested.
        offered: the services that the server offers at this address.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("service", "offered")

    def __init__(self, address: str, service: str, offered: Sequence[str]) -> None:
        names = ", ".join(repr(name) for name in offered) or "none"
        super().__init__(f"{address} offers no service {service!r} (it offers {names})")
        self.service = service
        self.offered = tuple(offered)


class RefusedError(HandshakeError):
    """The server rejected this client, for a reason that its message gives.

    Attributes:
        code: the reason, as a word for programs.
        fields: the facts of the message.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("code", "fields")

    def __init__(self, address: str, code: str, message: str, fields: Mapping[str, Any]) -> None:
        super().__init__(f"{address} refused this client: {message}")
        self.code = code
        self.fields = dict(fields)


class PeerRefusedError(HandshakeError):
    """The process at the other end is not trusted (another user, another pid namespace)."""

    __module__ = _PUBLIC_PLACE
