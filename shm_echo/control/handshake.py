"""The handshake, without a socket: how a connection becomes a session, or a clear error.

The client says hello with its protocol number and the service that it wants; the server welcomes
or refuses it. Only the protocol number decides whether two sides fit; package versions are told
for people to read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shm_echo import __version__
from shm_echo.control.endpoint import Endpoint
from shm_echo.control.messages import (
    PROTOCOL,
    Hello,
    OtherProtocol,
    Refused,
    Welcome,
)
from shm_echo.control.states import Role
from shm_echo.errors import (
    HandshakeError,
    PeerRefusedError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServiceUnavailableError,
)

__all__ = [
    "FULL",
    "INTERNAL",
    "PEER",
    "SERVICE",
    "VERSION",
    "ClientHandshake",
    "ServerHandshake",
]

# Codes of a refusal that this package gives itself. Services add their own.
VERSION = "version"
SERVICE = "service"
PEER = "peer"
FULL = "full"
INTERNAL = "internal"


class ClientHandshake:
    """Bytes in, a Welcome out; everything else that can come is a HandshakeError with the address.

    Attributes:
        address: the server's, for messages.
        endpoint: carries on after the welcome, with whatever came behind it.
        answered: the server has sent something.
    """

    def __init__(
        self, address: str, service: str, protocol: int = PROTOCOL, package: str = __version__
    ) -> None:
        self.endpoint = Endpoint(Role.CLIENT)
        self.address = address
        self._service = service
        self._hello = Hello(protocol, package, service)
        self.answered = False

    def hello(self) -> bytes:
        """The bytes to send first."""
        return self.endpoint.send(self._hello)

    def receive(self, data: bytes) -> Welcome | None:
        """Take what the server sent; empty bytes mean that it closed the connection.

        Returns:
            The welcome, or None while it is not complete.

        Raises:
            HandshakeError: the subclass says why there will be no welcome.
        """
        if not data:
            raise ProtocolError(
                f"{self.address} is not served by shm-echo, or its server is shutting down: the "
                "connection was closed during the handshake"
            )
        self.answered = True
        try:
            self.endpoint.feed(data)
            message = self.endpoint.next_message()
        except ProtocolError as error:
            raise ProtocolError(
                f"{self.address} does not speak the shm-echo control protocol: {error}"
            ) from None
        if message is None or isinstance(message, Welcome):
            if message is not None:
                self.endpoint.max_send = message.limits.get("max_frame", self.endpoint.max_send)
            return message
        if isinstance(message, OtherProtocol):
            raise ProtocolVersionError(
                self.address, self._hello.protocol, message.protocol, message.package
            )
        assert isinstance(message, Refused)  # all that the table of states has left
        raise self._refusal(message)

    def timed_out(self, seconds: float) -> ProtocolError:
        """The error for a server that takes connections and does not answer."""
        state = "only part of an answer" if self.answered else "no answer"
        return ProtocolError(
            f"{self.address} gave {state} within {seconds:g} s: it is not served by shm-echo, or "
            "its server is stopped or overloaded"
        )

    def _refusal(self, refused: Refused) -> HandshakeError:
        fields = refused.fields
        if refused.code == VERSION and type(fields.get("protocol")) is int:
            package = fields.get("package")
            return ProtocolVersionError(
                self.address,
                self._hello.protocol,
                fields["protocol"],
                package if isinstance(package, str) else "of an unknown version",
            )
        if refused.code == SERVICE and isinstance(fields.get("offered"), list):
            offered = [str(name) for name in fields["offered"]]
            return ServiceUnavailableError(self.address, self._service, offered)
        if refused.code == PEER:
            return PeerRefusedError(f"{self.address} refused this process: {refused.message}")
        return RefusedError(self.address, refused.code, refused.message, fields)


class ServerHandshake:
    """Bytes in; a Hello that can be welcomed out, or the Refused that answers it.

    Attributes:
        endpoint: carries on after the welcome, with whatever came behind the hello.
    """

    def __init__(
        self, offered: Collection[str], protocol: int = PROTOCOL, package: str = __version__
    ) -> None:
        self.endpoint = Endpoint(Role.SERVER)
        self._offered = sorted(offered)
        self._protocol = protocol
        self._package = package

    def receive(self, data: bytes) -> Hello | Refused | None:
        """Take what the client sent.

        Returns:
            None while the hello is not complete.

        Raises:
            ProtocolError: the client does not speak this protocol at all.
        """
        self.endpoint.feed(data)
        message = self.endpoint.next_message()
        if isinstance(message, OtherProtocol):
            return Refused(
                VERSION,
                f"this server speaks control protocol {self._protocol}",
                {"protocol": self._protocol, "package": self._package},
            )
        if isinstance(message, Hello) and message.service not in self._offered:
            return Refused(
                SERVICE, "this server does not offer that service", {"offered": self._offered}
            )
        assert message is None or isinstance(message, Hello)  # the table of states lets no other by
        return message

    def welcome(self, session: int, limits: Mapping[str, int], info: Mapping[str, Any]) -> bytes:
        """The bytes that take the client in.

        Raises:
            ValueError: ``info`` cannot be sent.
        """
        return self.endpoint.send(
            Welcome(self._protocol, self._package, session, dict(limits), dict(info))
        )

    def refuse(self, refused: Refused) -> bytes:
        """The bytes that send the client away."""
        return self.endpoint.send(refused)
