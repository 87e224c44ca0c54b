"""Peers that are no clients, or bad ones: bytes that are no samples, silence, acks not read."""

from __future__ import annotations

import logging
import random
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import echo
import numpy as np
import pytest

import shm_echo
from tests.support.tcp_ends import (
    ARRAYS,
    SIZE,
    Collector,
    RawPeer,
    arrays,
    connected,
    fake_server,
    greeting,
    idle,
    numbered_bytes,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LIBRARIES = {"echo": echo, "ours": shm_echo}

EIGHT = {"x": np.zeros(8, np.uint8)}
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def test_an_http_request_is_samples_if_they_are_short(caplog: pytest.LogCaptureFixture) -> None:
    """The echo wire has no hello of the client, so the server cannot tell; a token can."""
    with serving(shm_echo, EIGHT, 2) as server, RawPeer(server.port, EIGHT) as peer:
        peer.send(REQUEST)
        assert peer.rest() == b"\x01\x01"
        wait_until(lambda: idle(server), "it has gone")
        sample = server.sample(WATCHDOG)
    assert bytes(sample.batch["x"].tobytes()) == REQUEST[:16]
    assert any(r.levelno == logging.WARNING for r in caplog.records), "two bytes were dropped"


@pytest.mark.parametrize("size", [1, SIZE - 1, SIZE, 3 * SIZE + 7, 100_000])
def test_garbage_is_cut_into_samples_and_harms_no_other_client(size: int) -> None:
    garbage = random.Random(size).randbytes(size)
    with serving(shm_echo, ARRAYS, 8) as server, RawPeer(server.port) as stranger:
        with connected(shm_echo, server.port, ARRAYS) as client:
            client.send(arrays(1))
            worker = Worker(stranger.send, garbage)
            whole, came = size // SIZE, []

            def all_came() -> bool:
                while len((batch := server.flush(WATCHDOG).batch)["n"]):
                    rows = zip(batch["n"], batch["x"], strict=True)
                    came.extend(n.tobytes() + x.tobytes() for n, x in rows)
                return len(came) >= whole + 1

            wait_until(all_came, "everything came")
            worker.result()
            assert stranger.rest() == b"\x01" * whole
            client.send(arrays(2))
            client.wait()
        came.remove(numbered_bytes([1]))
        assert b"".join(came) == garbage[: whole * SIZE]
        wait_until(lambda: idle(server), "they have gone")
        assert Collector(server).until(1) == [2]


def test_peers_that_send_nothing_cost_nothing_and_are_no_deaths(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(shm_echo, ARRAYS, 4, on_producer_death="raise") as server:
        silent = [RawPeer(server.port) for _ in range(40)]
        wait_until(lambda: len(server.producers()) == 40, "they are listed")
        with connected(shm_echo, server.port, ARRAYS) as client:
            for number in range(8):
                client.send(arrays(number))
                if number == 3:
                    assert len(server.sample(WATCHDOG).batch["n"]) == 4
            client.wait()
        for peer in silent:
            peer.close()
        wait_until(lambda: idle(server), "all have gone")
        assert Collector(server).until(4) == [4, 5, 6, 7]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_peers_that_leave_before_the_greeting_are_forgotten() -> None:
    with serving(shm_echo, ARRAYS, 4) as server:
        for _ in range(50):
            socket.create_connection(("127.0.0.1", server.port), timeout=WATCHDOG).close()
        with RawPeer(server.port) as peer:
            peer.send(numbered_bytes([0]))
            peer.acks(1)
        wait_until(lambda: idle(server), "all have gone")
        assert Collector(server).until(1) == [0]


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _unread_acks(millions: int) -> None:
    """Send samples of a byte without reading acks: these fill the kernel's buffers, and wait."""
    example = {"x": np.zeros(1, np.uint8)}
    count, block = millions * 1_000_000, 1 << 16
    with serving(shm_echo, example, block, num_buffers=4) as server:
        with RawPeer(server.port, example, receive_buffer=4096) as peer:

            def stream() -> None:
                data = bytes(range(256)) * (block // 256)
                for start in range(0, count, block):
                    peer.send(data[: min(block, count - start)])

            worker, received, before = Worker(stream), 0, None
            while received < count - count % block:
                batch = server.sample(WATCHDOG).batch["x"]
                assert (batch[:, 0] == np.arange(block) % 256).all()
                received += len(batch)
                del batch
                before = before or _resident()
            worker.result()
            assert _resident() < before + (32 << 20)
            peer.sock.shutdown(socket.SHUT_WR)  # the acks are owed, and paid now
            owed = 0
            while data := peer.sock.recv(1 << 16):
                assert data == b"\x01" * len(data)
                owed += len(data)
            assert owed == count


def test_a_client_that_never_reads_acks_stops_nobody_and_takes_no_memory() -> None:
    _unread_acks(7)


@pytest.mark.nightly
def test_a_client_that_does_not_read_fifty_million_acks() -> None:
    _unread_acks(50)


def test_a_reader_of_no_acks_that_leaves_delays_no_other_client() -> None:
    with serving(shm_echo, ARRAYS, 64, num_buffers=4) as server:
        collector = Collector(server)
        with RawPeer(server.port, receive_buffer=4096) as peer:
            worker = Worker(peer.send, numbered_bytes(range(20_000)))
            collector.until(20_000)
            worker.result()
        with connected(shm_echo, server.port, ARRAYS) as client:
            client.send(arrays(100_000))
            client.wait()
        collector.until_idle()
    collector.check([range(20_000), range(100_000, 100_001)])


BAD_GREETINGS: dict[str, tuple[bytes, str]] = {
    "another magic": (b"HTTP", r"Unexpected handshake magic b'HTTP' from 127.0.0.1:\d+"),
    "another version": (b"ECHO\x02", r"Unsupported echo wire version 2 from 127.0.0.1:\d+"),
    "version 0": (b"ECHO\x00", r"Unsupported echo wire version 0"),
    "another tree": (greeting({"x": np.zeros(3, np.int8)}), r"Server spec mismatch"),
    "no leaves": (b"ECHO\x01\x00\x00\x00\x00", r"Server spec mismatch"),
}


@pytest.mark.parametrize("sent", BAD_GREETINGS.values(), ids=BAD_GREETINGS)
@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_a_client_names_what_a_strange_server_says(
    library: ModuleType, sent: tuple[bytes, str]
) -> None:
    data, message = sent
    with _strange_server(data) as port:
        with pytest.raises(ValueError, match=message):
            library.TcpClient("127.0.0.1", port, ARRAYS)


@pytest.mark.parametrize(
    "data",
    [
        b"ECHO\x01" + b"\xff" * 4 + b"\x01\x00\x00\x00" * 1000,
        b"ECHO\x01\x02\x00\x00\x00" + b"\x04\x00\x00\x00" + b"\xff" * 4000,
        b"ECHO\x01\x02\x00\x00\x00" + b"\xff" * 4 + b"\x00\x00\x00\x00" + b"\x7f" * 4000,
        b"SHME" + b"\xff" * 4000,
        b"SHME\x01\x00" + b"\x00" * 48 + b"\xff" * 4,
    ],
    ids=["2^32-1 leaves", "2^32-1 axes", "a huge item", "the other wire", "4 GB of a hello"],
)
def test_greetings_of_absurd_sizes_are_refused_at_once(data: bytes) -> None:
    with _strange_server(data, keep_open=True) as port:
        with pytest.raises((ValueError, ConnectionError)):
            Worker(shm_echo.TcpClient, "127.0.0.1", port, ARRAYS, connect_timeout=1.0).result()


def test_a_server_that_accepts_and_says_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TimeoutError, match=f"127.0.0.1:{port}"):
            shm_echo.TcpClient("127.0.0.1", port, ARRAYS, connect_timeout=0.1)


def test_a_server_that_says_a_byte_now_and_then_is_a_timeout_too() -> None:
    def trickle(connection: socket.socket) -> None:
        for byte in greeting(ARRAYS)[:-1]:
            connection.sendall(bytes([byte]))
        connection.recv(1)  # until the client has left

    with fake_server(trickle) as port:
        with pytest.raises(TimeoutError):
            shm_echo.TcpClient("127.0.0.1", port, ARRAYS, connect_timeout=0.2)


def _strange_server(data: bytes, keep_open: bool = False) -> Any:
    def serve(connection: socket.socket) -> None:
        try:
            connection.sendall(data)
            if keep_open:
                while connection.recv(4096):
                    pass
        except OSError:  # the client has left
            pass

    return fake_server(serve)
