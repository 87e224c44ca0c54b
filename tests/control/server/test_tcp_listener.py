"""A control server at a TCP port: it serves the holders of a token, and no other client."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.control.address import TcpAddress, parse_tcp
from shm_echo.control.client.socket_connect import connect_tcp
from shm_echo.control.protocol.frames import MAX_FRAME
from shm_echo.control.protocol.messages import PROTOCOL
from shm_echo.control.server.control_server import ControlServer, ServerLimits
from shm_echo.control.server.service import Session
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import AddressError, AddressInUseError, ServerNotFoundError
from tests.control.harness import (
    WATCHDOG,
    Program,
    RawClient,
    Recorder,
    descriptor_links,
    eventually,
    frame,
    open_fds,
)

SECRET = "correct-horse-battery"
TOKENS = Tokens({"ann": SECRET})


class Guest(Recorder):
    """A service that holders of a token may open."""

    allows_unwatched_peers = True


def connect_raw(url: str) -> RawClient:
    """A client of a port that can send any bytes."""
    address = parse_tcp(url)
    assert address is not None
    return RawClient(socket.create_connection((address.host, address.port), WATCHDOG))


def enter(client: RawClient, token: str = SECRET, service: str = "test") -> dict[str, Any] | None:
    client.say(type="hello", protocol=PROTOCOL, package="0", service=service, token=token)
    return client.hear()


@pytest.fixture
def service() -> Guest:
    return Guest()


@pytest.fixture
def limits() -> ServerLimits:
    return ServerLimits()


@pytest.fixture
def server(service: Guest, limits: ServerLimits) -> Iterator[ControlServer]:
    with ControlServer("tcp://127.0.0.1:0", {"test": service}, limits, tokens=TOKENS) as running:
        yield running


def with_limits(**values: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("limits", [ServerLimits(**values)], ids=[""])  # type: ignore[arg-type]


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:5000", "127.0.0.1", 5000),
        ("tcp://localhost:0", "localhost", 0),
        ("tcp://[::1]:65535", "::1", 65535),
        ("tcp://a-b.example.org:80", "a-b.example.org", 80),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = parse_tcp(text)
    assert address == TcpAddress(text, host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tcp://", "there is no port: expected tcp://HOST:PORT"),
        ("tcp://host", "there is no port: expected tcp://HOST:PORT"),
        ("tcp://[::1]", "there is no port: expected tcp://HOST:PORT"),
        ("tcp://host:", "port '' is not a number from 0 to 65535"),
        ("tcp://host:65536", "port '65536' is not a number from 0 to 65535"),
        ("tcp://host:80000", "port '80000' is not a number from 0 to 65535"),
        ("tcp://host:-1", "port '-1' is not a number from 0 to 65535"),
        ("tcp://host:abc", "port 'abc' is not a number from 0 to 65535"),
        ("tcp://host:8_0", "port '8_0' is not a number"),
        ("tcp://host:80/x", "port '80/x' is not a number"),
        ("tcp://host:\N{SUPERSCRIPT TWO}", "is not a number"),
        ("tcp://:80", "there is no host: expected tcp://HOST:PORT"),
        ("tcp://::1:80", r"host '::1' is not an IPv6 address in brackets, such as \[::1\]"),
        ("tcp://ho st:80", "host 'ho st' is not a name or an IP address"),
        ("tcp://u@h:80", "host 'u@h' is not a name or an IP address"),
    ],
)
def test_an_address_without_a_valid_host_or_port_is_refused_by_that_part(
    text: str, problem: str
) -> None:
    with pytest.raises(AddressError, match=problem):
        parse_tcp(text)


def test_port_0_is_for_servers_only() -> None:
    assert parse_tcp("tcp://host:1", min_port=1) == TcpAddress("tcp://host:1", "host", 1)
    with pytest.raises(AddressError, match="port '0' is not a number from 1 to 65535$"):
        parse_tcp("tcp://host:0", min_port=1)


def test_a_malformed_host_is_named(service: Guest) -> None:
    server = ControlServer("tcp://..:0", {"test": service}, tokens=TOKENS)
    with pytest.raises(AddressError, match=r"'tcp://..:0': there is no host \.\.: "):
        server.start()


@pytest.mark.parametrize("text", ["name", "ipc:///a/b", "fd://3", "tcp"])
def test_addresses_of_other_schemes_are_not_parsed(text: str) -> None:
    assert parse_tcp(text) is None


# ---------------------------------------------------------------- listening


def test_a_port_without_a_token_is_refused_before_anything_is_bound(service: Guest) -> None:
    before = open_fds()
    with pytest.raises(AddressError, match="no token was given"):
        ControlServer("tcp://127.0.0.1:0", {"test": service})
    assert open_fds() == before


def test_a_token_at_a_socket_file_is_refused(service: Guest, address: str) -> None:
    with pytest.raises(AddressError, match="tokens are for tcp://"):
        ControlServer(address, {"test": service}, tokens=TOKENS)


def test_a_service_that_is_not_for_strangers_is_not_offered_at_a_port(service: Guest) -> None:
    services = {"test": service, "ring": Recorder("ring")}
    with pytest.raises(ValueError, match="the service 'ring' is not for holders of a token"):
        ControlServer("tcp://127.0.0.1:0", services, tokens=TOKENS)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_other_hosts_must_be_let_in_on_purpose(service: Guest, host: str) -> None:
    before = open_fds()
    server = ControlServer(f"tcp://{host}:0", {"test": service}, tokens=TOKENS)
    with pytest.raises(AddressError, match=r"can be reached from other hosts.*--allow-remote"):
        server.start()
    assert open_fds() == before


def test_other_hosts_may_be_let_in(service: Guest) -> None:
    server = ControlServer("tcp://0.0.0.0:0", {"test": service}, tokens=TOKENS, allow_remote=True)
    with server, connect_raw(server.url.replace("0.0.0.0", "127.0.0.1")) as client:
        answer = enter(client)
        assert answer is not None
        assert answer["type"] == "welcome"


def test_the_free_port_that_was_taken_is_in_the_url_and_can_be_taken_once(
    server: ControlServer, service: Guest
) -> None:
    assert server.url.startswith("tcp://127.0.0.1:")
    assert not server.url.endswith(":0")
    second = ControlServer(server.url, {"test": service}, tokens=TOKENS)
    with pytest.raises(AddressInUseError, match="is already served by another process"):
        second.start()


def test_a_port_can_be_served_again_at_once(server: ControlServer, service: Guest) -> None:
    with connect_raw(server.url) as client:
        enter(client)
        server.close()  # this end closes first, and its kernel remembers the connection
        assert client.hear() == {"type": "closed"}
    with ControlServer(server.url, {"test": service}, tokens=TOKENS) as again:
        assert again.url == server.url


def test_a_host_that_is_not_here_is_refused(
    service: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # A real name server may take its time, or have an answer for everything.
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    server = ControlServer("tcp://no-such-host.invalid:0", {"test": service}, tokens=TOKENS)
    with pytest.raises(AddressError, match=r"there is no host no-such-host\.invalid"):
        server.start()


def test_a_port_without_a_listener_is_a_clear_error() -> None:
    with socket.socket() as taken:  # so that no other process listens there meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ServerNotFoundError, match=f"no server at tcp://127.0.0.1:{port}: "):
            connect_tcp(TcpAddress("", "127.0.0.1", port), WATCHDOG)


def test_the_loopback_address_of_ipv6_can_be_served(service: Guest) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server = ControlServer("tcp://[::1]:0", {"test": service}, tokens=TOKENS)
    with server, connect_raw(server.url) as client:
        enter(client)
        assert service.sessions[0].peer.remote_address.startswith("[::1]:")


# ---------------------------------------------------------------- talking


def test_a_holder_is_served_and_known_by_name(server: ControlServer, service: Guest) -> None:
    with connect_raw(server.url) as client:
        answer = enter(client)
        assert answer is not None
        assert (answer["type"], answer["info"]) == ("welcome", {"greeting": "hi"})
        client.say(type="request", id=1, op="echo", args={"data": b"x" * (MAX_FRAME - 100)})
        reply = client.hear()
        assert reply is not None
        assert reply["type"] == "reply"
        (session,) = service.sessions
        assert (session.holder, session.peer.pid, session.watch) == ("ann", 0, False)


@pytest.mark.parametrize("token", ["", "wrong-horse-battery", SECRET[:-1]])
def test_a_client_without_a_valid_token_is_not_served(
    server: ControlServer, service: Guest, token: str
) -> None:
    with connect_raw(server.url) as client:
        answer = enter(client, token, service="no such service")
        assert answer is not None
        assert (answer["type"], answer["code"], answer["fields"]) == ("refused", "token", {})
        assert client.hear() is None
    assert not service.calls_of("open")


def test_requests_before_the_welcome_are_not_handled(server: ControlServer, service: Guest) -> None:
    with connect_raw(server.url) as client:
        client.send(frame(type="request", id=1, op="echo", args={}))
        assert client.hear() is None
    with connect_raw(server.url) as client:
        hello = frame(type="hello", protocol=PROTOCOL, package="0", service="test")
        client.send(hello + frame(type="request", id=1, op="echo", args={}))
        answer = client.hear()
        assert answer is not None
        assert answer["code"] == "token"
    assert not service.calls_of("open")
    assert not service.calls_of("request")


@with_limits(hello_timeout=0.3)
@pytest.mark.parametrize("part", [0, 1, 20])
def test_a_client_that_shows_no_token_in_time_is_dropped(server: ControlServer, part: int) -> None:
    hello = frame(type="hello", protocol=PROTOCOL, package="0", service="test", token=SECRET)
    with connect_raw(server.url) as client:
        client.send(hello[:part])
        assert client.hear() is None


@pytest.mark.parametrize("size", [4097, 1 << 20, 2**32 - 1])
def test_a_client_that_has_shown_no_token_cannot_send_long_messages(
    server: ControlServer, size: int
) -> None:
    with connect_raw(server.url) as client:
        client.send(struct.pack("<I", size))
        assert client.hear() is None


@with_limits(max_clients=4, hello_timeout=0.3)
def test_silent_clients_are_dropped_and_make_room(server: ControlServer) -> None:
    crowd = [connect_raw(server.url) for _ in range(40)]
    try:
        for client in crowd:
            answer = client.hear()
            assert answer is None or answer["code"] == "full"
    finally:
        for client in crowd:
            client.close()

    def welcomed() -> bool:
        with connect_raw(server.url) as client:
            answer = enter(client)  # None if it was too slow for the limit of this test
            return answer is not None and answer["type"] == "welcome"

    eventually(welcomed)


@with_limits(max_sessions=1)
def test_a_session_ends_with_its_connection(server: ControlServer, service: Guest) -> None:
    for number in range(1, 4):
        with connect_raw(server.url) as client:
            answer = enter(client)
            assert answer is not None
            assert answer["type"] == "welcome", answer
        service.wait_for("hangup", number)
        assert not service.calls_of("died")


def test_no_descriptor_is_left(server: ControlServer, service: Guest) -> None:
    before = open_fds()
    for token in (SECRET, "", SECRET):
        with connect_raw(server.url) as client:
            enter(client, token)
    eventually(lambda: open_fds() <= before)


def test_answers_are_not_held_back_to_be_collected(service: Guest) -> None:
    taken: list[socket.socket] = []

    class Taking(Guest):
        def take_over(self, session: Session, sock: socket.socket) -> None:
            taken.append(sock)

    with ControlServer("tcp://127.0.0.1:0", {"test": Taking()}, tokens=TOKENS) as server:
        address = server.address
        assert isinstance(address, TcpAddress)
        with RawClient(connect_tcp(address, WATCHDOG)) as client:
            enter(client)
            eventually(lambda: bool(taken))
            for sock in (client.sock, taken[0]):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            taken[0].close()


def test_no_log_and_no_error_shows_a_token(
    server: ControlServer, service: Guest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "shm_echo.control")
    service.failure = RuntimeError("the service fails")
    for token in (SECRET, "wrong-horse-battery"):
        with connect_raw(server.url) as client:
            assert enter(client, token) is not None
            assert client.hear() is None
    with connect_raw(server.url) as client:
        client.send(frame(type="hello", protocol=PROTOCOL, package=SECRET, service=7, token=SECRET))
        assert client.hear() is None
    server.close()
    assert "failed to open a session" in caplog.text
    assert SECRET not in caplog.text
    assert "wrong-horse-battery" not in caplog.text


def test_a_forked_child_of_the_server_keeps_no_socket_of_the_port() -> None:
    script = """
import os, signal, sys
from shm_echo.control.server.control_server import ControlServer
from tests.control.server.test_tcp_listener import TOKENS, Guest
server = ControlServer(sys.argv[1], {"test": Guest()}, tokens=TOKENS)
server.start()
print(server.url, flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    for number in (0, 1):
        os.close(number)
    signal.pause()
print(child, flush=True)
sys.stdin.readline()
os.kill(child, signal.SIGKILL)
"""
    with Program(script, "tcp://127.0.0.1:0") as program:
        with connect_raw(program.hear()) as client:
            enter(client)
            program.say()
            child = int(program.hear())
            # The parent may be the first to come back from the fork.
            eventually(lambda: not any("socket:" in link for link in descriptor_links(child)))
        program.say()
        assert program.wait() == 0
