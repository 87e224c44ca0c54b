"""The server's side of the shm wire's handshake: what a client may do, without sockets.

The checks come in this order: the bytes, the token, the run. A client without a valid token is told
nothing but that. Three wrong tokens in a second from one address make every further client of that
address wait for the end of the second.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shm_echo.control.protocol.ring_requests import run_difference
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import ProtocolError
from shm_echo.transports.tcp.proofs import is_proof, proof
from shm_echo.transports.tcp.shm_wire import (
    INSTANCE_BYTES,
    NONCE_BYTES,
    Answer,
    ClientHello,
    ClientHelloParser,
    ServerHello,
    hello_prefix,
)

__all__ = ["Description", "FailureLimit", "RefusalError", "ServerHandshake"]

_FAILURES, _WITHIN = 3, 1.0  # wrong tokens, and seconds
_MAX_ADDRESSES = 1024
# The first bytes of other protocols. As the length of a hello, each of these is far too large.
_OTHER_PROTOCOLS = {
    b"\x16\x03\x01": "it begins TLS, and this server was made without tls=",
    b"\x16\x03\x03": "it begins TLS, and this server was made without tls=",
    b"GET ": "it sends a request of HTTP",
    b"HEAD": "it sends a request of HTTP",
    b"POST": "it sends a request of HTTP",
    b"SSH-": "it speaks SSH",
}


@dataclass(frozen=True)
class Description:
    """The description of a server, for every client.

    Attributes:
        instance_id: 16 random bytes, the same as long as the server lives.
        spec: the wire form of the samples' spec.
        publishes: the wire form of the published values' spec; None if it publishes nothing.
        run_id: the run that it serves; None if it names none.
        max_inflight: the most samples that a client may have sent without an acknowledgement.
    """

    instance_id: bytes
    spec: Mapping[str, Any]
    publishes: Mapping[str, Any] | None = None
    run_id: str | None = None
    max_inflight: int | None = None

    def __post_init__(self) -> None:
        if len(self.instance_id) != INSTANCE_BYTES:
            raise ValueError(f"an instance id has {INSTANCE_BYTES} bytes")

    @cached_property
    def encoded(self) -> bytes:
        """The part of a hello that is the same for each connection; a large one takes a while.

        Raises:
            ValueError: the descriptions of the examples are too large.
        """
        return ServerHello(
            bytes(NONCE_BYTES),
            self.instance_id,
            self.spec,
            self.publishes,
            self.run_id,
            self.max_inflight,
        ).encode_description()

    def hello(self, wants_token: bool) -> bytes:
        """Return the bytes of a hello with a fresh nonce.

        Args:
            wants_token: True if clients must prove that they have a token.
        """
        return hello_prefix(os.urandom(NONCE_BYTES), self.instance_id, wants_token) + self.encoded


class RefusalError(Exception):
    """A client is refused, and told why.

    Attributes:
        code: the reason, as a word for programs.
        message: the reason as a sentence.
        fields: the facts of the message.
    """

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.fields = code, message, dict(fields or {})


class FailureLimit:
    """Counts the wrong tokens of each address.

    Args:
        clock: the time in seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, deque[float]] = {}

    def wait(self, host: str) -> float:
        """Return the seconds until a token of this address may be tried; 0 if at once."""
        with self._lock:
            times = self._failures.get(host)
            if times is None or len(times) < _FAILURES:
                return 0.0
            return max(0.0, times[0] + _WITHIN - self._clock())

    def failed(self, host: str) -> None:
        """Count a wrong token."""
        with self._lock:
            now = self._clock()
            if len(self._failures) >= _MAX_ADDRESSES and host not in self._failures:
                fresh = {h: t for h, t in self._failures.items() if now - t[-1] < _WITHIN}
                self._failures = fresh if len(fresh) < _MAX_ADDRESSES else {}
            self._failures.setdefault(host, deque(maxlen=_FAILURES)).append(now)


class ServerHandshake:
    """The conversation with one client.

    Args:
        description: what the server says about itself.
        tokens: the tokens that it accepts; None asks for none.

    Attributes:
        hello: the bytes of the server's hello.
        client: the client's hello, once it has come.
        holder: the holder of the client's token, once it is proved.
    """

    def __init__(self, description: Description, tokens: Tokens | None) -> None:
        self._run_id = description.run_id
        self._publishes = description.publishes is not None
        self._tokens = tokens
        self._parser = ClientHelloParser(with_mac=tokens is not None)
        self._key: bytes | None = None
        self.hello = description.hello(tokens is not None)
        self.client: ClientHello | None = None
        self.holder: str | None = None

    @property
    def missing(self) -> int:
        """The number of bytes to read next."""
        return self._parser.missing

    def feed(self, data: bytes) -> bool:
        """Take bytes of the client; return True when its hello is whole.

        Raises:
            ProtocolError: it does not speak this wire.
        """
        try:
            self.client = self._parser.feed(data)
        except ProtocolError as error:
            raise _named(bytes(self._parser.raw), error) from None
        return self.client is not None

    def check(self) -> None:
        """Decide on a client whose hello is whole.

        Raises:
            RefusalError: it may not join.
        """
        client = self.client
        assert client is not None
        if self._tokens is not None:
            mine, theirs = self.hello, bytes(self._parser.raw)
            mac = bytes(self._parser.mac)
            found = self._tokens.holder_who(lambda key: is_proof(mac, key, "client", mine, theirs))
            if found is None:
                raise RefusalError("token", "it does not know the token that was given")
            self.holder, self._key = found
        difference = run_difference(self._run_id, client.run_id)
        if difference is not None:
            difference = difference.replace("ShmTransport", "TcpTransport")
            raise RefusalError("run_id", difference, {"run_id": self._run_id})
        if client.role == "reader" and not self._publishes:
            raise RefusalError(
                "publishes_nothing", "it publishes nothing: give its Server publishes=example"
            )

    def answer(self, queued: int) -> bytes:
        """Return the answer to a client that may join.

        Args:
            queued: the samples of its session that the server has.
        """
        mac = None
        if self._key is not None:
            mac = proof(self._key, "server", self.hello, bytes(self._parser.raw))
        return Answer(queued=queued, mac=mac).encode()

    @staticmethod
    def refusal(error: RefusalError) -> bytes:
        """Return the answer to a client that may not join."""
        return Answer(error=error.code, message=error.message, fields=error.fields).encode()


def _named(raw: bytes, error: ProtocolError) -> ProtocolError:
    """Return an error that names the protocol which the bytes begin, if it is a known one."""
    for beginning, text in _OTHER_PROTOCOLS.items():
        if raw.startswith(beginning):
            return ProtocolError(text)
    return error
