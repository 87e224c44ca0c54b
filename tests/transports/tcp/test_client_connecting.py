"""The way of a TcpClient to its server, and every argument that is refused."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ServerNotFoundError, TcpClient, TcpTransport
from shm_echo.errors import (
    EchoWireError,
    HandshakeTimeoutError,
    ProtocolError,
    RefusedError,
    SpecMismatchError,
)
from shm_echo.transports.tcp import client_connect
from shm_echo.transports.tcp.client_base import ClientBase
from shm_echo.transports.tcp.client_opening import Entered
from tests.support.ack_server import ack_server, pair
from tests.support.numbered import EXAMPLE, numbered
from tests.support.tcp_ends import fake_server, greeting, numbered_bytes
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

GREETING = greeting(EXAMPLE)


@contextlib.contextmanager
def unused_port(host: str = "127.0.0.1") -> Iterator[int]:
    """Give a port at which nobody listens, and that nobody else gets."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        yield sock.getsockname()[1]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"host": 5}, TypeError, "host must be text, not int"),
        ({"host": ""}, ValueError, "host must be a name or an address, not ''"),
        ({"host": "a\0b"}, ValueError, "host must be a name or an address"),
        ({"port": -1}, ValueError, "port must be at least 0, not -1"),
        ({"port": 65536}, ValueError, "port must be at most 65535, not 65536"),
        ({"port": 0}, ValueError, "port must be the one at which the server listens, not 0"),
        ({"port": "80"}, TypeError, "port must be an int, not str"),
        ({"max_inflight_msgs": 0}, ValueError, "max_inflight_msgs must be at least 1, not 0"),
        ({"max_inflight_msgs": 1.5}, TypeError, "max_inflight_msgs must be an int, not float"),
        ({"connect_timeout": -1}, ValueError, "connect_timeout must be None or a number >= 0"),
        ({"connect_timeout": "5"}, TypeError, "connect_timeout must be None or a number"),
        ({"dial_timeout": -1}, ValueError, "dial_timeout must be None or a number >= 0"),
        ({"dead_after": 0}, ValueError, "dead_after must be a number > 0, not 0"),
        ({"cast": "unsafe"}, ValueError, "cast must be 'exact' or 'same_kind', not 'unsafe'"),
        ({"wait_until": "sent"}, ValueError, "wait_until must be 'taken' or 'stored'"),
        ({"role": "learner"}, ValueError, "role must be 'producer' or 'reader'"),
        ({"run_id": ""}, ValueError, "run_id must have 1 to 64 characters"),
        ({"producer_id": True}, TypeError, "producer_id must be text or None, not bool"),
        ({"token": "short"}, ValueError, "token= has 5 characters"),
        ({"token": b"x" * 20}, TypeError, "token= must be text or a path, not bytes"),
        ({"token": "/etc/shm-echo-token"}, ValueError, "token= looks like the path of a file"),
        ({"token": Path("/no/file")}, ValueError, "token=/no/file: No such file"),
        ({"tls": "yes"}, TypeError, "tls must be True or an ssl.SSLContext"),
        ({"instance_id": b"x"}, ValueError, "instance_id must have 16 bytes, not 1"),
        ({"instance_id": "x"}, TypeError, "instance_id must be bytes or None"),
        ({"data_sample": {"x": 1.5}}, TypeError, r"\['x'\]: an example leaf is a NumPy array"),
        ({"data_sample": {"x": np.zeros(0)}}, ValueError, "the example has 0 bytes"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(
    arguments: dict[str, Any], kind: type[Exception], text: str
) -> None:
    given = {"host": "127.0.0.1", "port": 1, "data_sample": EXAMPLE, **arguments}
    with pytest.raises(kind, match=text):
        TcpClient(**given)


BEYOND_ECHO: dict[str, dict[str, Any]] = {
    "publishes=": {"publishes": np.zeros(2)},
    "run_id=": {"run_id": "tuesday"},
    "producer_id=": {"producer_id": 3},
    'wait_until="taken"': {"wait_until": "taken"},
}


@pytest.mark.parametrize("name", BEYOND_ECHO)
def test_what_echos_wire_does_not_have_is_refused_by_name(name: str) -> None:
    with fake_server(lambda connection: connection.sendall(GREETING)) as port:
        with pytest.raises(ValueError, match=f"^{name} is not possible with 127.0.0.1:{port}: .*"):
            TcpClient("127.0.0.1", port, EXAMPLE, **BEYOND_ECHO[name])


def test_waiting_for_the_learner_is_refused_on_echos_wire() -> None:
    with pair(EXAMPLE) as (_, client):
        with pytest.raises(ValueError, match='^until="taken" is not possible .* echo\'s wire'):
            client.wait(until="taken")
        with pytest.raises(RuntimeError, match="publishes nothing: it speaks echo's wire"):
            client.latest()
        with pytest.raises(RuntimeError, match="publishes nothing: it speaks echo's wire"):
            client.wait_for(1)


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_token_is_not_risked_on_echos_wire(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    if way == "argument":
        options["token"] = "correct-horse-battery"
    else:
        monkeypatch.setenv("SHM_ECHO_TOKEN", "correct-horse-battery")
    with fake_server(lambda connection: connection.sendall(GREETING)) as port:
        with pytest.raises(
            RefusedError,
            match=r"no tokens, .* the one from (token=|SHM_ECHO_TOKEN): .* TcpTransport token=$",
        ):
            TcpClient("127.0.0.1", port, EXAMPLE, **options)


def test_a_reader_of_echos_wire_is_refused_by_name() -> None:
    with fake_server(lambda connection: connection.sendall(GREETING)) as port:
        with pytest.raises(ValueError, match=r'^role="reader" is not possible .* wire="shm"$'):
            TcpClient("127.0.0.1", port, role="reader")


def test_a_server_of_echos_wire_stores_no_bytes_of_tls() -> None:
    with Server(EXAMPLE, 1, TcpTransport(0)) as server:
        with pytest.raises(ProtocolError, match="its server was made without tls="):
            TcpClient("127.0.0.1", server.port, EXAMPLE, tls=True)
        with TcpClient("127.0.0.1", server.port, EXAMPLE) as client:
            client.send(numbered(1))
            client.wait(WATCHDOG)
            sample = server.sample(WATCHDOG)
            assert sample is not None
            assert sample.info.samples_inserted_total == 1


def test_echos_wire_needs_an_example() -> None:
    with fake_server(lambda connection: connection.sendall(GREETING)) as port:
        with pytest.raises(ValueError, match="echo's wire, which does not describe dtypes"):
            TcpClient("127.0.0.1", port)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_names_and_addresses_of_ipv4(host: str) -> None:
    with ack_server(EXAMPLE) as server:
        server.listener.close()
        server.listener = socket.create_server(("0.0.0.0", 0))
        greeter = Worker(server.greet)
        with TcpClient(host, server.listener.getsockname()[1], EXAMPLE) as client:
            greeter.result()
            client.send(numbered(1))
            assert server.read() == numbered_bytes([1])
            server.ack()
            assert client.address.startswith(f"{host}:")
            assert client.wire == "echo"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "learner"])
