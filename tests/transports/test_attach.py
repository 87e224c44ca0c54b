"""Attaching to a server: each kind of failure has an error of its own."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError
from shm_echo.control.protocol.messages import PROTOCOL
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import (
    AddressError,
    AddressInUseError,
    ConnectionClosedError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServerNotFoundError,
    ServiceUnavailableError,
)
from shm_echo.spec import TreeSpec
from tests.control.harness import Recorder, fake_server, frame
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

NESTED: dict[str, Any] = {"obs": {"pos": np.zeros(3, np.float32)}, "n": np.int64(0)}


@pytest.fixture
def path(folder: Path) -> Iterator[str]:
    """Return the path of a socket that does not exist yet."""
    path = str(folder / "s")
    yield path
    assert not os.path.exists(path), "a socket was left behind"


# ---------------------------------------------------------------- another example

OTHERS: dict[str, tuple[Any, str, str]] = {
    "another dtype": (
        {"obs": {"pos": np.zeros(3)}, "n": np.int64(0)},
        "['obs']['pos']",
        "expected float32 (3,), got float64 (3,)",
    ),
    "another byte order": (
        {"obs": {"pos": np.zeros(3, ">f4")}, "n": np.int64(0)},
        "['obs']['pos']",
        "expected float32 (3,), got >f4 (3,)",
    ),
    "another shape": (
        {"obs": {"pos": np.zeros((3, 1), np.float32)}, "n": np.int64(0)},
        "['obs']['pos']",
        "expected float32 (3,), got float32 (3, 1)",
    ),
    "an array in the place of a scalar": (
        {"obs": {"pos": np.zeros(3, np.float32)}, "n": np.zeros(1, np.int64)},
        "['n']",
        "expected int64 (), got int64 (1,)",
    ),
    "another key": (
        {"obs": {"vel": np.zeros(3, np.float32)}, "n": np.int64(0)},
        "['obs']['pos']",
        "expected float32 (3,), got a dict with keys ['vel'] without this key",
    ),
    "a key less": (
        {"obs": {"pos": np.zeros(3, np.float32)}},
        "['n']",
        "expected int64 (), got a dict with keys ['obs'] without this key",
    ),
    "a key more": (
        {**NESTED, "z": np.zeros(2)},
        "['z']",
        "expected a dict with keys ['n', 'obs'] without this key, got float64 (2,)",
    ),
    "a tuple in the place of a dict": (
        {"obs": (np.zeros(3, np.float32),), "n": np.int64(0)},
        "['obs']",
        "expected a dict with keys ['pos'], got a tuple of 1",
    ),
    "a leaf in the place of a dict": (
        {"obs": np.zeros(3, np.float32), "n": np.int64(0)},
        "['obs']",
        "expected a dict with keys ['pos'], got float32 (3,)",
    ),
    "a single array": (
        np.zeros(3),
        "",
        "expected a dict with keys ['n', 'obs'], got float64 (3,)",
    ),
}


@pytest.mark.parametrize(("example", "leaf", "words"), OTHERS.values(), ids=OTHERS)
def test_a_different_example_is_rejected_with_the_path_and_both_sides(
    name: str, example: Any, leaf: str, words: str
) -> None:
    with Server(NESTED, 2, ShmTransport(name)) as server:
        with pytest.raises(SpecMismatchError) as caught:
            ShmClient(name, example)
        assert isinstance(caught.value, ValueError)
        assert caught.value.path == leaf
        assert str(caught.value).startswith(f"{leaf or 'the sample'}: {words} ")
        assert str(caught.value).endswith("(the server's example, and the client's)")
        assert pickle.loads(pickle.dumps(caught.value)).path == leaf
        assert server.producers() == []
        with ShmClient(name, NESTED) as client:  # the server is none the worse for it
            client.send(NESTED, timeout=0)


# ---------------------------------------------------------------- no server, or not ours


def test_without_a_server_the_error_names_the_socket(path: str) -> None:
    with pytest.raises(ServerNotFoundError, match=f"^no server at {path}: there is no socket") as e:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert e.value.address == path
    assert isinstance(e.value, ConnectionError)


def test_the_socket_of_a_closed_server_is_gone(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)):
        ShmClient(name, EXAMPLE).close()
    with pytest.raises(ServerNotFoundError, match=f"{name}.sock: there is no socket"):
        ShmClient(name, EXAMPLE)


def test_a_file_other_than_a_socket_is_no_server(path: str) -> None:
    Path(path).write_text("hello")
    try:
        with pytest.raises(ServerNotFoundError, match=f"{path}: that file is not a socket"):
            ShmClient(f"ipc://{path}", EXAMPLE)
        with pytest.raises(AddressError, match=f"{path} exists and is not a socket"):
            Server(EXAMPLE, 2, ShmTransport(f"ipc://{path}")).start()
        assert Path(path).read_text() == "hello"
    finally:
        os.unlink(path)


STRANGERS: dict[str, tuple[tuple[bytes, ...], str]] = {
    "garbage": ((bytes(range(255, 0, -1)),), "does not speak the shm-echo control protocol"),
    "an HTTP line": (
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        r"does not speak .*: a frame of .* bytes was announced",
    ),
    "a frame of no map": ((b"\1\0\0\0\x07",), "does not speak .*: a message is malformed"),
    "an answer before the greeting": (
        (frame(type="reply", id=1, result={}),),
        "does not speak .*: the server may not send 'reply'",
    ),
    "half a frame": ((b"\x40\0\0\0half",), "is not served by shm-echo"),
    "nothing": ((), "is not served by shm-echo, or its server is shutting down: the connection"),
}


@pytest.mark.parametrize(("words", "message"), STRANGERS.values(), ids=STRANGERS)
def test_a_foreign_listener_is_distinguished_from_a_server(
    path: str, words: tuple[bytes, ...], message: str
) -> None:
    with (
        fake_server(path, *words),
        pytest.raises(ProtocolError, match=f"^{path} {message}"),
    ):
        ShmClient(f"ipc://{path}", EXAMPLE)


def welcome(info: dict[str, Any], protocol: int = PROTOCOL) -> bytes:
    return frame(type="welcome", protocol=protocol, package="9.9", session=1, limits={}, info=info)


def test_a_server_of_another_protocol_is_reported_with_both_versions(path: str) -> None:
    with fake_server(path, welcome({}, protocol=7)), pytest.raises(ProtocolVersionError) as caught:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert (caught.value.ours, caught.value.theirs) == (PROTOCOL, 7)
    assert str(caught.value) == (
        f"{path} speaks control protocol 7 (shm-echo 9.9), this process speaks "
        f"{PROTOCOL}: install the same shm-echo on both sides"
    )


def test_a_server_that_rejects_our_protocol_is_reported_with_both_versions(path: str) -> None:
    fields = {"protocol": PROTOCOL + 1, "package": "0.2.0"}
    refusal = frame(type="refused", code="version", message="no", fields=fields)
    with fake_server(path, refusal), pytest.raises(ProtocolVersionError) as caught:
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert (caught.value.ours, caught.value.theirs) == (PROTOCOL, PROTOCOL + 1)
    assert f"speaks control protocol {PROTOCOL + 1} (shm-echo 0.2.0), " in str(caught.value)
    assert f"this process speaks {PROTOCOL}" in str(caught.value)


SIZES = {"batch_size": 2, "num_buffers": 2, "max_producers": 1, "detailed": False}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, "described no ring"),
        ({"config": SIZES, "spec": {}}, "described no ring"),
        (
            {"config": {**SIZES, "batch_size": 0}, "spec": {}, "publishes": None},
            "described a ring without a valid size",
        ),
        ({"config": SIZES, "spec": {"kind": 0}, "publishes": None}, "malformed|spec|tree"),
    ],
    ids=["nothing", "a part", "no size", "no spec"],
)
def test_a_welcome_that_describes_no_ring_is_a_protocol_error(
    path: str, info: dict[str, Any], words: str
) -> None:
    with fake_server(path, welcome(info)), pytest.raises(ProtocolError, match=words):
        ShmClient(f"ipc://{path}", EXAMPLE)


def test_a_server_that_ends_between_welcome_and_ring_is_a_closed_connection(path: str) -> None:
    spec = TreeSpec.from_example(EXAMPLE).to_wire()
    with (
        fake_server(path, welcome({"config": SIZES, "spec": spec, "publishes": None})),
        pytest.raises(ConnectionClosedError, match=path),
    ):
        ShmClient(f"ipc://{path}", EXAMPLE)


def test_a_server_of_another_service_reports_its_services(path: str) -> None:
    with (
        ControlServer(f"ipc://{path}", {"weather": Recorder("weather")}),
        pytest.raises(ServiceUnavailableError) as caught,
    ):
        ShmClient(f"ipc://{path}", EXAMPLE)
    assert (caught.value.service, caught.value.offered) == ("ring", ("weather",))
    assert str(caught.value) == f"{path} offers no service 'ring' (it offers 'weather')"


def test_a_client_with_publishes_is_rejected_by_a_server_without(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name)) as server,
        pytest.raises(ValueError, match=f"the server at {name} publishes nothing"),
    ):
        ShmClient(name, EXAMPLE, publishes={"w": np.zeros(2)})
    assert server.closed


# ---------------------------------------------------------------- room for producers


def test_a_producer_above_the_limit_is_rejected_until_another_one_closes(
    name: str,
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name, max_producers=1)) as server:
        for lap in range(3):
            with ShmClient(name, EXAMPLE) as first:
                with pytest.raises(RefusedError) as caught:
                    ShmClient(name, EXAMPLE)
                assert caught.value.code == "too_many_producers"
                assert str(caught.value) == (
                    f"{name} refused this client: it has as many producers as its ring was made "
                    "for (1): raise max_producers of its transport"
                )
                assert len(server.producers()) == 1
                first.send(numbered(lap), timeout=0)
            wait_until(lambda: not server.producers(), "the first one has left")
        batch = server.sample(timeout=0)
        assert batch is not None
        assert numbers_of(batch.batch) == [0, 1]


def be_a_producer(pipe: Any, address: str) -> None:
    client = ShmClient(address, EXAMPLE)
    pipe.send("attached")
    pipe.recv()
    client.close()


def test_a_killed_producer_frees_its_owner_id(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name, max_producers=1)) as server:
        with start(be_a_producer, name, method="subprocess") as child:
            child.expect("attached")
            with pytest.raises(RefusedError):
                ShmClient(name, EXAMPLE)
        wait_until(lambda: not server.producers(), "its death is noticed")
        ShmClient(name, EXAMPLE).close()


# ---------------------------------------------------------------- time and names


def test_a_client_waits_for_a_server_that_starts_later(name: str) -> None:
    attaching = Worker(ShmClient, name, EXAMPLE, connect_timeout=WATCHDOG)
    attaching.wait_until_asleep()
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with attaching.result() as client:
            client.send(numbered(5))
        assert server.sample(timeout=0) is not None


def test_a_client_waits_at_most_its_connect_timeout(name: str) -> None:
    with pytest.raises(ServerNotFoundError):
        ShmClient(name, EXAMPLE, connect_timeout=0.05)


def test_a_second_server_of_a_name_learns_the_pid_of_the_first(name: str) -> None:
    second = Server(EXAMPLE, 2, ShmTransport(name))
    with Server(EXAMPLE, 2, ShmTransport(name)) as first:
        with pytest.raises(AddressInUseError) as caught:
            second.start()
        assert caught.value.pid == os.getpid()
        assert caught.value.address.endswith(f"/{name}.sock")
        assert f"is already served by pid {os.getpid()}: close that server" in str(caught.value)
        with ShmClient(name, EXAMPLE) as client:  # and the first one goes on
            client.send(numbered(1), timeout=0)
        assert first.info().store_size == 1


# ---------------------------------------------------------------- leftovers


def test_a_failed_attach_leaves_neither_a_producer_nor_a_descriptor(name: str) -> None:
    def fails() -> None:
        with pytest.raises(SpecMismatchError):
            ShmClient(name, {"x": np.zeros(2)})
        with pytest.raises(RefusedError):
            ShmClient(name, EXAMPLE)
        with pytest.raises(ServerNotFoundError):
            ShmClient(f"{name}-other", EXAMPLE)

    with (
        Server(EXAMPLE, 2, ShmTransport(name, max_producers=1)) as server,
        ShmClient(name, EXAMPLE) as first,
    ):
        gc.collect()  # what earlier tests have left in cycles goes now, not in between
        before = open_descriptors()
        threads = threading.active_count()
        for _ in range(50):
            fails()
        # The server's ends of the connections are in this process too.
        wait_until(lambda: open_descriptors() <= before, "all connections are closed")
        assert threading.active_count() <= threads  # one of another test may have ended meanwhile
        assert len(server.producers()) == 1
        first.close()
        wait_until(lambda: not server.producers(), "nobody else is there")
