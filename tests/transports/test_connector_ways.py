"""A connector of a server with several transports: which client comes out, and what is raised."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    Connector,
    Server,
    ServerNotFoundError,
    ShmClient,
    ShmTransport,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
)
from shm_echo.errors import HandshakeError, HandshakeTimeoutError, OtherServerError, RefusedError
from shm_echo.transports import connect_options, way_in
from shm_echo.transports.entrances import TcpEntrance
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.waiting import wait_until

TOKEN = "nEGmvUkSi8cqYfDd"
WIRES: list[Any] = ["echo", "shm"]


@pytest.fixture
def address(folder: Path) -> str:
    return f"ipc://{folder}/s"


@pytest.fixture(params=WIRES)
def server(request: pytest.FixtureRequest, address: str) -> Iterator[Server]:
    transports = [ShmTransport(address), TcpTransport(port=0, wire=request.param)]
    with Server(EXAMPLE, 1, transports) as server:
        yield server


def without_socket(server: Server, folder: Path) -> Connector:
    """Return a connector of the server as it is where its socket cannot be seen.

    To remove the socket would not do: the server makes it again within two seconds.
    """
    return dataclasses.replace(server.connector(), address=f"ipc://{folder}/none")


def take(server: Server) -> list[int]:
    sample = server.sample(timeout=10)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- which client


@pytest.mark.parametrize(
    ("prefer", "kind", "way"),
    [
        ("shm", ShmClient, "shm, since the socket of the server is on this host"),
        ("tcp", TcpClient, "tcp, since it is preferred"),
    ],
)
def test_both_kinds_have_the_same_calls_and_say_why(
    server: Server, prefer: Any, kind: type, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connector = pickle.loads(pickle.dumps(server.connector()))
    caplog.clear()
    with connector.connect(EXAMPLE, prefer=prefer) as client:
        assert type(client) is kind
        assert client.way == way
        assert f", {way}" in repr(client)
        for call in ("send", "send_batch", "reserve", "wait", "latest", "wait_for", "close"):
            assert callable(getattr(client, call))
        client.send(numbered(1))
        client.wait(timeout=10)  # until "stored", with either
        assert take(server) == [1]
        with client.reserve(timeout=10) as slot:
            slot["x"][:], slot["n"][...] = 2, 2
        assert take(server) == [2]
        [info] = server.producers()
        assert info.transport == prefer
        wire = server.connector().tcp[0].wire
        assert info.way == (None if (prefer, wire) == ("tcp", "echo") else way)
        assert not client.closed
    assert client.closed
    assert [record for record in caplog.records if record.name == "shm_echo"] == []


def test_without_its_socket_tcp_is_taken_with_a_line_that_says_so(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connector = without_socket(server, folder)
    with connector.connect(EXAMPLE) as client:
        assert isinstance(client, TcpClient)
        assert client.way == f"tcp, since there is no socket ({folder}/none)"
    lines = [record for record in caplog.records if record.name == "shm_echo"]
    assert [line.levelname for line in lines] == ["WARNING"]  # on one host it could be mended
    assert lines[0].getMessage() == f"connected to {connector} by {client.way}"


def test_without_its_ports_shared_memory_is_taken(server: Server, address: str) -> None:
    connector = server.connector()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()
        alone = Connector(address, tcp=(TcpEntrance("127.0.0.1", (closed,), advertised=True),))
        with alone.connect(EXAMPLE, prefer="tcp") as client:
            assert isinstance(client, ShmClient)
            assert client.way is not None
            assert client.way.startswith("shm, since no server at 127.0.0.1:")
    assert connector.address == address


@pytest.mark.parametrize("prefer", ["shm", "tcp"])
def test_the_example_comes_from_the_server(server: Server, prefer: Any) -> None:
    with server.connector().connect(prefer=prefer) as client:
        client.send(numbered(5))
        client.wait(timeout=10)
    assert take(server) == [5]


def test_a_connector_of_tcp_alone_has_no_other_way() -> None:
    with Server(EXAMPLE, 1, TcpTransport(port=0)) as server:
        with server.connector().connect(EXAMPLE) as client:
            assert client.way == "tcp, since the server has no ShmTransport"
            client.send(numbered(3))
        assert take(server) == [3]


@pytest.mark.parametrize("prefer", ["shm", "tcp"])
def test_an_actor_may_start_before_its_server(address: str, prefer: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    server = Server(EXAMPLE, 1, [ShmTransport(address), TcpTransport(port)])
    connector = server.connector()
    clients: list[Any] = []
    actor = threading.Thread(
        target=lambda: clients.append(connector.connect(EXAMPLE, prefer=prefer, connect_timeout=60))
    )
    actor.start()
    with server:
        actor.join(60)
        [client] = clients
        with client:
            client.send(numbered(4))
            client.wait(timeout=10)
            assert take(server) == [4]


# ---------------------------------------------------------------- what is raised


@pytest.mark.parametrize("prefer", ["shm", "tcp"])
@pytest.mark.parametrize(
    "example",
    [
        {"x": np.zeros(3, np.int32), "n": np.int64(0)},  # as many bytes
        {"x": np.zeros(4, np.float32), "n": np.int64(0)},
        {"y": np.zeros(3, np.float32), "n": np.int64(0)},
    ],
    ids=["dtype", "shape", "name"],
)
def test_another_example_is_raised_and_no_other_way_is_tried(
    server: Server, prefer: Any, example: Any
) -> None:
    with pytest.raises(SpecMismatchError):
        server.connector().connect(example, prefer=prefer)
    wait_until(lambda: server.producers() == [], "nobody has attached")


def test_another_run_is_raised(address: str) -> None:
    transports = [ShmTransport(address, run_id="a"), TcpTransport(port=0, run_id="a")]
    with Server(EXAMPLE, 1, transports) as server:
        connector = server.connector()
        other = Connector(address, "b", connector.tcp, connector.host)
        for prefer in ("shm", "tcp"):
            with pytest.raises(RefusedError) as caught:
                other.connect(EXAMPLE, prefer=prefer)  # type: ignore[arg-type]
            assert caught.value.code == "run_id"
            with connector.connect(EXAMPLE, prefer=prefer):  # type: ignore[arg-type]
                pass


def test_a_wrong_token_is_raised(address: str, folder: Path) -> None:
    with Server(EXAMPLE, 1, [ShmTransport(address), TcpTransport(port=0, token=TOKEN)]) as server:
        connector = without_socket(server, folder)
        assert TOKEN.encode() not in pickle.dumps(connector)
        for token in (None, TOKEN[::-1]):
            with pytest.raises(RefusedError) as caught:
                connector.connect(EXAMPLE, token=token)
            assert caught.value.code == "token"
        with connector.connect(EXAMPLE, token=TOKEN) as client:
            assert isinstance(client, TcpClient)


def test_a_server_that_does_not_answer_at_its_socket_is_not_left_for_tcp(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.control.client.client_connection._HANDSHAKE_TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "none"))
        silent.listen()
        with pytest.raises(HandshakeTimeoutError):
            without_socket(server, folder).connect(EXAMPLE, connect_timeout=0.1)


# ---------------------------------------------------------------- the one server


@pytest.mark.parametrize("wire", WIRES)
def test_another_server_at_the_socket_is_left_alone(wire: Any, folder: Path) -> None:
    transports = [ShmTransport(f"ipc://{folder}/s"), TcpTransport(port=0, wire=wire)]
    with Server(EXAMPLE, 1, transports) as server:
        connector = without_socket(server, folder)
        with Server(EXAMPLE, 1, ShmTransport(f"ipc://{folder}/none")) as impostor:
            with connector.connect(EXAMPLE) as client:
                assert isinstance(client, TcpClient)
                assert "is served by another server" in str(client.way)
                client.send(numbered(6))
                client.wait(timeout=10)
            assert take(server) == [6]
            assert impostor.producers() == []


def test_a_restarted_server_is_another_one(address: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(address)) as server:
        old = server.connector()
    with Server(EXAMPLE, 1, ShmTransport(address)) as server:
        with pytest.raises(OtherServerError, match="get a connector from the new server"):
            old.connect(EXAMPLE)
        with server.connector().connect(EXAMPLE), ShmClient(address, EXAMPLE):
            pass


def test_a_restarted_server_is_another_one_on_the_shm_wire() -> None:
    with Server(EXAMPLE, 1, TcpTransport(port=0, wire="shm")) as server:
        old, port = server.connector(), server.port
    with Server(EXAMPLE, 1, TcpTransport(port=port, wire="shm")) as server:
        with pytest.raises(OtherServerError):
            old.connect(EXAMPLE)
        assert server.producers() == []


def test_a_pickled_client_leads_to_the_same_server_only(address: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(address)) as server:
        with server.connector().connect(EXAMPLE) as client:
            packed = pickle.dumps(client)
    with Server(EXAMPLE, 1, ShmTransport(address)), pickle.loads(packed) as again:
        with pytest.raises(OtherServerError):
            again.send(numbered(1))


# ---------------------------------------------------------------- addresses in turn


def test_an_address_that_swallows_packets_costs_two_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(way_in, "DIAL_TIMEOUT", 0.2)
    with Server(EXAMPLE, 1, TcpTransport(port=0)) as server, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(2)]  # they fill the queue: later ones hang
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        addresses = (full.getsockname(), ("127.0.0.1", server.port))
        connector = Connector(None, tcp=(TcpEntrance("0.0.0.0", addresses, advertised=True),))
        with connector.connect(EXAMPLE) as client:
            client.send(numbered(2))
        assert take(server) == [2]
        for sock in waiting:
            sock.close()


def test_another_program_at_an_address_is_left_for_the_next() -> None:
    with Server(EXAMPLE, 1, TcpTransport(port=0)) as server, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def greet() -> None:
            peer, _ = other.accept()
            with peer, contextlib.suppress(ConnectionError):
                peer.sendall(b"SSH-2.0-OpenSSH\r\n")
                peer.recv(100)

        threading.Thread(target=greet, daemon=True).start()
        addresses = (other.getsockname(), ("127.0.0.1", server.port))
        connector = Connector(None, tcp=(TcpEntrance("0.0.0.0", addresses, advertised=True),))
        with connector.connect(EXAMPLE) as client:
            client.send(numbered(9))
        assert take(server) == [9]


def test_a_name_without_an_address_is_a_reason() -> None:
    entrance = TcpEntrance("0.0.0.0", (("no-such-host.invalid", 5),), advertised=True)
    with pytest.raises(ServerNotFoundError, match="no-such-host.invalid:5"):
        Connector(None, tcp=(entrance,)).connect(EXAMPLE)


def test_a_name_that_is_not_resolved_in_time_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(way_in, "DIAL_TIMEOUT", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60))
    entrance = TcpEntrance("0.0.0.0", (("slow.example", 5),), advertised=True)
    began = time.monotonic()
    with pytest.raises(ServerNotFoundError, match=r"its name was not resolved within 0\.05 s"):
        Connector(None, tcp=(entrance,)).connect(EXAMPLE)
    release.set()
    assert time.monotonic() - began < 50


# ---------------------------------------------------------------- the connector itself


def test_a_port_that_is_chosen_at_the_start_has_no_connector_before(address: str) -> None:
    for transport in (TcpTransport(port=0), [ShmTransport(address), TcpTransport(port=0)]):
        server = Server(EXAMPLE, 1, transport)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match=r"call start\(\) first"):
            server.connector()
    assert Server(EXAMPLE, 1, TcpTransport(port=50051)).connector().tcp[0].loopback == (
        "127.0.0.1",
        50051,
    )


def test_it_is_small_frozen_and_comparable(server: Server) -> None:
    connector = server.connector()
    again = pickle.loads(pickle.dumps(connector))
    assert again == connector == server.connector()
    assert hash(again) == hash(connector)
    assert len(pickle.dumps(connector)) < 1000


def test_transports_of_one_server_name_one_run(address: str) -> None:
    transports = [ShmTransport(address, run_id="a"), TcpTransport(50051, run_id="b")]
    with pytest.raises(ValueError, match="must name the same run, not 'a' and 'b'"):
        Server(EXAMPLE, 1, transports).connector()
    # echo's wire has no place for a run.
    mixed = [ShmTransport(address, run_id="a"), TcpTransport(50051)]
    assert Server(EXAMPLE, 1, mixed).connector().run_id == "a"


def test_what_is_advertised_is_in_it() -> None:
    transport = TcpTransport(50051, host="0.0.0.0", advertise=["gpu1.example:443", "10.0.0.5"])
    [entrance] = Server(EXAMPLE, 1, transport).connector().tcp
    assert entrance.addresses == (("gpu1.example", 443), ("10.0.0.5", 50051))


@pytest.mark.parametrize("arguments", [(None,), (None, "run")])
def test_a_connector_without_a_way_cannot_be_made(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="needs an address or a TCP port"):
        Connector(*arguments)


@pytest.mark.parametrize("instance_id", [b"", b"x" * 15, "x" * 16, 7])
def test_an_instance_has_16_bytes(instance_id: Any) -> None:
    with pytest.raises(ValueError, match="instance_id must be 16 bytes"):
        Connector("name", instance_id=instance_id)


# ---------------------------------------------------------------- options

WRONG_OPTIONS: list[tuple[str, Any, type[Exception]]] = [
    ("server_uid", "root", TypeError),
    ("server_uid", -1, ValueError),
    ("max_inflight_msgs", 0, ValueError),
    ("max_inflight_msgs", 1.5, TypeError),
    ("reconnect", 1, TypeError),
    ("token", b"bytes", TypeError),
    ("tls", "yes", TypeError),
    ("server_hostname", 7, TypeError),
    ("dead_after", 0, ValueError),
    ("dead_after", None, ValueError),
    ("connect_timeout", -1, ValueError),
    ("wait_until", "sent", ValueError),
    ("cast", "unsafe", ValueError),
    ("role", "learner", ValueError),
    ("prefer", "udp", ValueError),
]


@pytest.mark.parametrize("prefer", ["shm", "tcp"])
@pytest.mark.parametrize(("option", "value", "error"), WRONG_OPTIONS)
def test_a_wrong_option_is_an_error_whichever_way_is_taken(
    server: Server, prefer: Any, option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=option):
        server.connector().connect(EXAMPLE, **{"prefer": prefer, option: value})
    wait_until(lambda: server.producers() == [], "nobody has attached")


def test_every_option_is_taken_by_one_client_or_both() -> None:
    given = {"address", "example", "host", "port", "data_sample", "dial_timeout"}
    given |= {"run_id", "instance_id", "way"}
    memory = set(inspect.signature(ShmClient).parameters) - given
    tcp = set(inspect.signature(TcpClient).parameters) - given
    assert memory & tcp == connect_options.BOTH
    assert memory - tcp == connect_options.SHM_ONLY
    assert tcp - memory == connect_options.TCP_ONLY


@pytest.mark.parametrize("prefer", ["shm", "tcp"])
def test_options_of_the_other_kind_have_no_effect(server: Server, prefer: Any) -> None:
    options = {"server_uid": 12345, "max_inflight_msgs": 2, "dead_after": 9.0, "reconnect": False}
    with server.connector().connect(EXAMPLE, prefer=prefer, producer_id=7, **options) as client:
        client.send(numbered(8))
        client.wait(timeout=10)
        assert take(server) == [8]


def test_values_come_through_either_way(address: str) -> None:
    weights = {"w": np.arange(3.0)}
    transports = [ShmTransport(address), TcpTransport(port=0, wire="shm"), TcpTransport(port=0)]
    with Server(EXAMPLE, 1, transports, publishes=weights) as server:
        version = server.publish(weights)
        for prefer in ("shm", "tcp"):
            for options in ({"publishes": weights}, {"role": "reader"}):
                with server.connector().connect(
                    None if "role" in options else EXAMPLE,
                    prefer=prefer,  # type: ignore[arg-type]
                    **options,
                ) as client:
                    assert client.wait_for(version, timeout=10) == version
                    latest = client.latest()
                    assert latest is not None
                    assert latest[1]["w"].tolist() == [0, 1, 2]


def test_values_do_not_come_through_echos_wire(folder: Path, address: str) -> None:
    weights = {"w": np.arange(3.0)}
    with Server(
        EXAMPLE, 1, [ShmTransport(address), TcpTransport(port=0)], publishes=weights
    ) as server:
        with pytest.raises(HandshakeError, match="is echo's, which carries no published values"):
            without_socket(server, folder).connect(EXAMPLE, publishes=weights)
