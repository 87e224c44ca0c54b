"""The handshake, without a socket: a connection becomes a session, or a clear error.

The client sends hello with its protocol number, the name of a service, and a token where the
listener asks for one. The server welcomes or refuses it. The protocol number is compared first, and
alone decides whether the two sides are compatible; package versions are for people to read. A
client without a valid token learns nothing else, not even which services there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from shm_echo import __version__
from shm_echo.control.protocol.codec import Codec, Limits
from shm_echo.control.protocol.endpoint import Endpoint
from shm_echo.control.protocol.frames import MAX_FRAME, encode_frame
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
    HandshakeTimeoutError,
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
    "TOKEN",
    "VERSION",
    "ClientHandshake",
    "ServerHandshake",
    "TokenVerifier",
    "check_welcome",
]

# The refusal codes of the control plane itself. Services add their own.
VERSION = "version"
SERVICE = "service"
PEER = "peer"
TOKEN = "token"
FULL = "full"
INTERNAL = "internal"

# A hello has some 700 bytes at most, of which the token may be 512; later versions may add fields.
# Before the hello a client is unknown, and may not make the server hold a frame of 1 MiB.
_MAX_HELLO = 4096

_NO_TOKEN = (
    "it wants a token, and none was given: set MECHESTIM_TOKEN, or set MECHESTIM_TOKEN_FILE to the "
    "path of a file that holds it"
)
_WRONG_TOKEN = "it does not know the token that was given (MECHESTIM_TOKEN, MECHESTIM_TOKEN_FILE)"


class TokenVerifier(Protocol):
    """The tokens that a server accepts, see `server.tokens`."""

    def holder_of(self, token: str) -> str | None:
        """Return the name of the token's holder; None if the token is unknown."""


class ClientHandshake:
    """The client's side: bytes in, a Welcome out.

    Every other outcome is a HandshakeError that names the address.

    Attributes:
        address: the server's address, for error messages.
        endpoint: serves the session after the welcome, with any bytes that came after it.
        answered: True once the server has sent bytes.
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
        """Return the bytes to send first."""
        return self.endpoint.send(self._hello)

    def receive(self, data: bytes) -> Welcome | None:
        """Take bytes from the server; empty bytes mean that it closed the connection.

        Returns:
            The welcome, or None while it is incomplete.

        Raises:
            HandshakeError: there will be no welcome; the subclass says why.
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
        assert isinstance(message, Refused)  # the transition table admits no other kind
        raise self._refusal_error(message)

    def timeout_error(self, seconds: float, pid: int | None = None) -> HandshakeTimeoutError:
        """Return the error for a server that accepts connections and does not answer."""
        heard = "only part of an answer came" if self.answered else "no answer came"
        return HandshakeTimeoutError(self.address, seconds, pid, heard)

    def _refusal_error(self, refused: Refused) -> HandshakeError:
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


def check_welcome(info: Mapping[str, Any]) -> None:
    """Check that clients could be welcomed with `info`, before any server is made.

    Raises:
        ValueError: the welcome would exceed a limit of messages; the text has both numbers.
    """
    welcome = Welcome(PROTOCOL, __version__, 2**63 - 1, {"max_frame": MAX_FRAME}, dict(info))
    message = welcome.to_dict()
    items, limit = _count_items(message), Limits().max_nodes
    if items > limit:
        raise ValueError(f"a message of {items:,} items is above the limit of {limit:,} items")
    encode_frame(Codec().encode(message))


def _count_items(value: Any) -> int:
    """Return the number of items that the codec counts: containers, keys and values."""
    if isinstance(value, Mapping):
        return 1 + len(value) + sum(map(_count_items, value.values()))
    if isinstance(value, (list, tuple)):
        return 1 + sum(map(_count_items, value))
    return 1


class ServerHandshake:
    """The server's side: bytes in, and out comes a Hello to welcome or a Refused to answer with.

    Args:
        offered: the names of the services that this client may open.
        protocol: the protocol number of this server.
        package: the package version of this server.
        tokens: the tokens of which the client has to show one; None if it needs none.

    Attributes:
        endpoint: serves the session after the welcome, with any bytes that came after the hello.
        holder: the name of the token's holder, once the client has shown a valid token.
    """

    def __init__(
        self,
        offered: Collection[str],
        protocol: int = PROTOCOL,
        package: str = __version__,
        tokens: TokenVerifier | None = None,
    ) -> None:
        self.endpoint = Endpoint(Role.SERVER, max_frame=_MAX_HELLO)
        self.holder: str | None = None
        self._offered = sorted(offered)
        self._protocol = protocol
        self._package = package
        self._tokens = tokens

    def receive(self, data: bytes) -> Hello | Refused | None:
        """Take bytes from the client.

        Returns:
            The Hello to welcome, or the Refused to answer with; None while the hello is incomplete.

        Raises:
            ProtocolError: the client does not speak the control protocol at all.
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
        assert message is None or isinstance(message, Hello)  # the table admits no other kind
        return message

    def welcome(self, session: int, limits: Mapping[str, int], info: Mapping[str, Any]) -> bytes:
        """Return the bytes that welcome the client.

        Raises:
            ValueError: `info` cannot be sent.
        """
        data = self.endpoint.send(
            Welcome(self._protocol, self._package, session, dict(limits), dict(info))
        )
        self.endpoint.max_receive = MAX_FRAME
        return data

    def refuse(self, refused: Refused) -> bytes:
        """Return the bytes that refuse the client."""
        return self.endpoint.send(refused)
