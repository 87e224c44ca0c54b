"""Clients that misbehave: each is answered or dropped, and the others are not affected.

The deadlines are short here, so that nothing has to be waited for long; that they pass at all is
what is tested, never how fast.
"""

from __future__ import annotations

import array
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.protocol.frames import MAX_FRAME
from shm_echo.control.protocol.messages import PROTOCOL
from shm_echo.control.server.control_server import ControlServer, ServerLimits
from shm_echo.errors import RefusedError
from tests.control.harness import (
    RawClient,
    Recorder,
    eventually,
    frame,
    open_fds,
)


def answers_buffered() -> int:
    """Return the number of largest answers that exceeds a socket's buffer by one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        return 1 + ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // (MAX_FRAME - 100)


BUFFERED = answers_buffered()  # 1 on most machines


@pytest.fixture
def limits() -> ServerLimits:
    return ServerLimits()


@pytest.fixture
def server(address: str, service: Recorder, limits: ServerLimits) -> Iterator[ControlServer]:
    service.watch = False
    with ControlServer(address, {"test": service}, limits) as running:
        yield running


def with_limits(**values: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("limits", [ServerLimits(**values)], ids=[""])  # type: ignore[arg-type]


@pytest.fixture
def bystander(server: ControlServer, address: str) -> Iterator[ClientConnection]:
    """A client that must be served before, while and after others misbehave."""
    # With time to try again, where the limits of a test are tight for a busy machine.
    with connect(address, "test", 20.0) as connection:
        connection.request("echo", {})
        yield connection
        connection.request("echo", {})


@with_limits(hello_timeout=0.3)
def test_a_client_that_never_says_hello_is_dropped(bystander: ClientConnection, path: str) -> None:
    with RawClient(path) as client:
        assert client.hear() is None


@with_limits(hello_timeout=0.3)
def test_half_a_hello_is_not_a_hello(bystander: ClientConnection, path: str) -> None:
    with RawClient(path) as client:
        client.send(frame(type="hello", protocol=PROTOCOL, package="0", service="test")[:-1])
        assert client.hear() is None


@with_limits(frame_timeout=0.3)
@pytest.mark.parametrize("part", [b"\x10", b"\x10\x00\x00\x00", b"\x10\x00\x00\x00\x81"])
def test_half_a_message_is_waited_for_only_so_long(
    bystander: ClientConnection, service: Recorder, path: str, part: bytes
) -> None:
    with RawClient(path) as client:
        client.hello()
        client.send(part)
        assert client.hear() is None
        service.wait_for("hangup")


@with_limits(frame_timeout=0.3)
def test_the_time_of_a_message_starts_with_its_first_byte_even_behind_another(
    bystander: ClientConnection, path: str
) -> None:
    with RawClient(path) as client:
        hello = frame(type="hello", protocol=PROTOCOL, package="0", service="test")
        client.send(hello + frame(type="request", id=1, op="echo", args={}) + b"\x10\x00")
        answers = list(iter(client.hear, None))
    assert [answer["type"] for answer in answers] == ["welcome", "reply"]


@with_limits(frame_timeout=0.3)
def test_trickling_bytes_do_not_buy_time(bystander: ClientConnection, path: str) -> None:
    stop = threading.Event()

    def trickle(client: RawClient) -> None:
        while not stop.wait(0.02):
            try:
                client.send(b"\x00")
            except OSError:
                return

    with RawClient(path) as client:
        client.hello()
        client.send(struct.pack("<I", MAX_FRAME))
        thread = threading.Thread(target=trickle, args=[client])
        thread.start()
        assert client.hear() is None
        stop.set()
        thread.join()


@with_limits(frame_timeout=0.3, write_timeout=0.3)
def test_a_client_that_is_silent_between_messages_stays(
    bystander: ClientConnection, service: Recorder, path: str
) -> None:
    with RawClient(path) as client:
        client.hello()
        client.say(type="request", id=1, op="echo", args={})
        assert client.hear() is not None
        # Several times as long as every deadline, counted by the server itself.
        service.wait_for("tick", len(service.calls_of("tick")) + 4)
        client.say(type="request", id=2, op="echo", args={})
        assert client.hear() is not None


@with_limits(write_timeout=0.3)
def test_a_client_that_takes_no_answers_is_dropped(
    bystander: ClientConnection, service: Recorder, path: str
) -> None:
    with RawClient(path) as client:
        client.hello()
        for number in range(BUFFERED):
            client.say(type="request", id=number, op="big", args={"size": MAX_FRAME - 100})
        service.wait_for("hangup")


class LeapingClock:
    """The clock of a loop whose thread did not run for a while."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def begin_hello(client: RawClient) -> Callable[[], bool]:
    hello = frame(type="hello", protocol=PROTOCOL, package="0", service="test")
    client.send(hello[:5])

    def finish() -> bool:
        client.send(hello[5:])
        return (client.hear() or {}).get("type") == "welcome"

    return finish