def test_ipv6_and_a_name_whose_first_address_nobody_serves(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = client_connect._lookup

    def both(target: Any, flags: int) -> Any:
        if target.host != "learner":
            return lookup(target, flags)
        ends = (("127.0.0.1", port), ("::1", port, 0, 0))
        return list(zip((socket.AF_INET, socket.AF_INET6), ends, strict=True))

    monkeypatch.setattr(client_connect, "_lookup", both)
    with ack_server(EXAMPLE) as server:
        server.listener.close()
        server.listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        port = server.listener.getsockname()[1]
        greeter = Worker(server.greet)
        with TcpClient(host, port, EXAMPLE) as client:
            greeter.result()
            assert client.address == (f"[::1]:{port}" if host == "::1" else f"learner:{port}")


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ServerNotFoundError, match=r"no server at no\.such\.invalid:5: there is no"):
        TcpClient("no.such.invalid", 5, EXAMPLE)


def test_a_name_that_is_not_resolved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, lookup = threading.Event(), client_connect._lookup

    def slow(target: Any, flags: int) -> Any:
        if flags:
            return lookup(target, flags)
        stuck.wait()
        raise OSError

    monkeypatch.setattr(client_connect, "_lookup", slow)
    try:
        with pytest.raises(ServerNotFoundError, match="the name was not resolved in time"):
            TcpClient("learner", 5, EXAMPLE, dial_timeout=0.05)
    finally:
        stuck.set()


# ---------------------------------------------------------------- servers that are not there


@pytest.mark.parametrize("options", [{"connect_timeout": 0}, {"dial_timeout": 5.0}])
def test_nobody_listens(options: dict[str, Any]) -> None:
    with unused_port() as port:
        with pytest.raises(
            ServerNotFoundError, match=f"no server at 127.0.0.1:{port}: Connection refused; start"
        ):
            TcpClient("127.0.0.1", port, EXAMPLE, **options)


