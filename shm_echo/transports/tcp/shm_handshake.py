"""The client's side of the shm wire's handshake: on a connected socket, within a deadline.

The server proves that it knows the token before the client sends any sample. So a client with a
token refuses a server that asks for none: another program might listen at that port.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from shm_echo.control.protocol.ring_requests import run_difference
from shm_echo.errors import (
    ConnectionClosedError,
    HandshakeTimeoutError,
    OtherServerError,
    ProtocolError,
    RefusedError,
)
from shm_echo.transports.tcp import echo_wire
from shm_echo.transports.tcp.client_token import (
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    ClientToken,
)
from shm_echo.transports.tcp.shm_wire import (
    ANSWER_LIMIT,
    MAGIC,
    NONCE_BYTES,
    SESSION_BYTES,
    Answer,
    ClientHello,
    FrameDecoder,
    Role,
    ServerHello,
    ServerHelloParser,
)

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec

__all__ = [
    "ClientIdentity",
    "Opened",
    "beyond_echo_text",
    "published_spec",
    "shake_hands",
    "speaks_shm",
]

_T = TypeVar("_T")

_WAYS = f"pass token=, or set {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}"


@dataclass(frozen=True)
class ClientIdentity:
    """The facts that a client gives at each of its connections.

    Attributes:
        session: 16 random bytes; the server counts the samples of a session over reconnects.
        producer_id: the name by which a producer is known again when it comes as another process.
        run_id: the run that it belongs to; None if it names none.
        token: its token; None without one.
        way: why its connector chose this way to the server; None without one.
    """

    session: bytes
    producer_id: str | None = None
    run_id: str | None = None
    token: ClientToken | None = None
    way: str | None = None

    @classmethod
    def new(
        cls,
        producer_id: str | None = None,
        run_id: str | None = None,
        token: ClientToken | None = None,
        way: str | None = None,
    ) -> ClientIdentity:
        """Return the identity of a new session."""
        return cls(os.urandom(SESSION_BYTES), producer_id, run_id, token, way)


class Opened(NamedTuple):
    """A connection whose handshake is done.

    Attributes:
        hello: what the server said about itself.
        queued: the samples of this session that the server has, from earlier connections. It counts
            from 0 again if `hello.instance_id` is another one than before.
        publishes: the spec of the published values; None if the server publishes nothing.
    """

    hello: ServerHello
    queued: int
    publishes: TreeSpec | None


def speaks_shm(first: bytes) -> bool:
    """Return True if the first four bytes of a server are those of the shm wire."""
    return bytes(first[:4]) == MAGIC


def beyond_echo_text(peer: str, name: str) -> str:
    """Describe something that echo's wire does not have."""
    return (
        f"{name} is not possible with {peer}: it speaks echo's wire, which carries samples and "
        'acknowledgements and nothing else; give its TcpTransport wire="shm"'
    )


def shake_hands(
    sock: socket.socket,
    first: bytes,
    role: Role,
    identity: ClientIdentity,
    *,
    address: str,
    deadline: float,
    spec: TreeSpec | None = None,
    publishes: TreeSpec | None = None,
    instance_id: bytes | None = None,
) -> Opened:
    """Open a connection of the shm wire. No byte of what follows the answer is read.

    Args:
        sock: a connected stream socket.
        first: the bytes that were read from it before.
        role: what the connection is for.
        identity: what the client says about itself.
        address: the server's address, for messages.
        deadline: the moment on the monotonic clock by which the server must have answered.
        spec: the spec of the samples that will be sent; None takes any.
        publishes: the spec of the published values; None takes the server's.
        instance_id: the instance that must answer; None takes any.

    Raises:
        RefusedError: the token is wrong or missing, the server has not proved that it knows it, the
            run is another one, or the server refuses for another reason.
        SpecMismatchError: an example differs from the server's; the message has the leaf's path.
        ProtocolError: the peer does not speak this wire.
        HandshakeTimeoutError: the server did not answer in time.
        ConnectionClosedError: the server closed the connection.
        ValueError: the server publishes nothing, or its value cannot be made from its description.
    """
    stream = _Stream(sock, address, deadline)
    try:
        parser = ServerHelloParser()
        hello = parser.feed(bytes(first))
        while hello is None:
            part = stream.read(parser.missing, "its hello did not come")
            if role == "reader" and not parser.raw and part.startswith(echo_wire.MAGIC):
                raise ValueError(beyond_echo_text(address, 'role="reader"'))
            hello = parser.feed(part)
        if instance_id is not None and hello.instance_id != instance_id:
            raise OtherServerError(address)
        published = _check_hello(hello, role, identity, address, spec, publishes)
        mine = ClientHello(
            role,
            identity.session,
            os.urandom(NONCE_BYTES),
            identity.producer_id,
            identity.run_id,
            identity.way,
        ).encode()
        theirs = bytes(parser.raw)
        stream.write(mine + _mac(identity.token, theirs, mine))
        frames = FrameDecoder(ANSWER_LIMIT)
        body = None
        while body is None:
            frames.feed(stream.read(frames.missing, "its answer did not come"))
            body = frames.next_frame()
        answer = Answer.decode(body)
    except ProtocolError as error:
        raise ProtocolError(f"{address}: {error}") from None
    if answer.error is not None:
        message = answer.message
        if answer.error == "token" and identity.token is not None:
            message += f" (from {identity.token.source})"
        raise RefusedError(address, answer.error, message, answer.fields or {})
    _check_proof(answer, identity.token, theirs, mine, address)
    return Opened(hello, answer.queued, published)


