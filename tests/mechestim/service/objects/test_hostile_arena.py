"""The memory that a client shares with its session, used in every way but the right one."""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.support.mechestim_server import RawClient, ServerProcess, handle_of
from tests.support.waiting import wait_until

SIZE = 1 << 20

pytestmark = pytest.mark.usefixtures("server_stays_alive")


@pytest.fixture
def client(server: ServerProcess, server_stays_alive: None) -> Iterator[RawClient]:
    with RawClient(server.path) as one:
        yield one
        assert one.result("add", 1.0, 2.0) is not None, "the session is of no more use"


@pytest.fixture
def areas(client: RawClient) -> Iterator[list[int]]:
    """Yield the two descriptors: to the server, and to the client."""
    client.send_message({"id": 0, "op": "arena.open", "a": []})
    data, fds, _, _ = socket.recv_fds(client.sock, 4096, 8)
    assert msgpack.unpackb(data[4:]) == {"id": 0, "r": SIZE}
    assert len(data) == 4 + struct.unpack_from("<I", data)[0]
    yield fds
    for fd in fds:
        os.close(fd)


def test_contents_go_both_ways(client: RawClient, areas: list[int]) -> None:
    with mmap.mmap(areas[0], SIZE) as out, mmap.mmap(areas[1], SIZE, prot=mmap.PROT_READ) as back:
        out[:16] = struct.pack("<2d", 1.5, 2.5)
        x = handle_of(client.result("arena.blank", "<f8", [2]))
        client.result("arena.put", x, 0, 16)
        assert client.result("ndarray.tolist", x) == [1.5, 2.5]
        client.result("arena.hold", handle_of(client.result("add", x, 1.0)))
        assert back[:16] == struct.pack("<2d", 2.5, 3.5)


@pytest.mark.parametrize("which", [0, 1])
def test_no_client_can_change_the_size_of_an_area(areas: list[int], which: int) -> None:
    for length in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(areas[which], length)


def test_a_client_cannot_write_into_the_area_of_the_server(areas: list[int]) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(areas[1], b"x", 0)
    with pytest.raises(PermissionError):
        mmap.mmap(areas[1], SIZE)
    again = os.open(f"/proc/self/fd/{areas[1]}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.pwrite(again, b"x", 0)
    finally:
        os.close(again)


PARTS = [
    (-1, 8),
    (0, -1),
    (0, 801),
    (793, 8),
    (0, SIZE + 1),
    (2**63, 8),
    (0, 2**63),
    (0.0, 8),
    (0, None),
    ("0", 8),
    (True, 8),
]


@pytest.mark.usefixtures("areas")
@pytest.mark.parametrize(("offset", "length"), PARTS, ids=repr)
def test_a_part_that_is_out_of_range_is_refused(
    client: RawClient, offset: Any, length: Any
) -> None:
    x = handle_of(client.result("arena.blank", "<f8", [100]))
    for op in ("arena.put", "arena.get"):
        kind, _ = client.error(op, x, offset, length)
        assert kind == "ValueError"


@pytest.mark.usefixtures("areas")
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("O", [3]),
        ("nonsense", [3]),
        ("<f8", [-1]),
        ("<f8", [2**40]),
        ("<f8", [2**63]),
        ("<f8", [1.0]),
        ("<f8", 3),
        ("<f8", [1] * 99),
    ],
    ids=repr,
)
def test_an_array_of_an_invalid_dtype_or_shape_is_refused(
    client: RawClient, dtype: Any, shape: Any
) -> None:
    kind, _ = client.error("arena.blank", dtype, shape)
    assert kind in ("TypeError", "ValueError", "QuotaExceededError")


def test_copies_without_an_arena_are_an_error(client: RawClient) -> None:
    x = handle_of(client.result("arena.blank", "<f8", [100]))
    for op in ("arena.put", "arena.get"):
        kind, message = client.error(op, x, 0, 8)
        assert (kind, message) == ("ValueError", "this session has no arena")


@pytest.mark.usefixtures("areas")
def test_an_array_that_only_looks_large_is_not_copied(client: RawClient) -> None:
    large = handle_of(client.result("broadcast_to", 1.5, [30_000, 30_000]))
    kind, _ = client.error("arena.hold", large)
    assert kind == "QuotaExceededError"


def test_memory_that_changes_while_it_is_read_does_no_harm(
    client: RawClient, areas: list[int]
) -> None:
    stop = threading.Event()
    with mmap.mmap(areas[0], SIZE) as out:

        def scribble() -> None:
            value = 0
            while not stop.is_set():
                value = (value + 1) % 256
                out[:SIZE] = bytes([value]) * SIZE

        scribbler = threading.Thread(target=scribble)
        scribbler.start()
        try:
            for _ in range(20):
                x = handle_of(client.result("arena.blank", "|u1", [SIZE]))
                client.result("arena.put", x, 0, SIZE)
                first = client.result("sum", x)
                assert client.result("sum", x) == first, "what was copied has changed"
        finally:
            stop.set()
            scribbler.join()


@pytest.mark.usefixtures("areas")
def test_only_an_array_that_is_being_sent_is_filled_without_a_charge(client: RawClient) -> None:
    sent = handle_of(client.result("arena.blank", "<f8", [2]))
    client.result("arena.put", sent, 0, 8)
    client.result("arena.put", sent, 8, 8)
    made = handle_of(client.result("ones", [2]))
    for array in (sent, made):
        kind, message = client.error("arena.put", array, 0, 8)
        assert (kind, message) == (
            "ValueError",
            "only an array that is still being sent can be filled",
        )


def test_asking_again_brings_no_more_descriptors_than_there_are(
    client: RawClient, server: ServerProcess, areas: list[int]
) -> None:
    before = server.descriptors()
    for number in range(20):
        client.send_message({"id": number, "op": "arena.open", "a": []})
        _, fds, _, _ = socket.recv_fds(client.sock, 4096, 8)
        for fd in fds:
            os.close(fd)
    wait_until(lambda: server.descriptors() <= before, "there are no more than before")
    assert len(areas) == 2
