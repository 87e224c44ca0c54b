"""Attacks on sessions on threads and in processes: both have the same outcome.

The deadline of this server for a message that has begun is less than half a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shm_echo.mechestim import wire
from tests.support.assert_alive import assert_unharmed
from tests.support.folders import socket_folder
from tests.support.impatient import STALL_S, ImpatientServer
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

CEILING = 10**6


@pytest.fixture(scope="module", params=["threads", "process"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with socket_folder() as folder:
        options = ("--isolation", request.param, "--max-flop-budget", str(CEILING))
        running = ImpatientServer(folder, *options, "--max-bytes", "64M")
        try:
            yield running
            assert running.alive, running.log.read_text()
        finally:
            running.close()


@pytest.fixture(autouse=True)
def server_stays_alive(server: ServerProcess) -> Iterator[None]:
    with assert_unharmed(server):
        yield


def spent(server: ServerProcess) -> int:
    return sum(one["flops"] for one in server.state()["principals"])


def random_bytes(client: RawClient) -> None:
    client.send(os.urandom(4) + os.urandom(500))


def largest_length(client: RawClient) -> None:
    client.send(struct.pack("<I", 0xFFFFFFFF))


def depth_of_a_million(client: RawClient) -> None:
    client.frame(b"\x91" * 10**6 + b"\xc0")


def extensions_of_extensions(client: RawClient) -> None:
    inner = b"\xc0"
    for _ in range(300):
        inner = msgpack.packb(msgpack.ExtType(wire.TUPLE, b"\x91" + inner))
    client.frame(b"\x82\xa2id\x01\xa1a\x91" + inner)


def half_a_frame(client: RawClient) -> None:
    client.send(struct.pack("<I", 1000) + b"\x81")


def a_byte_now_and_then(client: RawClient) -> None:
    client.send(struct.pack("<I", 100_000))
    client.sock.settimeout(STALL_S / 10)
    for _ in range(1000):
        client.send(b"x")
        with contextlib.suppress(TimeoutError):
            if client.receive_message() is not None or client.sock.recv(1) == b"":
                return
    pytest.fail("it was given more and more time")


def no_answer_taken(client: RawClient) -> None:
    x = handle_of(client.result("zeros", 10**5))
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for number in range(5):
        client.send_message({"id": number, "op": "session.fetch", "a": [x]})
    wait_until(lambda: hung_up(client.sock), "the session has ended")


def hung_up(sock: socket.socket) -> bool:
    """Return True if the other end has closed the connection; read no message."""
    try:
        sock.send(b"\x00", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def gone_in_a_callback(client: RawClient) -> None:
    client.send_message(
        {"id": 1, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, [1.0]], "b": 0}
    )
    message = client.receive_message()
    assert message is not None
    assert "call" in message


def an_array_that_will_not_fit(client: RawClient) -> None:
    for op, args in (("bincount", ([2**34],)), ("zeros", (2**40,)), ("ones", ([2**63],))):
        client.error(op, *args)


ATTACKS: list[Callable[[RawClient], None]] = [
    random_bytes,
    largest_length,
    depth_of_a_million,
    extensions_of_extensions,
    half_a_frame,
    a_byte_now_and_then,
    no_answer_taken,
    gone_in_a_callback,
    an_array_that_will_not_fit,
]
ENDED = {largest_length, depth_of_a_million, extensions_of_extensions, half_a_frame}


@pytest.mark.parametrize("attack", ATTACKS, ids=[one.__name__ for one in ATTACKS])
def test_an_attack_leaks_nothing(
    server: ServerProcess, attack: Callable[[RawClient], None]
) -> None:
    with RawClient(server.path) as client:
        client.result("add", 1.0, 2.0)
        attack(client)
        if attack in ENDED:
            assert client.closed_reason() is not None


def test_exactly_one_of_sixty_four_simultaneous_requests_gets_the_last_flops(
    server: ServerProcess,
) -> None:
    clients = [RawClient(server.path) for _ in range(4)]
    left = CEILING - spent(server)
    size = left // 2 + 1
    together = threading.Barrier(len(clients))

    def attempts(client: RawClient) -> int:
        x = handle_of(client.result("zeros", size))
        together.wait(WATCHDOG)
        for number in range(100, 116):
            client.send_message({"id": number, "op": "negative", "a": [x], "b": 0})
        replies = [client.receive_message() for _ in range(16)]
        return sum(reply is not None and "r" in reply for reply in replies)

    try:
        assert sum(w.result() for w in [Worker(attempts, client) for client in clients]) == 1
        assert spent(server) == CEILING - left + size
    finally:
        for client in clients:
            client.close()


def test_a_killed_client_leaks_nothing(server: ServerProcess) -> None:
    with start(be_in_the_middle, server.path) as child:
        child.expect("half a frame is sent")
        assert child.end() == -signal.SIGKILL


def be_in_the_middle(pipe: Any, path: Path) -> None:
    client = RawClient(path)
    client.result("zeros", 10**6)
    client.send(struct.pack("<I", 1000) + b"\x81")
    pipe.send("half a frame is sent")
    pipe.recv()
