"""TcpClient on the shm wire: what it has beyond echo's, with a real server."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    ForkedHandleError,
    Server,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
)
from shm_echo.errors import OtherServerError, RefusedError
from shm_echo.transports.tcp import client_base
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

WEIGHTS = {"w": np.zeros(2)}
TOKEN = "correct-horse-battery"


@contextlib.contextmanager
def serving(
    example: Any = EXAMPLE, batch_size: int = 1, *, publishes: Any = WEIGHTS, **options: Any
) -> Iterator[Server]:
    transport = TcpTransport(0, wire="shm", **options)
    with Server(example, batch_size, transport, num_buffers=4, publishes=publishes) as server:
        yield server


def client_of(server: Server, example: Any = EXAMPLE, **options: Any) -> TcpClient:
    return TcpClient("127.0.0.1", server.port, example, **options)


def taken(server: Server) -> list[int]:
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


def test_wait_for_the_learner() -> None:
    with serving() as server, client_of(server) as client:
        assert client.wire == "shm"
        client.send(numbered(1))
        client.wait()
        with pytest.raises(TimeoutError):
            client.wait(0.02, until="taken")
        waiting = Worker(client.wait, until="taken")
        assert taken(server) == [1]
        waiting.result()
        client.wait(0, until="stored")


def test_wait_until_of_the_constructor_and_the_warning_of_a_batch_that_does_not_fill(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client_base, "WARN_AFTER", 0.01)
    with serving(batch_size=2) as server, client_of(server, wait_until="taken") as client:
        client.send(numbered(1))
        with caplog.at_level(logging.WARNING, "shm_echo"):
            waiting = Worker(client.wait)
            wait_until(lambda: "a batch that does not fill" in caplog.text, "the warning came")
        sample = server.sample(timeout=WATCHDOG, partial=True)
        assert sample is not None
        assert numbers_of(sample.batch) == [1]
        waiting.result()


def test_a_client_without_an_example_takes_the_servers() -> None:
    with serving() as server, client_of(server, None) as client:
        client.send_batch(stacked(range(3)))
        assert [taken(server) for _ in range(3)] == [[0], [1], [2]]
        with client.reserve() as slot:
            slot["x"][:] = slot["n"][...] = 7
        assert taken(server) == [7]


def test_leaves_are_in_their_canonical_order() -> None:
    example = OrderedDict(z=np.zeros(2, np.int32), a=np.zeros(2, np.int32))
    with serving(example) as server, client_of(server, example) as client:
        client.send(OrderedDict(z=np.full(2, 26, np.int32), a=np.full(2, 1, np.int32)))
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        assert sample.batch["z"].tolist() == [[26, 26]]
        assert sample.batch["a"].tolist() == [[1, 1]]


def test_published_values() -> None:
    with serving() as server, client_of(server, publishes=WEIGHTS) as client:
        assert client.latest() is None
        server.publish({"w": np.ones(2)})
        assert client.wait_for(1) == 1
        newest = client.latest()
        assert newest is not None
        version, value = newest
        assert (version, value["w"].tolist()) == (1, [1.0, 1.0])
        with pytest.raises(ValueError, match="read-only"):
            value["w"][:] = 0
        private = client.latest(writable=True)
        assert private is not None
        private[1]["w"][:] = 5
        with pytest.raises(TimeoutError):
            client.wait_for(2, timeout=0.02)


def test_a_server_that_publishes_nothing() -> None:
    with serving(publishes=None) as server:
        with client_of(server) as client, pytest.raises(RuntimeError, match="give its Server publ"):
            client.latest()
        with pytest.raises(ValueError, match="publishes nothing"):
            client_of(server, publishes=WEIGHTS)


def test_a_reader_reads_and_sends_nothing() -> None:
    with serving() as server:
        server.publish({"w": np.ones(2)})
        with client_of(server, None, role="reader") as reader:
            wait_until(lambda: server.readers(), "the reader is listed")
            assert [reader.peer is not None for reader in server.readers()] == [True]
            assert server.producers() == []
            newest = reader.latest()
            assert newest is not None
            assert newest[1]["w"].tolist() == [1.0, 1.0]
            for call in (
                lambda: reader.send(numbered(0)),
                lambda: reader.send_batch(stacked([0])),
                lambda: reader.reserve(),
                lambda: reader.wait(),
            ):
                with pytest.raises(RuntimeError, match='another TcpClient without role="reader"'):
                    call()
            assert not reader.closed
            assert "reader" in repr(reader)
        assert reader.closed
        wait_until(lambda: not server.readers(), "the reader left")
        with pytest.raises(ConnectionClosedError, match="is closed$"):
            reader.latest()


def test_what_does_not_fit_is_refused() -> None:
    with serving(run_id="tuesday", token={"actor": TOKEN}) as server:
        good = {"token": TOKEN, "run_id": "tuesday"}
        for wrong, kind, text in (
            ({"token": None}, RefusedError, "it wants a token"),
            ({"token": "wrong-horse-battery"}, RefusedError, r"\(from token=\)$"),
            ({"run_id": "monday"}, RefusedError, "monday"),
            ({"publishes": np.zeros(3)}, SpecMismatchError, "expected"),
            ({"instance_id": os.urandom(16)}, OtherServerError, "another server"),
        ):
            with pytest.raises(kind, match=text):
                client_of(server, **good | wrong)
        with pytest.raises(SpecMismatchError, match=r"\['x'\]: expected float32 \(3,\), got int32"):
            client_of(server, {"x": np.zeros(3, np.int32), "n": np.int64(0)}, **good)
        with client_of(server, producer_id=5, way="by hand", **good) as client:
            client.send(numbered(1))
            assert taken(server) == [1]
            wait_until(lambda: server.producers(), "the producer is listed")
            (info,) = server.producers()
            assert (info.producer_id, info.way) == ("5", "by hand")


def test_a_token_is_not_pickled_and_one_of_the_environment_is_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(token=TOKEN) as server:
        with client_of(server, token=TOKEN) as client:
            with pytest.raises(TypeError, match="a token is not pickled"):
                pickle.dumps(client)
        monkeypatch.setenv("SHM_ECHO_TOKEN", TOKEN)
        with client_of(server) as client:
            travelled = pickle.loads(pickle.dumps(client))
        assert TOKEN.encode() not in pickle.dumps(travelled)
        travelled.send(numbered(3))
        assert taken(server) == [3]
        travelled.close()


def test_a_pickled_client_is_another_producer() -> None:
    """Its session counts its own samples, or the server would take them for sent ones."""
    with serving() as server, client_of(server) as client:
        client.send(numbered(1))
        assert taken(server) == [1]
        travelled = pickle.loads(pickle.dumps(client))
        assert travelled.wire is None
        travelled.send(numbered(2))
        travelled.wait()
        assert taken(server) == [2]
        travelled.wait(until="taken")
        assert len(server.producers()) == 2
        travelled.close()


def read_in_child(pipe: Any, client: TcpClient) -> None:
    for call in (client.latest, lambda: client.wait_for(1), client.wait):
        try:
            call()
        except ForkedHandleError as error:
            pipe.send(str(error))


def test_a_forked_child_cannot_read_either() -> None:
    with serving() as server, client_of(server) as client:
        server.publish({"w": np.ones(2)})
        client.latest()
        with start(read_in_child, client) as child:
            for _ in range(3):
                assert "was created before the fork" in child.hear()
        newest = client.latest()
        assert newest is not None
        assert newest[0] == 1


def test_the_end_of_the_server() -> None:
    with serving() as server:
        client = client_of(server, max_inflight_msgs=2)
        server.close()
        wait_until(lambda: client.closed, "the client noticed the end")
        with pytest.raises(ConnectionClosedError, match="connection lost"):
            client.send(numbered(0))
        with pytest.raises(ConnectionClosedError):
            client.wait_for(1)
        client.close()
