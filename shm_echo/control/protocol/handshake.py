"""The handshake, without a socket: how a connection becomes a session, or a clear error.

The client says hello with its protocol number and the service that it wants, and with a token where
one is asked for; the server welcomes or refuses it. Only the protocol number decides whether two
sides fit, and it is looked at first; package versions are told for people to read. Who then shows
no good token learns nothing else than that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from shm_echo import __version__
from shm_echo.control.protocol.endpoint import Endpoint
from shm_echo.control.protocol.frames import MAX_FRAME
from shm_echo.control.protocol.messages import (
    PROTOCOL,
    Hello,
    OtherProtocol,
    Refused,
    Welcome,
)
from shm_echo.control.protocol.states import Role
from shm_echo.errors import (
    HandshakeError,
    PeerRefusedError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from shm_echo.control.server.tokens import Tokens  # of the server alone

__all__ = [
    "FULL",
    "INTERNAL",
    "PEER",
    "SERVICE",
    "TOKEN",
    "VERSION",
    "ClientHandshake",
    "ServerHandshake",
]

# Codes of a refusal that this package gives itself. Services add their own.
VERSION = "version"
SERVICE = "service"
PEER = "peer"
TOKEN = "token"
FULL = "full"
INTERNAL = "internal"

# A hello has some 700 bytes at most; later versions may say more.
_LONGEST_HELLO = 4096

_NO_TOKEN = (
    "it wants a token, and none was given: set MECHESTIM_TOKEN, or set MECHESTIM_TOKEN_FILE to the "
    "path of a file that holds it"
)
_WRONG_TOKEN = "it does not know the token that was given (MECHESTIM_TOKEN, MECHESTIM_TOKEN_FILE)"


class ClientHandshake:
    """Bytes in, a Welcome out; everything else that can come is a HandshakeError with the address.

    Attributes:
        address: the server's, for messages.
        endpoint: carries on after the welcome, with whatever came behind it.
        answered: the server has sent something.
    """

    def __init__(
        self,
        address: str,
        service: str,
        protocol: int = PROTOCOL,
        package: str = __version__,
        token: str = "",
    ) -> None:
        self.endpoint = Endpoint(Role.CLIENT)
        self.address = address
        self._service = service
        self._hello = Hello(protocol, package, service, token)
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

    Args:
        offered: the names of the services that this client may ask for.
        tokens: it has to show one of these.

    Attributes:
        endpoint: carries on after the welcome, with whatever came behind the hello.
        holder: whose token it has shown, once it has.
    """

    def __init__(
        self,
        offered: Collection[str],
        protocol: int = PROTOCOL,
        package: str = __version__,
        tokens: Tokens | None = None,
    ) -> None:
        self.endpoint = Endpoint(Role.SERVER, max_frame=_LONGEST_HELLO)
        self.holder: str | None = None
        self._offered = sorted(offered)
        self._protocol = protocol
        self._package = package
        self._tokens = tokens

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
        if isinstance(message, Hello) and self._tokens is not None:
            self.holder = self._tokens.holder_of(message.token)
            if self.holder is None:
                return Refused(TOKEN, _WRONG_TOKEN if message.token else _NO_TOKEN)
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
        data = self.endpoint.send(
            Welcome(self._protocol, self._package, session, dict(limits), dict(info))
        )
        self.endpoint.max_receive = MAX_FRAME
        return data

    def refuse(self, refused: Refused) -> bytes:
        """The bytes that send the client away."""
        return self.endpoint.send(refused)
