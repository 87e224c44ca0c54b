"""The fuzzers' target of the TCP handshakes: what each end reads before it knows its peer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from shm_echo.errors import ProtocolError, SpecMismatchError
from shm_echo.spec import TreeSpec
from shm_echo.spec.rebuild import example_from_wire
from shm_echo.transports.tcp import echo_wire
from shm_echo.transports.tcp.control_wire import Reply, Request
from shm_echo.transports.tcp.shm_wire import (
    Answer,
    ClientHello,
    ClientHelloParser,
    ServerHello,
    ServerHelloParser,
)

__all__ = ["SEEDS", "handshakes"]

_SPEC = TreeSpec.from_example({"a": np.zeros((), np.int64), "b": np.zeros((2, 3), np.float32)})
_ID, _NONCE = bytes(range(16)), bytes(range(32))
_HELLO = ServerHello(_NONCE, _ID, _SPEC.to_wire(), _SPEC.to_wire(), "run", 32)
_CLIENT = ClientHello("samples", _ID, _NONCE, "actor", "run", "the same host")

# What well-behaved peers say.
SEEDS: tuple[bytes, ...] = (
    echo_wire.server_hello(_SPEC),
    _HELLO.encode(),
    _CLIENT.encode(),
    _CLIENT.encode() + _NONCE,
    Answer(queued=7, mac=_NONCE).encode(),
    Answer(error="token", message="it does not know the token", fields={"n": 1}).encode(),
    Request("wait_for", 3, 1.5).encode(),
    Reply(4, 100).encode(),
)


class _Parser(Protocol):
    @property
    def missing(self) -> int: ...

    def feed(self, data: bytes) -> Any: ...


def _read(parser: _Parser, data: bytes, most: int) -> tuple[str, int]:
    """Feed at most `most` bytes at a time; return what came of it, and the bytes not taken."""
    found = None
    try:
        while parser.missing and data:
            part = data[: min(most, parser.missing)]
            data = data[len(part) :]
            found = parser.feed(part)
            assert parser.missing >= 0, "a parser asks for less than nothing"
    except ProtocolError as error:
        return type(error).__name__, 0  # its text may show as many bytes as had come
    return repr(found), len(data)


_PARSERS: tuple[Callable[[], _Parser], ...] = (
    lambda: echo_wire.HelloReader("host:1"),
    ServerHelloParser,
    lambda: ClientHelloParser(with_mac=False),
    lambda: ClientHelloParser(with_mac=True),
)


def _both_ways(data: bytes) -> None:
    """Read whole and byte by byte, which must have the same result."""
    for make in _PARSERS:
        assert _read(make(), data, len(data) or 1) == _read(make(), data, 1)


def _use(data: bytes) -> None:
    """Use what was read as both ends do: compare specs, rebuild examples, write it again."""
    reader = echo_wire.HelloReader("host:1")
    rest = data
    with contextlib.suppress(ProtocolError, SpecMismatchError):
        while reader.missing and rest:
            part, rest = rest[: reader.missing], rest[reader.missing :]
            reader.feed(part)
        if not reader.missing:
            echo_wire.require_equal(_SPEC, reader.leaves)
    with contextlib.suppress(ProtocolError, SpecMismatchError):
        hello = ServerHelloParser().feed(data)
        if hello is not None:
            assert ServerHelloParser().feed(hello.encode()) == hello
            with contextlib.suppress(ValueError):
                example_from_wire(hello.publishes)
            _SPEC.require_equal(hello.spec)


def _bodies(data: bytes) -> None:
    """Decode the messages that have no parser of their own, with and without a length."""
    decoders: tuple[Any, ...] = (ClientHello, Answer, Request, Reply)
    for decoder in decoders:
        for body in (data, data[4:]):
            with contextlib.suppress(ProtocolError):
                value = decoder.decode(body)
                assert decoder.decode(value.encode()[4:]) == value


def handshakes(data: bytes) -> None:
    """Read bytes as every message of both wires: a message, or a protocol error."""
    _both_ways(data)
    _use(data)
    _bodies(data)
