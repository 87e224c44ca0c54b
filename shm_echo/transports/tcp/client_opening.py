"""The opening of a TcpClient's connections: TCP, TLS if wanted, and the handshake of either wire.

The first four bytes of the server say which wire it speaks. echo's has nothing but samples and
acknowledgements, so a client that asks for more is refused by the name of what it asks for.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from shm_echo.control.protocol.ring_requests import AttachRequest
from shm_echo.errors import ProtocolError, RefusedError
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp import client_connect, echo_wire
from shm_echo.transports.tcp.client_connect import Dialed, Target
from shm_echo.transports.tcp.client_token import ClientToken, find_token
from shm_echo.transports.tcp.shm_handshake import (
    ClientIdentity,
    beyond_echo_text,
    shake_hands,
    speaks_shm,
)
from shm_echo.transports.tcp.shm_wire import SESSION_BYTES

if TYPE_CHECKING:
    import ssl

__all__ = ["Entered", "Opening", "Wire", "Wishes"]

Wire = Literal["echo", "shm"]


@dataclass(frozen=True)
class Wishes:
    """The wishes of a client, and its facts about itself. It can be pickled, but for secrets.

    Attributes:
        target: the server, and the time-outs of connecting to it.
        spec: the spec of the samples; None takes the server's.
        publishes: the spec of the published values; None accepts the server's.
        request: the role, the run and the names of the client.
        wants_taken: True for a client that waits for the learner.
        instance_id: the instance that must answer; None takes any.
        token: the token that was given; None takes that of the environment.
        tls: the context of TLS, or True for the default one; None is plain TCP.
        server_hostname: the name that the server's certificate is to have.
    """

    target: Target
    spec: TreeSpec | None
    publishes: TreeSpec | None
    request: AttachRequest
    wants_taken: bool
    instance_id: bytes | None
    token: ClientToken | None
    tls: ssl.SSLContext | Literal[True] | None
    server_hostname: str | None


class Entered(NamedTuple):
    """A connection whose handshake is done.

    Attributes:
        dialed: its socket.
        wire: the wire that the server speaks.
        queued: the samples of this client that the server had before, by an earlier connection.
        instance: the server that answered; None where the wire does not say.
        spec: the spec of the samples.
        publishes: True if the server publishes values.
    """

    dialed: Dialed
    wire: Wire
    queued: int
    instance: bytes | None
    spec: TreeSpec
    publishes: bool


class Opening:
    """Opens the connections of one client in one process.

    Args:
        wishes: what the client wants, and says about itself.
    """

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._peer = str(wishes.target)
        self._session = os.urandom(SESSION_BYTES)
        self._context: ssl.SSLContext | None = None

    def identity(self) -> ClientIdentity:
        """Return what the client says about itself on the shm wire."""
        request = self._wishes.request
        token = self._wishes.token or find_token()
        return ClientIdentity(
            self._session, request.producer_id, request.run_id, token, request.way
        )

    def stream(self, deadline: float) -> socket.socket:
        """Return a connected socket, with TLS inside of it done, for a control connection."""
        left = max(0.0, deadline - time.monotonic())
        dialed = self._dial(self._wishes.target._replace(connect_timeout=left, dial_timeout=left))
        return dialed.sock

    def open(self, *, once: bool = False, within: float | None = None) -> Entered:
        """Open the connection for samples.

        Args:
            once: make one attempt, without waiting for a server that is not up.
            within: seconds that it may take, if that is less than the client's connect_timeout.

        Raises:
            HandshakeError: it failed; the subclass gives the reason.
            ConnectionClosedError: the server closed the connection.
            SpecMismatchError: an example differs from the server's.
            ValueError: the server's wire does not have what the client asks for.
        """
        target = self._wishes.target
        if within is not None:
            target = target._replace(connect_timeout=min(within, target.connect_timeout))
        if once and target.dial_timeout is None:
            target = target._replace(dial_timeout=target.connect_timeout)
        dialed = self._dial(target)
        try:
            advice = (
                "" if self._wishes.tls else " (a server with tls= waits for TLS: pass tls=True)"
            )
            first = client_connect.read_exactly(
                dialed, len(echo_wire.MAGIC), self._peer, advice=advice
            )
            if speaks_shm(first):
                return self._enter_shm(dialed, first)
            return self._enter_echo(dialed, first)
        except BaseException:
            dialed.sock.close()
            raise

    def _dial(self, target: Target) -> Dialed:
        dialed = client_connect.connect(target)
        if self._wishes.tls is None:
            return dialed
        from shm_echo.transports.tcp.tls import connect_tls
        from shm_echo.transports.tcp.tls_context import client_context

        try:
            if self._context is None:
                self._context = client_context(self._wishes.tls)
            client_connect.refuse_a_greeting(dialed, self._peer)
            name = self._wishes.server_hostname or target.host
            deadline = dialed.deadline
            sock = dialed.sock.dup()
        finally:
            dialed.sock.close()
        plain = connect_tls(sock, self._context, name, address=self._peer, deadline=deadline)
        plain.setblocking(False)
        return Dialed(plain, deadline)

    # ---------------------------------------------------------------- the two wires

    def _enter_echo(self, dialed: Dialed, first: bytes) -> Entered:
        spec = self._wishes.spec
        reader = echo_wire.HelloReader(self._peer)
        reader.feed(first)
        self._refuse_beyond_echo()
        if spec is None:
            raise ValueError(
                f"{self._peer} speaks echo's wire, which does not describe dtypes: give the client "
                "an example"
            )
        while reader.missing:
            reader.feed(client_connect.read_exactly(dialed, reader.missing, self._peer))
        echo_wire.require_equal(spec, reader.leaves)
        return Entered(dialed, "echo", 0, None, spec, False)

    def _refuse_beyond_echo(self) -> None:
        wishes, request = self._wishes, self._wishes.request
        token = wishes.token or find_token()
        if token is not None:
            raise RefusedError(
                self._peer,
                "unproven",
                "it speaks echo's wire, which has no tokens, so it cannot prove that it is the "
                f"server that knows the one from {token.source}: nothing was sent. Leave the token "
                "out if that is no matter, or give its TcpTransport token=",
                {},
            )
        asked = {
            "publishes=": wishes.publishes is not None,
            "run_id=": request.run_id is not None,
            "producer_id=": request.producer_id is not None,
            'role="reader"': request.role == "reader",
            'wait_until="taken"': wishes.wants_taken,
        }
        for name, given in asked.items():
            if given:
                refuse_on_echo(self._peer, name)

    def _enter_shm(self, dialed: Dialed, first: bytes) -> Entered:
        wishes = self._wishes
        opened = shake_hands(
            dialed.sock,
            first,
            "samples",
            self.identity(),
            address=self._peer,
            deadline=dialed.deadline,
            spec=wishes.spec,
            publishes=wishes.publishes,
            instance_id=wishes.instance_id,
        )
        hello = opened.hello
        spec = wishes.spec or self._spec_of(hello.spec)
        publishes = hello.publishes is not None
        return Entered(dialed, "shm", opened.queued, hello.instance_id, spec, publishes)

    def _spec_of(self, wire: Any) -> TreeSpec:
        from shm_echo.spec.rebuild import example_from_wire

        try:
            return TreeSpec.from_example(example_from_wire(wire))
        except ProtocolError:
            raise
        except ValueError as error:
            raise ValueError(
                f"{error}: give the client an example to send to {self._peer}"
            ) from None


def refuse_on_echo(peer: str, name: str) -> NoReturn:
    """Raise the error of something that echo's wire does not have."""
    raise ValueError(beyond_echo_text(peer, name))
