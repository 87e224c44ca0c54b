"""The messages of the shm wire, without sockets: whole, in pieces, cut, and made of garbage."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm_echo.errors import ProtocolError
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp.control_wire import MESSAGE_LIMIT, Op, Outcome, Reply, Request
from shm_echo.transports.tcp.shm_wire import (
    ANSWER_LIMIT,
    CLIENT_HELLO_LIMIT,
    MAC_BYTES,
    SERVER_HELLO_LIMIT,
    Answer,
    ClientHello,
    ClientHelloParser,
    FrameDecoder,
    Role,
    ServerHello,
    ServerHelloParser,
)

SPEC = TreeSpec.from_example({"obs": np.zeros((2, 3), np.float32), "reward": np.float32(0)})
PUBLISHES = TreeSpec.from_example({"w": np.zeros(4)})
SERVER = ServerHello(
    bytes(range(32)), bytes(16), SPEC.to_wire(), PUBLISHES.to_wire(), "tuesday", 64, True
)
CLIENT = ClientHello("samples", bytes(range(16)), bytes(range(32)), "actor-1", "tuesday", "by tcp")
PREFIX = 54  # of the server's hello, before the length of its description


def in_pieces(feed: Callable[[bytes], Any], data: bytes, sizes: list[int]) -> Any:
    """Feed data in pieces of these sizes, again and again; return the last result."""
    found = None
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        assert found is None, "it was whole before the last byte"
        found = feed(data[position : position + size])
        position, turn = position + size, turn + 1
    return found


def pack(body: object, prefix: bytes = b"") -> bytes:
    payload = msgpack.packb(body)
    return prefix + struct.pack("<I", len(payload)) + payload


def whole_frame(data: bytes, limit: int) -> bytes | None:
    frames = FrameDecoder(limit)
    frames.feed(data)
    return frames.next_frame()


# ---------------------------------------------------------------- round trips, in pieces


@pytest.mark.parametrize(
    "hello",
    [SERVER, replace(SERVER, publishes=None, run_id=None, max_inflight=None)],
    ids=["all fields", "no optional field"],
)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_a_servers_hello_is_read_in_pieces_of_any_size(
    hello: ServerHello, sizes: list[int]
) -> None:
    parser = ServerHelloParser()
    data = hello.encode()
    assert in_pieces(parser.feed, data, sizes) == hello
    assert parser.raw == data
    assert parser.missing == 0


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("with_mac", [True, False])
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_a_clients_hello_is_read_in_pieces_of_any_size(
    role: Role, with_mac: bool, sizes: list[int]
) -> None:
    hello = replace(CLIENT, role=role)
    mac = b"m" * MAC_BYTES if with_mac else b""
    parser = ClientHelloParser(with_mac)
    assert in_pieces(parser.feed, hello.encode() + mac, sizes) == hello
    assert parser.raw == hello.encode()
    assert parser.mac == mac


def test_reading_no_more_than_what_is_missing_takes_nothing_that_follows() -> None:
    parsers: list[tuple[ServerHelloParser | ClientHelloParser, bytes]] = [
        (ServerHelloParser(), SERVER.encode()),
        (ClientHelloParser(True), CLIENT.encode() + bytes(MAC_BYTES)),
        (ClientHelloParser(False), CLIENT.encode()),
    ]
    for parser, data in parsers:
        stream = io.BytesIO(data + b"samples")
        while parser.missing:
            found = parser.feed(stream.read(parser.missing))
        assert found is not None
        assert stream.read() == b"samples"


@pytest.mark.parametrize(
    "answer",
    [Answer(0), Answer(2**62, b"x" * 32), Answer(error="run_id", message="no", fields={"a": 1})],
    ids=str,
)
def test_an_answer_survives_its_encoding(answer: Answer) -> None:
    body = whole_frame(answer.encode(), ANSWER_LIMIT)
    assert body is not None
    assert Answer.decode(body) == answer


@pytest.mark.parametrize("op", get_args(Op))
@pytest.mark.parametrize("timeout", [None, 0.0, 1.5])
def test_a_request_survives_its_encoding(op: Op, timeout: float | None) -> None:
    body = whole_frame(Request(op, 7, timeout).encode(), MESSAGE_LIMIT)
    assert body is not None
    assert Request.decode(body) == Request(op, 7, timeout)


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_a_reply_survives_its_encoding(outcome: Outcome) -> None:
    body = whole_frame(Reply(3, 2**40, outcome, "why").encode(), MESSAGE_LIMIT)
    assert body is not None
    assert Reply.decode(body) == Reply(3, 2**40, outcome, "why")


# ---------------------------------------------------------------- garbage


def parse_all(parser: ServerHelloParser | ClientHelloParser, data: bytes) -> None:
    """Feed byte by byte: only a ProtocolError may come, and then always the same one."""
    try:
        for position in range(len(data)):
            if parser.feed(data[position : position + 1]) is not None:
                return
    except ProtocolError as error:
        with pytest.raises(ProtocolError) as again:
            parser.feed(b"x")
        assert str(again.value) == str(error)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_but_a_protocol_error(data: bytes) -> None:
    parse_all(ServerHelloParser(), data)
    parse_all(ServerHelloParser(), b"SHME\x01" + data)
    parse_all(ServerHelloParser(), SERVER.encode()[:PREFIX] + data)
    parse_all(ClientHelloParser(True), data)
    for limit, decode in [
        (ANSWER_LIMIT, Answer.decode),
        (MESSAGE_LIMIT, Request.decode),
        (MESSAGE_LIMIT, Reply.decode),
        (CLIENT_HELLO_LIMIT, ClientHello.decode),
    ]:
        with contextlib.suppress(ProtocolError):
            body = whole_frame(data, limit)
            decode(data if body is None else body)


@given(position=st.integers(0, 10_000), value=st.integers(1, 255))
def test_a_changed_byte_raises_nothing_but_a_protocol_error(position: int, value: int) -> None:
    for make, data in [
        (ServerHelloParser, bytearray(SERVER.encode())),
        (lambda: ClientHelloParser(False), bytearray(CLIENT.encode())),
    ]:
        data[position % len(data)] ^= value
        parse_all(make(), bytes(data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip
KEYS = ["role", "session", "nonce", "producer_id", "run_id", "way", "spec", "publishes", "error",
        "max_inflight", "queued", "mac", "message", "fields", "op", "version", "timeout",
        "payload", "outcome"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_fields_of_any_type_raise_nothing_but_a_protocol_error(fields: dict[str, Any]) -> None:
    for whole in (CLIENT, SERVER, Answer(1), Request("newest"), Reply()):
        body = {**vars(whole), **fields} if isinstance(whole, ClientHello) else fields
        parse_all(ServerHelloParser(), pack({**body, "spec": {}}, SERVER.encode()[:PREFIX]))
        for decode in (ClientHello.decode, Answer.decode, Request.decode, Reply.decode):
            with contextlib.suppress(ProtocolError):
                decode(msgpack.packb(body))


# ---------------------------------------------------------------- limits and wrong fields


@pytest.mark.parametrize(
    ("make", "prefix", "limit"),
    [
        (ServerHelloParser, SERVER.encode()[:PREFIX], SERVER_HELLO_LIMIT),
        (lambda: ClientHelloParser(False), b"", CLIENT_HELLO_LIMIT),
    ],
    ids=["server", "client"],
)
def test_a_hello_above_its_limit_is_refused_when_its_length_is_there(
    make: Callable[[], Any], prefix: bytes, limit: int
) -> None:
    make().feed(prefix + struct.pack("<I", limit))
    with pytest.raises(ProtocolError, match=rf"{limit + 1:,} bytes was announced"):
        make().feed(prefix + struct.pack("<I", limit + 1))


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (b"HTTP/1.1 400", "first bytes are b'HTTP' and not b'SHME'"),
        (b"ECHO\x01", "first bytes are b'ECHO' and not b'SHME'"),
        (b"SHME\x02", "version 2 of the shm wire, and this process speaks 1"),
        (SERVER.encode()[:5] + b"\x06" + SERVER.encode()[6:], "features that this version"),
        (SERVER.encode() + b"more", "bytes follow its hello"),
    ],
)
def test_another_program_is_named_by_its_first_bytes(first: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        ServerHelloParser().feed(first)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("role", "boss", "role"),
        ("role", None, "role"),
        ("session", b"short", "session"),
        ("session", "x" * 16, "session"),
        ("nonce", b"", "nonce"),
        ("producer_id", "", "producer_id"),
        ("producer_id", "x" * 65, "producer_id"),
        ("producer_id", "a\nb", "producer_id"),
        ("run_id", 7, "run_id"),
        ("way", "x" * 201, "way"),
        ("way", "a\x1bb", "way"),
    ],
)
def test_a_wrong_field_of_a_client_is_named(field: str, value: object, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        ClientHelloParser(False).feed(pack({**vars(CLIENT), field: value}))


def test_unknown_fields_are_ignored() -> None:
    assert ClientHelloParser(False).feed(pack({**vars(CLIENT), "later": [1]})) == CLIENT


@pytest.mark.parametrize(
    "body",
    [
        {"queued": -1, "mac": None},
        {"queued": 2**63, "mac": None},
        {"queued": True, "mac": None},
        {"queued": 0, "mac": b"short"},
        {"error": "x"},
        {"error": "x", "message": "a\x1b[2Jb", "fields": {}},
    ],
    ids=str,
)
def test_a_malformed_answer_is_a_protocol_error(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        Answer.decode(msgpack.packb(body))


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), float("inf"), "1", True])
def test_a_malformed_timeout_is_a_protocol_error(timeout: object) -> None:
    with pytest.raises(ProtocolError):
        Request.decode(msgpack.packb({"op": "newest", "version": 0, "timeout": timeout}))
