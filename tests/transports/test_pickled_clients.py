"""Clients cannot be copied; a pickled one attaches where it is unpickled, at its first use."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    Server,
    ServerNotFoundError,
    ShmClient,
    ShmTransport,
    SpecMismatchError,
)
from shm_echo.spec import TreeSpec
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with Server(
        EXAMPLE, 1, ShmTransport(name), num_buffers=4, publishes={"w": np.zeros(2)}
    ) as running:
        yield running


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    with ShmClient(name, EXAMPLE) as attached:
        yield attached


def again(client: ShmClient) -> ShmClient:
    """Return the client after a journey through a pickle."""
    travelled = pickle.loads(pickle.dumps(client))
    assert isinstance(travelled, ShmClient)
    return travelled


def taken(server: Server) -> list[int]:
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_client_is_not_copied_and_stays_usable(
    server: Server, client: ShmClient, make: Callable[[Any], Any]
) -> None:
    with pytest.raises(TypeError, match=r"^a ShmClient can't be copied: .*make another ShmClient"):
        make(client)
    with pytest.raises(TypeError, match="can't be copied"):
        make([client]) if make is copy.deepcopy else make(client)
    gc.collect()
    client.send(numbered(1))
    assert taken(server) == [1]
    assert len(server.producers()) == 1


# ---------------------------------------------------------------- first use


def reserve_one(client: ShmClient) -> None:
    with client.reserve() as slot:
        slot["x"][:] = slot["n"][...] = 5


SENDS: dict[str, Callable[[ShmClient], object]] = {
    "send": lambda client: client.send(numbered(5)),
    "send_batch": lambda client: client.send_batch(stacked([5])),
    "reserve": reserve_one,
}


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
def test_an_unpickled_client_attaches_at_its_first_send(
    server: Server, client: ShmClient, send: Callable[[ShmClient], object]
) -> None:
    with again(client) as other:
        assert len(server.producers()) == 1
        send(other)
        first, second = server.producers()
        assert (first.samples, second.samples) == (0, 1)
        assert taken(server) == [5]
        client.send(numbered(6))  # the original is another producer
        assert taken(server) == [6]
    wait_until(lambda: len(server.producers()) == 1, "the unpickled one has left")


def test_an_unpickled_client_reads_published_values(server: Server, client: ShmClient) -> None:
    server.publish({"w": np.array([1.0, 2.0])})
    with again(client) as other:
        version, value = other.latest() or (0, {})
        assert (version, value["w"].tolist()) == (1, [1.0, 2.0])
    with again(client) as other:
        assert other.wait_for(1, timeout=WATCHDOG) == 1
        other.wait(timeout=WATCHDOG)


@pytest.mark.parametrize("role", ["producer", "reader"])
def test_an_unpickled_client_attaches_to_tell_who_serves(
    server: Server, name: str, role: Any
) -> None:
    with ShmClient(name, EXAMPLE, role=role) as client, again(client) as other:
        assert len(server.producers()) + len(server.readers()) == 1
        assert other.server_pid == client.server_pid == os.getpid()
        assert len(server.producers()) + len(server.readers()) == 2
    assert other.server_pid == os.getpid()
    with again(client) as closed, pytest.raises(ConnectionClosedError, match="is closed"):
        _ = closed.server_pid


def test_threads_that_use_it_first_at_once_attach_once(server: Server, client: ShmClient) -> None:
    with again(client) as other:
        workers = [Worker(other.send, numbered(n)) for n in range(4)]
        for worker in workers:
            worker.result()
        assert sorted(taken(server)[0] for _ in range(4)) == [0, 1, 2, 3]
        assert len(server.producers()) == 2


def send_and_report(pipe: Any, client: ShmClient) -> None:
    with client:
        client.send(numbered(7))
        pipe.send("sent")
        pipe.recv()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "subprocess"])
def test_a_client_may_be_given_to_another_process(
    server: Server, client: ShmClient, method: str
) -> None:
    with start(send_and_report, client, method=method) as child:
        child.expect("sent")
        assert {p.pid for p in server.producers()} >= {child.pid}
        assert taken(server) == [7]
        child.say("end")
        assert child.wait() == 0
    client.send(numbered(8))
    assert taken(server) == [8]


def use_in_child(pipe: Any, client: ShmClient) -> None:
    with client:
        client.send(numbered(3))
    pipe.send("sent")


def test_an_unpickled_client_may_be_forked_before_its_first_use(
    server: Server, client: ShmClient
) -> None:
    other = again(client)
    with start(use_in_child, other) as child:
        child.expect("sent")
        assert child.wait() == 0
    assert taken(server) == [3]
    with other:
        other.send(numbered(4))
    assert taken(server) == [4]


def test_an_unpickled_client_that_is_not_used_attaches_nowhere(
    server: Server, client: ShmClient
) -> None:
    other = again(client)
    assert not other.closed
    del other
    gc.collect()  # without a ResourceWarning: there was no connection
    other = again(client)
    other.close()
    with pytest.raises(ConnectionClosedError, match="is closed"):
        other.send(numbered(1))
    assert len(server.producers()) == 1


def test_a_client_that_was_closed_is_unpickled_closed(server: Server, name: str) -> None:
    client = ShmClient(name, EXAMPLE)
    client.close()
    other = again(client)
    assert other.closed
    with pytest.raises(ConnectionClosedError, match="is closed"):
        other.send(numbered(1))
    with pytest.raises(ConnectionClosedError, match="is closed"):
        other.reserve()


# ---------------------------------------------------------------- what travels


def test_the_first_use_raises_the_errors_of_the_constructor(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)), ShmClient(name, EXAMPLE) as client:
        content = pickle.dumps(client)
    with pytest.raises(ServerNotFoundError):
        pickle.loads(content).send(numbered(1))
    with Server({"y": np.float32(0)}, 1, ShmTransport(name)) as server:
        with pytest.raises(SpecMismatchError):
            pickle.loads(content).send(numbered(1))
        assert server.producers() == []


def test_the_time_to_wait_for_a_server_travels_along(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)):
        with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
            content = pickle.dumps(client)
    with pickle.loads(content) as client:
        sending = Worker(client.send, numbered(2))
        sending.wait_until_asleep()
        with Server(EXAMPLE, 1, ShmTransport(name)) as server:
            assert taken(server) == [2]
            sending.result()


def test_the_cast_travels_along(server: Server, name: str) -> None:
    with ShmClient(name, EXAMPLE, cast="same_kind") as client, again(client) as other:
        other.send({"x": np.zeros(3), "n": 0})
        assert taken(server) == [0]


def test_a_pickle_is_small_even_if_samples_are_large(name: str) -> None:
    example = {"frame": np.zeros((1000, 1000), np.uint8)}
    with Server(example, 1, ShmTransport(name)), ShmClient(name, example) as client:
        assert len(pickle.dumps(client)) < 2000


class Step(NamedTuple):
    obs: Any
    done: Any


TREES: list[Any] = [
    np.zeros((2, 3), ">f4"),
    {"b": [np.zeros(2), (np.int8(0), None)], "a": Step(np.zeros(1), np.bool_(False))},
    OrderedDict(z=np.zeros(2), a=np.zeros((3, 0), "M8[ns]")),
    {"r": np.zeros(2, [("a", "<i4"), ("b", ">f8", (2,))]), "s": np.zeros((), "U3")},
    {2: np.zeros(1), "2": np.zeros(2), (1, "x"): np.zeros(3)},
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("tree", TREES, ids=lambda tree: type(tree).__name__)
def test_a_spec_is_the_same_after_a_pickle(tree: Any, protocol: int) -> None:
    spec = TreeSpec.from_example(tree, root="[0]")
    other = pickle.loads(pickle.dumps(spec, protocol))
    assert other.leaves == spec.leaves
    assert other.digest() == spec.digest()
    assert other.treedef == spec.treedef
    assert [leaf.shape for leaf in other.check(tree)] == [leaf.shape for leaf in spec.check(tree)]
    assert copy.deepcopy(spec).digest() == spec.digest()