def _check_hello(
    hello: ServerHello,
    role: Role,
    identity: ClientIdentity,
    address: str,
    spec: TreeSpec | None,
    publishes: TreeSpec | None,
) -> TreeSpec | None:
    """Compare what the server says about itself; return the spec of the published values."""
    token = identity.token
    if hello.wants_token and token is None:
        raise RefusedError(address, "token", f"it wants a token, and none was given: {_WAYS}", {})
    if token is not None and not hello.wants_token:
        raise RefusedError(
            address,
            "unproven",
            f"it asks for no token, so it cannot prove that it is the server that knows the one "
            f"from {token.source}: nothing was sent. Leave the token out if that is no matter",
            {},
        )
    difference = run_difference(hello.run_id, identity.run_id)
    if difference is not None:
        difference = difference.replace("ShmTransport", "TcpTransport")
        raise RefusedError(address, "run_id", difference, {"run_id": hello.run_id})
    if spec is not None:
        spec.require_equal(hello.spec)
    if hello.publishes is None:
        if publishes is not None:
            raise ValueError(f"the server at {address} publishes nothing")
        if role == "reader":
            raise RefusedError(
                address,
                "publishes_nothing",
                "it publishes nothing: give its Server publishes=example",
                {},
            )
        return None
    if publishes is not None:
        publishes.require_equal(hello.publishes)
        return publishes
    return None if role == "samples" else published_spec(hello, address)


def published_spec(hello: ServerHello, address: str) -> TreeSpec:
    """Return the spec of what a server publishes, made from its description.

    Raises:
        ProtocolError: the description is malformed.
        ValueError: it has a node other than plain containers and None, or there is none.
    """
    from shm_echo.spec import TreeSpec
    from shm_echo.spec.rebuild import example_from_wire

    if hello.publishes is None:
        raise ValueError(f"the server at {address} publishes nothing")
    try:
        return TreeSpec.from_example(example_from_wire(hello.publishes))
    except ProtocolError:
        raise
    except ValueError as error:
        raise ValueError(
            f"{error}: give the client publishes=example to read what {address} publishes"
        ) from None


def _mac(token: ClientToken | None, theirs: bytes, mine: bytes) -> bytes:
    if token is None:
        return b""
    from shm_echo.transports.tcp.proofs import proof

    return proof(token.key(), "client", theirs, mine)


def _check_proof(
    answer: Answer, token: ClientToken | None, theirs: bytes, mine: bytes, address: str
) -> None:
    if token is None:
        return
    from shm_echo.transports.tcp.proofs import is_proof

    if answer.mac is None or not is_proof(answer.mac, token.key(), "server", theirs, mine):
        raise RefusedError(
            address,
            "unproven",
            f"it has not proved that it knows the token from {token.source}, so it is another "
            "program: nothing was sent",
            {},
        )


class _Stream:
    """Reads and writes on a socket, blocking or not, within a deadline."""

    def __init__(self, sock: socket.socket, address: str, deadline: float) -> None:
        self._sock = sock
        self._address = address
        self._deadline = deadline
        self._began = time.monotonic()

    def read(self, most: int, what: str) -> bytes:
        """Return at least one byte, and at most `most`."""
        data = self._when_ready(
            select.POLLIN, what, lambda: self._sock.recv(min(most, 1 << 18), socket.MSG_DONTWAIT)
        )
        if not data:
            raise ConnectionClosedError(f"{self._address} closed the connection: {what}")
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        while view:
            send = partial(self._sock.send, view, flags)
            sent = self._when_ready(select.POLLOUT, "it does not take this client's hello", send)
            view = view[sent:]

    def _when_ready(self, event: int, what: str, act: Callable[[], _T]) -> _T:
        poll = select.poll()
        poll.register(self._sock, event)
        while True:
            left = self._deadline - time.monotonic()
            if not poll.poll(max(0.0, left) * 1000):
                waited = time.monotonic() - self._began
                raise HandshakeTimeoutError(self._address, waited, None, what)
            try:
                return act()
            except (BlockingIOError, InterruptedError):
                if left <= 0:
                    waited = time.monotonic() - self._began
                    raise HandshakeTimeoutError(self._address, waited, None, what) from None
            except OSError as error:
                raise ConnectionClosedError(
                    f"{self._address} closed the connection: {error.strerror or error}"
                ) from None
