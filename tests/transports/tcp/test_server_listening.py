"""Where a TcpTransport listens: addresses, names, ports, and what start() says if it cannot."""

from __future__ import annotations

import errno
import logging
import pickle
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import trustme

from shm_echo import AddressInUseError, Server, ShmTransport, TcpTransport, Transport
from shm_echo.errors import BindError, PortInUseError
from shm_echo.transports.tcp import listener
from tests.support.echo_socket import EchoSocket
from tests.support.manual_transport import ManualTransport

EXAMPLE = {"x": np.float32(0)}
NOT_STARTED = r"^transport not started; call start\(\) first$"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 address ::1")


def server_of(transport: Transport | list[Transport] | None) -> Server:
    return Server(EXAMPLE, 1, transport)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port at which another socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


# ---------------------------------------------------------------- ports


def test_port_0_takes_a_free_one_which_server_port_tells() -> None:
    with server_of(TcpTransport(0)) as server:
        assert server.port > 0
        assert server.ports == [server.port]
        assert server.address == f"tcp://127.0.0.1:{server.port}"
        EchoSocket(server.port).close()


def test_the_port_is_free_again_after_the_close() -> None:
    with server_of(TcpTransport(0)) as server, EchoSocket(server.port) as client:
        port = server.port
        client.send({"x": np.float32(1)})
    with server_of(TcpTransport(port)) as server:  # although connections are in TIME_WAIT
        assert server.port == port
        EchoSocket(port).close()


def test_a_port_is_told_while_the_server_runs_only() -> None:
    server = server_of(TcpTransport(0))
    for ask in (lambda: server.port, lambda: server.ports, lambda: server.address):
        with pytest.raises(RuntimeError, match=NOT_STARTED):
            ask()
    server.start()
    assert server.port
    server.close()
    for ask in (lambda: server.port, lambda: server.ports):
        with pytest.raises(RuntimeError, match=NOT_STARTED):
            ask()


def test_a_server_without_a_transport_has_no_port() -> None:
    with pytest.raises(RuntimeError, match="^no transport configured; pass TcpTransport to __ini"):
        server_of(None).port  # noqa: B018


def test_a_server_with_another_transport_has_no_port() -> None:
    with pytest.raises(RuntimeError, match=r"ShmTransport\(.*\) has no port"):
        server_of(ShmTransport()).port  # noqa: B018
    with pytest.raises(RuntimeError, match="has port"):
        server_of([ShmTransport(), ShmTransport()]).port  # noqa: B018


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.2", ["127.0.0.2"]),
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2"]),
        ("localhost", ["127.0.0.1", "localhost"]),
        pytest.param("::1", ["::1"], marks=needs_ipv6),
        pytest.param("[::1]", ["::1"], marks=needs_ipv6),
        pytest.param("::", ["::1", "127.0.0.1", "127.0.0.2"], marks=needs_ipv6),
    ],
)
def test_clients_reach_each_address_of_the_host(host: str, reached: list[str]) -> None:
    with server_of(TcpTransport(0, host=host)) as server:
        for address in reached:
            with EchoSocket(server.port, address) as client:
                client.send({"x": np.float32(1)})
                assert server.sample() is not None


def test_loopback_only_is_not_reached_by_another_address() -> None:
    with (
        server_of(TcpTransport(0, host="127.0.0.2")) as server,
        pytest.raises(ConnectionRefusedError),
    ):
        socket.create_connection(("127.0.0.1", server.port), 1)


def test_a_name_with_several_addresses_gets_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in ("127.0.0.3", "127.0.0.4", "127.0.0.3")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    sockets = listener.open_listeners("learner", 0)
    found = [sock.getsockname() for sock in sockets]
    for sock in sockets:
        sock.close()
    assert [host for host, _ in found] == ["127.0.0.3", "127.0.0.4"]
    assert len({port for _, port in found}) == 1