def test_a_server_that_is_not_up_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    refused, dial = threading.Event(), client_connect._dial

    def watched(*arguments: Any) -> Any:
        result = dial(*arguments)
        if isinstance(result, OSError):
            refused.set()
        return result

    monkeypatch.setattr(client_connect, "_dial", watched)
    with unused_port() as port:
        connecting = Worker(TcpClient, "127.0.0.1", port, EXAMPLE, connect_timeout=60)
        assert refused.wait(60)
    with ack_server(EXAMPLE) as server:
        server.listener.close()
        server.listener = socket.create_server(("127.0.0.1", port))
        server.greet()
        connecting.result().close()


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def test_a_server_that_says_nothing() -> None:
    with fake_server(silent) as port:
        with pytest.raises(
            HandshakeTimeoutError,
            match=rf"^127.0.0.1:{port}: the server is there and does not answer: no handshake came "
            r"\(a server with tls= waits for TLS: pass tls=True\) within ",
        ):
            TcpClient("127.0.0.1", port, EXAMPLE, connect_timeout=0.05)


@pytest.mark.parametrize("end", range(len(GREETING)))
def test_a_handshake_that_ends_early(end: int) -> None:
    with fake_server(lambda connection: connection.sendall(GREETING[:end])) as port:
        with pytest.raises(ProtocolError, match="the handshake ended after .* it closed the"):
            TcpClient("127.0.0.1", port, EXAMPLE)


def test_a_handshake_that_comes_byte_by_byte() -> None:
    def dribble(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(GREETING)):
            connection.sendall(GREETING[i : i + 1])
        connection.recv(1)

    with fake_server(dribble) as port:
        TcpClient("127.0.0.1", port, EXAMPLE).close()


PEERS: dict[str, tuple[bytes, type[Exception], str]] = {
    "http": (b"HTTP/1.0 400 Bad", EchoWireError, "Unexpected handshake magic b'HTTP' from 127"),
    "version": (b"ECHO\x07", EchoWireError, "Unsupported echo wire version 7 from 127"),
    "other example": (
        greeting({"x": np.zeros(4, np.float32), "n": np.int64(0)}),
        SpecMismatchError,
        "Server spec mismatch: ",
    ),
}


@pytest.mark.parametrize("peer", PEERS)
def test_another_peer_is_a_value_error_and_its_connection_is_closed(peer: str) -> None:
    said, kind, text = PEERS[peer]
    closed = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.sendall(said)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        closed.set()

    with fake_server(serve) as port:
        with pytest.raises(ValueError, match=text) as error:
            TcpClient("127.0.0.1", port, EXAMPLE)
        assert isinstance(error.value, kind)
        assert closed.wait(60)


# ---------------------------------------------------------------- options of the socket


def test_the_options_of_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    make = ClientBase._make_sender

    def look(client: Any, entered: Entered) -> Any:
        sock = entered.dialed.sock
        for level, name in (
            (socket.IPPROTO_TCP, "TCP_NODELAY"),
            (socket.SOL_SOCKET, "SO_KEEPALIVE"),
            (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
            (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
            (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
        ):
            seen[name] = sock.getsockopt(level, getattr(socket, name))
        congestion = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        seen["TCP_CONGESTION"] = congestion.rstrip(b"\0")
        seen["inheritable"] = sock.get_inheritable()
        return make(client, entered)

    monkeypatch.setattr(ClientBase, "_make_sender", look)
    with pair(EXAMPLE, dead_after=12.0):
        pass
    assert seen.pop("TCP_CONGESTION") in (b"cubic", b"reno")
    assert seen == {
        "TCP_NODELAY": 1,
        "SO_KEEPALIVE": 1,
        "TCP_KEEPIDLE": 4,
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 4,
        "inheritable": False,
    }


def test_a_failed_client_says_nothing_at_its_end(recwarn: pytest.WarningsRecorder) -> None:
    with unused_port() as port, pytest.raises(ServerNotFoundError):
        TcpClient("127.0.0.1", port, EXAMPLE, connect_timeout=0)
    assert not recwarn.list


ENDERS: dict[str, Callable[[TcpClient], None]] = {
    "close": lambda client: client.close(),
    "at once": lambda client: client._end_at_once(),
}


@pytest.mark.parametrize("end", ENDERS)
def test_repr_and_attributes(end: str) -> None:
    with pair(EXAMPLE, way="by TCP: another host") as (server, client):
        assert repr(client) == f"<TcpClient of 127.0.0.1:{server.port}, by TCP: another host>"
        assert (client.host, client.port, client.role) == ("127.0.0.1", server.port, "producer")
        ENDERS[end](client)
        assert repr(client).endswith(", closed>")
        with pytest.raises(ConnectionClosedError):
            client.latest()
