"""Bytes that are no messages, sent to a live server: it answers or disconnects, and goes on."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from typing import Any

import msgpack
import pytest

from shm_echo.errors import ServiceUnavailableError
from shm_echo.mechestim import wire
from tests.support.mechestim_server import RawClient, ServerProcess, dialled
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("server_stays_alive")


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\xc0"


BYTES = {
    "empty frame": struct.pack("<I", 0),
    "largest length": struct.pack("<I", 0xFFFFFFFF),
    "nothing but zeros": bytes(4096),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
PAYLOADS = {
    "no map": msgpack.packb([1, 2, 3]),
    "a number": b"\x07",
    "reserved byte": b"\xc1",
    "cut short": msgpack.packb({"id": 1, "op": "add"})[:-2],
    "followed by more": msgpack.packb({"id": 1}) + b"\x00",
    "depth of a thousand": nested(1000),
    "depth of a million": nested(1_000_000),
    "array of 2**32 items": b"\xdd\xff\xff\xff\xff",
    "map of 2**32 items": b"\xdf\xff\xff\xff\xff",
    "nested promises": b"\xdc\xff\xff" * 1000,
    "text of 4 GiB": b"\xdb\xff\xff\xff\xff",
    "bytes of 4 GiB": b"\xc6\xff\xff\xff\xff",
    "keys that are numbers": b"\x81\x01\x02",
    "text that is not UTF-8": b"\x81\xa2id\xa2\xff\xfe",
    "unknown extension": msgpack.packb({"id": 1, "a": [msgpack.ExtType(99, b"x")]}),
    "negative extension": msgpack.packb({"id": 1, "a": [msgpack.Timestamp(1)]}),
    "extensions in extensions": msgpack.packb(
        {"id": 1, "a": [msgpack.ExtType(wire.TUPLE, nested(3) * 200)]}
    ),
    "short handle": msgpack.packb({"id": 1, "op": "sum", "a": [msgpack.ExtType(wire.HANDLE, b"")]}),
    "no id": msgpack.packb({"op": "add", "a": [1, 2]}),
    "id of text": msgpack.packb({"id": "1", "op": "add"}),
    "op that is a number": msgpack.packb({"id": 1, "op": 7}),
    "arguments that are no list": msgpack.packb({"id": 1, "op": "add", "a": {"x": 1}}),
    "keywords that are no map": msgpack.packb({"id": 1, "op": "add", "k": [1]}),
    "an answer to nothing": msgpack.packb({"ret": 5, "r": None}),
    "a closed message": msgpack.packb({"closed": "now"}),
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_frame_end_the_session(server: ServerProcess, data: bytes) -> None:
    with RawClient(server.path) as client:
        client.send(data)
        assert client.closed_reason() is not None


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_frame_that_is_no_request_is_answered_by_an_error_or_ends_the_session(
    server: ServerProcess, payload: bytes
) -> None:
    with RawClient(server.path) as client:
        client.frame(payload)
        message = client.receive_message()
        assert message is not None, "it hung up without a word"
        assert "closed" in message or "e" in message, message


@pytest.mark.parametrize("data", [*BYTES.values(), nested(100_000)], ids=[*BYTES, "nested"])
def test_bytes_in_place_of_a_hello_end_the_connection(server: ServerProcess, data: bytes) -> None:
    with RawClient(server.path, service=None) as client:
        client.send(data)
        with contextlib.suppress(ConnectionResetError):
            while client.sock.recv(4096):
                pass


@pytest.mark.parametrize(
    "pairs",
    [
        [("id", 1), ("op", "linalg.svd"), ("op", "add"), ("a", [1.0, 2.0])],
        [("id", 1), ("op", "add"), ("a", [1.0, 2.0]), ("id", 2)],
        [("id", 1), ("op", "add"), ("a", [1.0, 2.0]), *((f"x{i}", 0) for i in range(13))],
    ],
    ids=["op twice", "id twice", "sixteen keys"],
)
def test_a_request_with_the_same_key_twice_ends_the_session(
    server: ServerProcess, pairs: list[tuple[str, Any]]
) -> None:
    with RawClient(server.path) as client:
        client.frame(msgpack.Packer().pack_map_pairs(pairs))
        said = client.closed_reason()
        assert said == "a message is malformed: it has the same key twice, or too many"


def test_a_repeated_option_counts_once(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        packer = msgpack.Packer()
        options = packer.pack_map_pairs([("axis", 7), ("axis", 0)])
        request = packer.pack({"id": 1, "op": "sum", "a": [[1.0, 2.0]], "k": None})
        client.frame(request[:-1] + options)
        message = client.receive_message()
        assert message is not None
        assert "r" in message


DEEP = [2, 23, 24, 100, 900]


@pytest.mark.parametrize("code", [wire.TUPLE, wire.SLICE, wire.DTYPE, wire.FROZENSET, wire.NDARRAY])
@pytest.mark.parametrize("depth", DEEP)
def test_deeply_nested_extensions_cannot_exhaust_the_stack(
    server: ServerProcess, code: int, depth: int
) -> None:
    inner = b"\xc0"
    for _ in range(depth):
        inner = msgpack.packb(msgpack.ExtType(code, b"\x91" + inner))
    with RawClient(server.path) as client:
        client.frame(b"\x82\xa2id\x01\xa1a\x91" + inner)
        message = client.receive_message()
        assert message is not None
        assert "closed" in message or "e" in message


def test_copies_of_copies_cannot_exhaust_the_memory(server: ServerProcess) -> None:
    inner = msgpack.packb(bytes(3_500_000))
    for _ in range(20):
        inner = msgpack.packb(msgpack.ExtType(wire.TUPLE, b"\x91" + inner))
    with RawClient(server.path) as client:
        client.frame(b"\x82\xa2id\x01\xa1a\x91" + inner)
        assert client.closed_reason() == "a message is malformed: it is nested too deeply"


def test_a_set_whose_items_collide_is_refused(server: ServerProcess) -> None:
    items = [wire.bigint((2**61 - 1) * (n + 100)) for n in range(5000)]
    with RawClient(server.path) as client:
        client.send_message(
            {"id": 1, "op": "add", "a": [msgpack.ExtType(wire.FROZENSET, msgpack.packb(items))]}
        )
        assert client.closed_reason() == "a message is malformed: its bytes are no valid message"


FIELDS = ("id", "op", "a", "k", "b", "n", "f", "fb", "ret", "r", "e", "cancel")
WRONG: list[Any] = [
    *(None, True, -1, 2**63, 2**64 - 1, 1.5, float("nan"), "", "x" * 300, b"", b"x", [], [[]], {}),
    *([None, "x", -1, 2**63, [1]], {"x": {"x": []}}, msgpack.ExtType(wire.ELLIPSIS, b"")),
    *(wire.handle_ext(2**64 - 1), wire.callback_ext(0), wire.bigint(2**70)),
    *(msgpack.ExtType(code, b"") for code in range(1, 18)),
]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_may_be_of_a_wrong_type(server: ServerProcess, field: str) -> None:
    client = RawClient(server.path)
    for wrong in WRONG:
        client.send_message({"id": 1, "op": "add", "a": [1.0, 2.0], "b": 0, field: wrong})
        message = client.receive_message()
        if message is None or "closed" in message:
            client.close()
            client = RawClient(server.path)
        else:
            assert "r" in message or "e" in message, (field, wrong)
            if "e" in message:
                assert "its log says why" not in message["e"][1], (field, wrong)
    client.close()


def test_random_bytes_end_the_session_or_are_waited_for(server: ServerProcess) -> None:
    source = random.Random(20)
    for _ in range(60):
        with RawClient(server.path) as client:
            payload = source.randbytes(source.randrange(1, 200))
            client.frame(payload)
            message = client.receive_message()
            assert message is None or "closed" in message or "e" in message, payload.hex()


def test_a_request_that_is_changed_at_random_is_answered_or_ends_the_session(
    server: ServerProcess,
) -> None:
    source = random.Random(21)
    array = msgpack.ExtType(wire.NDARRAY, msgpack.packb(["<f8", [2, 2], bytes(32)]))
    whole = msgpack.packb({"id": 1, "op": "matmul", "a": [array, array], "k": {}, "b": 0, "f": [1]})
    client = RawClient(server.path)
    for _ in range(400):
        changed = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            changed[source.randrange(len(changed))] = source.randrange(256)
        client.frame(bytes(changed))
        message = client.receive_message()
        if message is None or "closed" in message:
            client.close()
            client = RawClient(server.path)
        else:
            assert "r" in message or "e" in message, changed.hex()
    client.close()


def test_a_client_that_disconnects_at_any_point_leaks_nothing(server: ServerProcess) -> None:
    whole = msgpack.packb({"id": 1, "op": "ones", "a": [1000], "b": 0})
    data = struct.pack("<I", len(whole)) + whole
    for length in range(0, len(data), 3):
        with RawClient(server.path) as client:
            client.send(data[:length])


def test_ten_thousand_silent_connections_leak_nothing(server: ServerProcess) -> None:
    def knock() -> None:
        for _ in range(1250):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(server.path))

    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_incomplete_frames_of_many_clients_do_not_block_other_sessions(
    server: ServerProcess,
) -> None:
    crowd = [RawClient(server.path) for _ in range(40)]
    try:
        for client in crowd:
            client.send(struct.pack("<I", 1000) + b"\x81")
        with dialled(server.url) as another:
            assert another.request("add", (1.0, 2.0)).item() == 3.0
    finally:
        for client in crowd:
            client.close()


def test_descriptors_sent_by_a_client_are_closed(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        before = server.descriptors()
        for number in range(50):
            payload = msgpack.packb({"id": number, "op": "add", "a": [1.0, 2.0]})
            data = struct.pack("<I", len(payload)) + payload
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            socket.send_fds(client.sock, [data], fds)
            for fd in fds:
                os.close(fd)
            if client.receive_message() is None:
                break
        wait_until(lambda: server.descriptors() <= before, "there are no more than before")


def test_a_service_that_is_not_offered_is_refused(server: ServerProcess) -> None:
    for wanted in ("ring", "shutdown", "mechestim.internal", "__class__"):
        with pytest.raises(ServiceUnavailableError):
            RawClient(server.path, service=wanted)


def test_messages_of_the_control_protocol_are_unknown_to_a_session(server: ServerProcess) -> None:
    words: list[Any] = [{"type": "goodbye"}, {"t": "request", "id": 1, "op": "attach", "args": {}}]
    for word in words:
        with RawClient(server.path) as client:
            client.send_message(word)
            message = client.receive_message()
            assert message is not None
            assert "closed" in message or "e" in message
