"""Readers: clients that read published values, and count as no producers."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import resource
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    ForkedHandleError,
    ProducerDiedError,
    Server,
    ShmClient,
    ShmTransport,
    SpecMismatchError,
)
from shm_echo.control.client.client_connection import connect
from shm_echo.control.server.control_server import ServerLimits
from shm_echo.errors import RefusedError, RequestError
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import METHODS, start
from tests.support.threads import Worker
from tests.support.waiting import wait_until

PUBLISHED = {"w": np.zeros(2, np.float32)}


def weights(value: float) -> dict[str, Any]:
    return {"w": np.full(2, value, np.float32)}


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    transport = ShmTransport(name, max_producers=1)
    with Server(
        EXAMPLE, 2, transport, publishes=PUBLISHED, on_producer_death="raise_if_last"
    ) as running:
        yield running


# ---------------------------------------------------------------- what a reader does


def test_a_reader_needs_no_example_and_reads_what_is_published(server: Server, name: str) -> None:
    with ShmClient(name, role="reader") as reader:
        assert reader.latest() is None
        for value in (1, 2):
            assert server.publish(weights(value)) == value
            assert reader.wait_for(value, timeout=0) == value
            version, tree = reader.latest() or (0, {})
            assert (version, tree["w"].tolist()) == (value, [value, value])
        assert repr(reader) == f"<ShmClient of {name}, reader>"


def test_a_reader_maps_nothing_of_the_ring(server: Server, name: str) -> None:
    def mappings() -> int:
        inode = os.fstat(server._parts.ring.segment.fileno()).st_ino
        with open("/proc/self/maps") as maps:
            return sum(line.split()[4] == str(inode) for line in maps)

    before, descriptors = mappings(), open_descriptors()
    with ShmClient(name, role="reader"):
        assert mappings() == before
        assert open_descriptors() > descriptors  # it is attached
    with ShmClient(name, EXAMPLE):
        assert mappings() == before + 1


CALLS = {
    "send": lambda reader: reader.send(numbered(1)),
    "send_batch": lambda reader: reader.send_batch({"x": np.zeros((0, 3)), "n": np.zeros(0)}),
    "reserve": lambda reader: reader.reserve(timeout=0),
    "wait": lambda reader: reader.wait(timeout=0),
    "wait until stored": lambda reader: reader.wait(until="stored"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_producers_do_a_reader_refuses_by_its_name(
    server: Server, name: str, call: Any
) -> None:
    with ShmClient(name, role="reader") as reader:
        with pytest.raises(RuntimeError, match=f"this client of {name} is a reader: it sends no"):
            call(reader)
        server.publish(weights(1))
        assert reader.latest() is not None


def test_examples_that_are_given_to_a_reader_are_compared(server: Server, name: str) -> None:
    ShmClient(name, EXAMPLE, publishes=PUBLISHED, role="reader").close()
    with pytest.raises(SpecMismatchError, match=r"\['n'\]"):
        ShmClient(name, {"x": EXAMPLE["x"]}, role="reader")
    with pytest.raises(SpecMismatchError, match=r"\['w'\]"):
        ShmClient(name, publishes={"w": np.zeros(3)}, role="reader")
    assert server.readers() == []


def test_a_server_that_publishes_nothing_refuses_readers(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with pytest.raises(RefusedError, match="it publishes nothing: give its Server") as caught:
            ShmClient(name, role="reader")
        assert caught.value.code == "publishes_nothing"
        assert server.readers() == []


def test_a_reader_of_another_run_is_refused(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name, run_id="a"), publishes=PUBLISHED) as server:
        with pytest.raises(RefusedError, match="it serves run 'a'"):
            ShmClient(name, role="reader", run_id="b")
        with server.connector().connect(role="reader"):
            assert len(server.readers()) == 1


@pytest.mark.parametrize("role", ["evaluator", "", None, 1])
def test_an_unknown_role_is_refused_at_both_ends(server: Server, name: str, role: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="^role must be"):
        ShmClient(name, EXAMPLE, role=role)
    with connect(name, "ring") as connection:
        with pytest.raises(RequestError, match="^attach: role must be") as caught:
            connection.request("attach", {"role": role})
        assert caught.value.code == "bad_request"


def test_a_reader_gets_no_memory_of_the_ring_and_attaches_once(server: Server, name: str) -> None:
    with connect(name, "ring") as connection:
        result, descriptors = connection.request("attach", {"role": "reader"})
        assert result == {}
        assert len(descriptors) == 1
        os.close(descriptors[0])
        for op in ("memory", "attach"):
            with pytest.raises(RequestError):
                connection.request(op, {})
        assert (len(server.readers()), server.producers()) == (1, [])


# ---------------------------------------------------------------- what it does not count for


def test_readers_are_listed_and_take_no_place_of_a_producer(server: Server, name: str) -> None:
    readers = [ShmClient(name, role="reader") for _ in range(5)]
    assert [info.pid for info in server.readers()] == [os.getpid()] * 5
    with ShmClient(name, EXAMPLE) as producer:  # the one that the ring was made for
        assert len(server.producers()) == server.info().active_connections == 1
        producer.send(numbered(1), timeout=0)
    for left, reader in enumerate(readers, 1):
        reader.close()
        reader.close()
        wait_until(lambda left=left: len(server.readers()) == 5 - left, "it is not listed")  # type: ignore[misc]
    assert server.info().active_connections == 0


def test_there_may_be_more_readers_than_a_control_server_takes_clients(
    server: Server, name: str
) -> None:
    count = ServerLimits().max_clients + 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = open_descriptors() + 4 * count
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.skip(f"this process may open {hard} descriptors, not {need}")
    with contextlib.ExitStack() as ends:
        if soft != resource.RLIM_INFINITY and soft < need:
            resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
            ends.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(count):
            connection = ends.enter_context(connect(name, "ring"))
            for descriptor in connection.request("attach", {"role": "reader"})[1]:
                os.close(descriptor)
        assert len(server.readers()) == count
        with ShmClient(name, EXAMPLE) as producer:
            producer.send(numbered(1), timeout=0)


def be_attached(pipe: Any, name: str, role: str) -> None:
    client = ShmClient(name, EXAMPLE, role=role)  # type: ignore[arg-type]
    pipe.send("attached")
    pipe.recv()
    client.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_reader_is_no_producer_that_died(server: Server, name: str, method: str) -> None:
    with start(be_attached, name, "reader", method=method) as child:
        child.expect("attached")
        assert [info.pid for info in server.readers()] == [child.pid]
    wait_until(lambda: not server.readers(), "its end is noticed")
    with pytest.raises(TimeoutError):
        server.sample(timeout=0)


def test_with_all_actors_killed_the_learner_hears_of_it_despite_a_reader(
    server: Server, name: str
) -> None:
    with ShmClient(name, role="reader"):
        with start(be_attached, name, "producer", method="fork") as actor:
            actor.expect("attached")
            learner = Worker(server.sample)
            learner.wait_until_asleep()
        with pytest.raises(ProducerDiedError) as caught:
            learner.result()
        assert (caught.value.pid, caught.value.signal) in [
            (actor.pid, signal.SIGKILL),
            (actor.pid, None),
        ]


def test_the_stream_ends_when_every_producer_has_left_despite_a_reader(
    server: Server, name: str
) -> None:
    with ShmClient(name, role="reader"):
        with ShmClient(name, EXAMPLE) as producer:
            producer.send(numbered(1), timeout=0)
        samples = list(server.dataset_iter(until="producers_closed"))
        assert [numbers_of(sample.batch) for sample in samples] == [[1]]


def test_a_reader_does_not_let_the_stream_end_before_a_producer_came(
    server: Server, name: str
) -> None:
    ShmClient(name, role="reader").close()
    learner = Worker(lambda: list(server.dataset_iter(until="producers_closed")))
    learner.wait_until_asleep()
    assert learner.thread.is_alive()
    with ShmClient(name, EXAMPLE) as producer:
        producer.send(numbered(1), timeout=0)
    assert len(learner.result()) == 1


def test_a_learner_with_readers_alone_is_lonely(
    server: Server,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "shm_echo")
    monkeypatch.setattr("shm_echo.wait_checks._NO_PRODUCER_FIRST_WARNING", 0.0)
    with ShmClient(name, role="reader"):
        with pytest.raises(TimeoutError, match="0 producers attached"):
            server.sample(timeout=0.3)
        assert "no producer has been attached" in caplog.text


# ---------------------------------------------------------------- ends and forks


def test_a_reader_keeps_the_newest_value_when_the_server_has_gone(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name), publishes=PUBLISHED) as server:
        reader = ShmClient(name, role="reader")
        server.publish(weights(3))
        waiting = Worker(reader.wait_for, 2)
        waiting.wait_until_asleep()
    with pytest.raises(ConnectionClosedError, match="its newest version is 1"):
        waiting.result()
    version, tree = reader.latest() or (0, {})
    assert (version, tree["w"].tolist()) == (1, [3, 3])
    reader.close()
    with pytest.raises(ConnectionClosedError, match=f"the client of {name} is closed"):
        reader.latest()


def read_in_the_child(pipe: Any, reader: ShmClient) -> None:
    version, _ = reader.latest() or (0, None)
    pipe.send(version)
    pipe.recv()
    reader.close()
    pipe.send("closed")


def test_an_inherited_reader_attaches_again(server: Server, name: str) -> None:
    server.publish(weights(1))
    with ShmClient(name, role="reader") as reader:
        with start(read_in_the_child, reader, method="fork") as child:
            child.expect(1)
            assert {info.pid for info in server.readers()} == {os.getpid(), child.pid}
            child.say("close")
            child.expect("closed")
        wait_until(lambda: len(server.readers()) == 1, "the child has left")
        assert reader.latest() is not None


def list_in_the_child(pipe: Any, server: Server) -> None:
    try:
        server.readers()
    except ForkedHandleError:
        pipe.send("refused")


def test_readers_are_the_business_of_the_servers_own_process(server: Server) -> None:
    with start(list_in_the_child, server, method="fork") as child:
        child.expect("refused")


def test_a_server_without_a_transport_has_no_readers() -> None:
    with Server(EXAMPLE, 1) as server:
        assert server.readers() == []
    assert server.readers() == []


def test_a_reader_that_is_not_closed_is_warned_of(server: Server, name: str) -> None:
    reader = ShmClient(name, role="reader")
    with pytest.warns(ResourceWarning, match="reader> was not closed"):
        del reader
    wait_until(lambda: not server.readers(), "it has left")


def read_what_was_pickled(pipe: Any, reader: ShmClient) -> None:
    version, _ = reader.latest() or (0, None)
    try:
        reader.send(numbered(1))
    except RuntimeError as error:
        pipe.send((version, str(error)))
    reader.close()


def test_a_pickled_reader_attaches_as_a_reader(name: str) -> None:
    transport = ShmTransport(name, run_id="a")
    with Server(EXAMPLE, 2, transport, publishes=PUBLISHED) as server:
        server.publish(weights(1))
        with server.connector().connect(role="reader") as reader:
            with start(read_what_was_pickled, reader, method="forkserver") as child:
                version, refusal = child.hear()
        assert version == 1
        assert "is a reader: it sends no samples" in refusal
        assert server.producers() == []


@pytest.mark.parametrize("until", ["taken", "stored"])
def test_an_unpickled_reader_refuses_to_wait_even_before_it_attached(
    server: Server, name: str, until: Any
) -> None:
    with ShmClient(name, role="reader") as reader:
        again = pickle.loads(pickle.dumps(reader))
        with again, pytest.raises(RuntimeError, match="is a reader"):
            again.wait(until=until)
