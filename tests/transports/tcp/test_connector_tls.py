"""TLS through `server.connector()`: the client that it makes, and what it proves."""

from __future__ import annotations

import dataclasses
import pickle
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from shm_echo import Connector, Server, ShmClient, ShmTransport, TcpClient, TcpTransport
from shm_echo.errors import HandshakeError
from tests.support.numbered import EXAMPLE, numbered, numbers_of

TOKEN = "nEGmvUkSi8cqYfDd"
CA = trustme.CA()


def contexts(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server of this name, and of a client that trusts it."""
    theirs, mine = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    CA.issue_cert(name).configure_cert(theirs)
    CA.configure_trust(mine)
    return theirs, mine


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    theirs, _ = contexts("localhost")
    transport = TcpTransport(0, tls=theirs, token=TOKEN, advertise="localhost")
    with Server(
        EXAMPLE, 1, [ShmTransport(f"ipc://{folder}/s"), transport], publishes=EXAMPLE
    ) as server:
        yield server


def connector_of(server: Server) -> Connector:
    """Return the connector as an actor gets it."""
    found: Connector = pickle.loads(pickle.dumps(server.connector()))
    return found


def connected(server: Server, tls: ssl.SSLContext | None, **options: Any) -> ShmClient | TcpClient:
    """Connect as from a place without the server's Unix socket."""
    options = {"token": TOKEN, "tls": tls, **options}
    return dataclasses.replace(connector_of(server), address=None).connect(EXAMPLE, **options)


def taken(server: Server) -> list[int]:
    sample = server.sample(timeout=30)
    assert sample is not None
    return numbers_of(sample.batch)


def test_samples_and_values_go_through(server: Server) -> None:
    _, mine = contexts("localhost")
    with connected(server, mine) as client:
        assert type(client) is TcpClient
        assert client.wire == "shm"
        client.send(numbered(1))
        client.wait()
        assert taken(server) == [1]
        version = server.publish(numbered(2))
        assert client.wait_for(version, timeout=30) == version
        found = client.latest()
        assert found is not None
        assert numbers_of({name: leaf[None] for name, leaf in found[1].items()}) == [2]


def test_a_client_without_tls_is_not_let_in(folder: Path) -> None:
    theirs, mine = contexts("localhost")
    transport = TcpTransport(0, tls=theirs, advertise="localhost")
    with Server(EXAMPLE, 1, [ShmTransport(f"ipc://{folder}/s"), transport]) as server:
        with pytest.raises(HandshakeError, match="tls="):  # a plain client hears no greeting
            TcpClient("127.0.0.1", server.port, EXAMPLE, connect_timeout=1)
        with connected(server, mine, token=None) as client:
            client.send(numbered(4))
            client.wait()
        assert taken(server) == [4]


def test_shared_memory_on_this_host_needs_neither(server: Server) -> None:
    with connector_of(server).connect(EXAMPLE) as client:
        assert type(client) is ShmClient
        client.send(numbered(5))
        client.wait()
        assert taken(server) == [5]


def test_the_name_of_the_certificate_may_be_given(folder: Path) -> None:
    theirs, mine = contexts("learner.example")
    transport = TcpTransport(0, tls=theirs, advertise="127.0.0.1")
    with Server(EXAMPLE, 1, [ShmTransport(f"ipc://{folder}/s"), transport]) as server:
        with pytest.raises(HandshakeError, match=r"127\.0\.0\.1.*not trusted"):
            connected(server, mine, token=None)
        with connected(server, mine, token=None, server_hostname="learner.example") as client:
            client.send(numbered(6))
            client.wait()
        assert taken(server) == [6]


@pytest.mark.parametrize("context", [None, "other authority", "other name"])
def test_a_certificate_that_is_not_trusted_is_an_error(server: Server, context: str | None) -> None:
    _, mine = contexts("localhost")
    options: dict[str, Any] = {}
    if context == "other name":
        options["server_hostname"] = "another.example"
    elif context == "other authority":
        mine = ssl.create_default_context()
        trustme.CA().configure_trust(mine)
    with pytest.raises(HandshakeError, match="not trusted"):
        connected(server, mine if context else None, **options)
    assert server.producers() == []


def test_actors_connect_at_once(server: Server) -> None:
    _, mine = contexts("localhost")
    errors: list[Exception] = []

    def act(number: int) -> None:
        try:
            with connected(server, mine) as client:
                client.send(numbered(number))
                client.wait()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    numbers = sorted(taken(server)[0] for _ in threads)
    for thread in threads:
        thread.join()
    assert errors == []
    assert numbers == [0, 1, 2, 3]
