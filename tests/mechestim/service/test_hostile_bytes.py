"""Bytes that are no messages, against a live server: it answers or hangs up, and lives on."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from shm_echo.errors import ServiceUnavailableError
from shm_echo.mechestim import wire
from tests.support.metering import RawClient, ServerProcess, dialled
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def unharmed(server: ServerProcess) -> Iterator[None]:
    """Another session goes on computing rightly; memory, descriptors and counts are as before."""
    with dialled(server.url) as neighbour:
        x = neighbour.request("arange", (1000,))
        before, descriptors, resident = flops(server), server.descriptors(), server.resident()
        yield
        assert server.alive
        assert neighbour.request("sum", (x,)).item() == 499_500
        assert neighbour.request("ndarray.tolist", (x,)) == list(range(1000))
        wait_until(lambda: server.state()["sessions"] == 1, "the hostile sessions have ended")
        wait_until(lambda: server.descriptors() <= descriptors, "the descriptors are closed")
        assert flops(server) >= before + 1000
        assert server.resident() < resident + 64 * MIB


def flops(server: ServerProcess) -> int:
    return sum(one["flops"] for one in server.state()["principals"])


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
    "a farewell": msgpack.packb({"bye": "now"}),
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_frame_end_the_session(server: ServerProcess, data: bytes) -> None:
    with RawClient(server.path) as client:
        client.send(data)
        assert client.farewell() is not None


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_frame_that_is_no_request_is_answered_by_an_error_or_ends_the_session(
    server: ServerProcess, payload: bytes
) -> None:
    with RawClient(server.path) as client:
        client.frame(payload)
        message = client.hear()
        assert message is not None, "it hung up without a word"
        assert "bye" in message or "e" in message, message


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("data", [*BYTES.values(), nested(100_000)], ids=[*BYTES, "nested"])
def test_bytes_in_place_of_a_hello_end_the_connection(server: ServerProcess, data: bytes) -> None:
    with RawClient(server.path, service=None) as client:
        client.send(data)
        with contextlib.suppress(ConnectionResetError):
            while client.sock.recv(4096):
                pass


def test_the_last_of_two_equal_keys_counts_and_nothing_breaks(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        pairs = [("id", 1), ("op", "linalg.svd"), ("op", "add"), ("a", [1.0, 2.0]), ("id", 2)]
        packer = msgpack.Packer()
        client.frame(packer.pack_map_pairs(pairs))
        message = client.hear()
        assert message is not None
        assert (message["id"], "r" in message) == (2, True)


@pytest.mark.usefixtures("unharmed")
def test_random_bytes_end_the_session_or_are_waited_for(server: ServerProcess) -> None:
    source = random.Random(20)
    for _ in range(60):
        with RawClient(server.path) as client:
            payload = source.randbytes(source.randrange(1, 200))
            client.frame(payload)
            message = client.hear()
            assert message is None or "bye" in message or "e" in message, payload.hex()


@pytest.mark.usefixtures("unharmed")
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
        message = client.hear()
        if message is None or "bye" in message:
            client.close()
            client = RawClient(server.path)
        else:
            assert "r" in message or "e" in message, changed.hex()
    client.close()


@pytest.mark.usefixtures("unharmed")
def test_whoever_hangs_up_in_the_middle_of_anything_is_forgotten(server: ServerProcess) -> None:
    whole = msgpack.packb({"id": 1, "op": "ones", "a": [1000], "b": 0})
    data = struct.pack("<I", len(whole)) + whole
    for length in range(0, len(data), 3):
        with RawClient(server.path) as client:
            client.send(data[:length])


@pytest.mark.usefixtures("unharmed")
def test_ten_thousand_connections_that_say_nothing_leave_nothing(server: ServerProcess) -> None:
    def knock() -> None:
        for _ in range(1250):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(server.path))

    threads = [threading.Thread(target=knock) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("unharmed")
def test_half_frames_of_many_clients_hold_nobody_up(server: ServerProcess) -> None:
    crowd = [RawClient(server.path) for _ in range(40)]
    try:
        for client in crowd:
            client.send(struct.pack("<I", 1000) + b"\x81")
        with dialled(server.url) as another:
            assert another.request("add", (1.0, 2.0)).item() == 3.0
    finally:
        for client in crowd:
            client.close()


@pytest.mark.usefixtures("unharmed")
def test_descriptors_that_a_client_sends_are_not_kept(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        before = server.descriptors()
        for number in range(50):
            payload = msgpack.packb({"id": number, "op": "add", "a": [1.0, 2.0]})
            data = struct.pack("<I", len(payload)) + payload
            fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            socket.send_fds(client.sock, [data], fds)
            for fd in fds:
                os.close(fd)
            if client.hear() is None:
                break
        assert server.descriptors() <= before


def test_a_service_that_is_not_offered_is_refused(server: ServerProcess) -> None:
    for wanted in ("ring", "shutdown", "mechestim.internal", "__class__"):
        with pytest.raises(ServiceUnavailableError):
            RawClient(server.path, service=wanted)


def test_words_of_the_control_protocol_mean_nothing_to_a_session(server: ServerProcess) -> None:
    words: list[Any] = [{"type": "goodbye"}, {"t": "request", "id": 1, "op": "attach", "args": {}}]
    for word in words:
        with RawClient(server.path) as client:
            client.say(word)
            message = client.hear()
            assert message is not None
            assert "bye" in message or "e" in message