def test_addresses_of_a_name_that_this_machine_lacks_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in ("203.0.113.1", "127.0.0.3")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    (sock,) = listener.open_listeners("learner", 0)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.3"


# ---------------------------------------------------------------- errors of start()


def test_a_port_in_use_is_an_error_of_start(taken_port: int) -> None:
    server = server_of(TcpTransport(taken_port))
    with pytest.raises(PortInUseError) as caught:
        server.start()
    error = caught.value
    assert isinstance(error, (AddressInUseError, RuntimeError, OSError))
    assert error.errno == errno.EADDRINUSE
    assert error.address == f"127.0.0.1:{taken_port}"
    assert str(error).startswith("failed to start transport: ")
    assert str(taken_port) in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.errno) == (type(error), str(error), error.errno)


def test_a_second_server_at_the_port_of_a_first_one_fails() -> None:
    with (
        server_of(TcpTransport(0)) as first,
        pytest.raises(PortInUseError, match="^failed to start transport: "),
    ):
        server_of(TcpTransport(first.port)).start()


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("203.0.113.1", "no address of this machine"),
        ("no-such-host.invalid", "there is no host 'no-such-host.invalid'"),
        ("..", "there is no host '..'"),
    ],
)
def test_a_host_that_cannot_be_is_an_error_of_start(host: str, words: str) -> None:
    with pytest.raises(BindError, match=f"^failed to start transport: .*{words}") as caught:
        server_of(TcpTransport(0, host=host)).start()
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, OSError)
    assert not isinstance(caught.value, AddressInUseError)


def test_a_transport_starts_once() -> None:
    transport = TcpTransport(0)
    with (
        server_of(transport),
        pytest.raises(RuntimeError, match="^failed to start transport: it was started already"),
    ):
        server_of(transport).start()


# ---------------------------------------------------------------- several transports


def test_a_server_with_several_transports_has_all_their_ports() -> None:
    first, second = TcpTransport(0), TcpTransport(0, host="127.0.0.2")
    with server_of([ManualTransport(), first, second]) as server:
        assert server.port == first.port
        assert server.ports == [first.port, second.port]
        EchoSocket(first.port).close()
        EchoSocket(second.port, "127.0.0.2").close()


def test_the_failure_of_the_last_transport_closes_the_others(taken_port: int) -> None:
    manual, first = ManualTransport(), TcpTransport(0)
    with pytest.raises(PortInUseError):
        server_of([manual, first, TcpTransport(taken_port)]).start()
    assert manual.closed
    with pytest.raises(RuntimeError, match=NOT_STARTED):
        first.port  # noqa: B018


# ---------------------------------------------------------------- what it says at start


def test_a_loopback_listener_says_how_to_let_others_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "shm_echo"), server_of(TcpTransport(0)) as server:
        expected = f"listening on 127.0.0.1:{server.port} only; host='0.0.0.0' lets other machines "
    (record,) = caplog.records
    assert record.getMessage().startswith(expected)
    assert record.levelno == logging.INFO


def test_an_open_listener_is_warned_of_once_with_its_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = TcpTransport(0, host="0.0.0.0")
    with caplog.at_level(logging.INFO, "shm_echo"), server_of(transport) as server:
        with closing(EchoSocket(server.port)):
            pass
        address = f"0.0.0.0:{server.port}"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"listening on {address} without a token")


@pytest.mark.parametrize("way", ["wire", "run", "tls", "client certificates", "token"])
def test_the_warning_is_for_every_listener_that_lets_in_whoever_comes(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    if way == "client certificates":
        context.verify_mode = ssl.CERT_REQUIRED
    options: dict[str, Any] = {
        "wire": {"wire": "shm"},
        "run": {"run_id": "tuesday"},
        "tls": {"tls": context},
        "client certificates": {"tls": context},
        "token": {"token": "correct-horse-battery"},
    }[way]
    with server_of(TcpTransport(0, host="0.0.0.0", **options)):
        warned = "without a token" in caplog.text
    assert warned == (way in ("wire", "run", "tls"))