def begin_request(client: RawClient) -> Callable[[], bool]:
    client.hello()
    request = frame(type="request", id=1, op="echo", args={})
    client.send(request[:5])

    def finish() -> bool:
        client.send(request[5:])
        return (client.hear() or {}).get("type") == "reply"

    return finish


def leave_answers_unread(client: RawClient) -> Callable[[], bool]:
    client.hello()
    for number in range(BUFFERED):
        client.say(type="request", id=number, op="big", args={"size": MAX_FRAME - 100})

    def finish() -> bool:
        answers = [client.hear() or {} for _ in range(BUFFERED)]
        return [answer.get("id") for answer in answers] == list(range(BUFFERED))

    return finish


@pytest.mark.parametrize("begin", [begin_hello, begin_request, leave_answers_unread])
def test_time_in_which_the_server_did_not_run_counts_against_no_client(
    bystander: ClientConnection,
    service: Recorder,
    path: str,
    begin: Callable[[RawClient], Callable[[], bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A learner may hold the interpreter lock for longer than any deadline."""
    clock = LeapingClock()
    monkeypatch.setattr("shm_echo.control.server.event_loop.time", clock)

    def let_the_loop_run() -> None:
        service.wait_for("tick", len(service.calls_of("tick")) + 2)

    with RawClient(path) as client:
        finish = begin(client)
        let_the_loop_run()  # which has accepted the client and read what it sent
        clock.ahead = 1000.0
        let_the_loop_run()
        assert finish()


def test_answers_are_not_piled_up_for_a_client_that_does_not_read(
    address: str, path: str, service: Recorder
) -> None:
    with ControlServer(address, {"test": service}), RawClient(path) as client:
        client.hello()
        for number in range(BUFFERED + 4):
            client.say(type="request", id=number, op="big", args={"size": MAX_FRAME - 100})
        # The next request waits until the answer that is not in the buffer has been taken.
        service.wait_for("tick", len(service.calls_of("tick")) + 2)
        assert 1 <= len(service.calls_of("request")) <= BUFFERED
        for number in range(BUFFERED + 4):
            answer = client.hear()
            assert answer is not None
            assert (answer["id"], len(answer["result"]["data"])) == (number, MAX_FRAME - 100)


def test_requests_that_come_all_at_once_are_answered_one_after_the_other(
    bystander: ClientConnection, path: str
) -> None:
    with RawClient(path) as client:
        client.send(
            frame(type="hello", protocol=PROTOCOL, package="0", service="test")
            + b"".join(frame(type="request", id=n, op="echo", args={}) for n in range(300))
            + frame(type="goodbye")
        )
        answers = list(iter(client.hear, None))
    assert [answer["type"] for answer in answers] == ["welcome"] + ["reply"] * 300 + ["closed"]
    assert [answer["id"] for answer in answers[1:-1]] == list(range(300))


BAD_BYTES = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an enormous length": b"\xff\xff\xff\xff",
    "600 MiB": struct.pack("<I", 600 << 20),
    "an empty frame": b"\x00\x00\x00\x00",
    "no msgpack": struct.pack("<I", 3) + b"\xc1\xc1\xc1",
    "no message": frame(type="nonsense"),
    "a message of the server": frame(type="closed"),
    "a request of the wrong shape": frame(type="request", id="1", op="x", args={}),
    "deep nesting": struct.pack("<I", 100_003) + b"\x81\xa1a" + b"\x91" * 100_000,
}


@pytest.mark.parametrize("greeted", [False, True], ids=["instead of hello", "after hello"])
@pytest.mark.parametrize("name", BAD_BYTES)
def test_a_client_that_breaks_the_protocol_is_dropped(
    bystander: ClientConnection, path: str, name: str, greeted: bool
) -> None:
    with RawClient(path) as client:
        if greeted:
            client.hello()
        client.send(BAD_BYTES[name])
        assert client.hear() is None


def test_a_second_hello_is_out_of_turn(bystander: ClientConnection, path: str) -> None:
    with RawClient(path) as client:
        client.hello()
        client.say(type="hello", protocol=PROTOCOL, package="0", service="test")
        assert client.hear() is None


def test_another_protocol_is_answered_with_ours(bystander: ClientConnection, path: str) -> None:
    with RawClient(path) as client:
        client.say(type="hello", protocol=PROTOCOL + 1, wants="something new")
        answer = client.hear()
        assert answer is not None
        assert (answer["type"], answer["code"]) == ("refused", "version")
        assert answer["fields"]["protocol"] == PROTOCOL
        assert client.hear() is None


def test_random_bytes_never_affect_other_clients(bystander: ClientConnection, path: str) -> None:
    generator = random.Random(7)
    for _ in range(100):
        with RawClient(path) as client:
            if generator.random() < 0.5:
                client.hello()
            noise = generator.randbytes(generator.randrange(1, 200))
            client.send(struct.pack("<I", len(noise)) * generator.randrange(2) + noise)
    bystander.request("echo", {})


def test_descriptors_from_a_client_are_never_taken(bystander: ClientConnection, path: str) -> None:
    fds = array.array("i", [0] * 200)
    before = open_fds()
    for _ in range(50):
        with RawClient(path) as client:
            client.sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            assert client.hear() is None
    bystander.request("echo", {})
    eventually(lambda: open_fds() <= before)


def test_more_clients_than_allowed_are_refused_and_room_comes_back(address: str) -> None:
    with ControlServer(address, {"test": Recorder()}, ServerLimits(max_clients=3)):
        first = [connect(address, "test") for _ in range(3)]
        with pytest.raises(RefusedError, match="as many clients as it takes") as caught:
            connect(address, "test")
        assert caught.value.code == "full"
        for connection in first:
            connection.goodbye()
        connect(address, "test").goodbye()


def test_sessions_that_wait_for_a_process_to_end_count(address: str, path: str) -> None:
    service = Recorder()
    with ControlServer(address, {"test": service}, ServerLimits(max_sessions=2)):
        for _ in range(2):
            with RawClient(path) as client:
                client.hello()
        service.wait_for("hangup", 2)
        with pytest.raises(RefusedError, match="no room for another session"):
            connect(address, "test")


def test_many_connections_leave_no_descriptor_behind(
    server: ControlServer, bystander: ClientConnection, path: str, service: Recorder
) -> None:
    before = open_fds()
    for number in range(300):
        with RawClient(path) as client:
            if number % 3 == 0:
                client.hello()
            elif number % 3 == 1:
                client.send(b"\x10\x00")
    service.wait_for("hangup", 100)
    bystander.request("echo", {})
    eventually(lambda: open_fds() <= before)


@with_limits(hello_timeout=0.5)
def test_a_hundred_half_messages_do_not_delay_other_clients(
    bystander: ClientConnection, path: str
) -> None:
    clients = [RawClient(path) for _ in range(100)]
    for client in clients:
        client.send(b"\x10\x00\x00\x00\x81")
    for _ in range(20):
        bystander.request("echo", {})
    for client in clients:
        assert client.hear() is None
        client.close()
