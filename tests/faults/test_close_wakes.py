"""close() from another thread wakes the waiting calls of a client, or of all clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.samples import Audit, Maker, example
from tests.support.threads import Worker
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

MAKER = Maker(1)
CAPACITY = 4

# Calls that wait while the ring is full, no thread samples and no value is published.
WAITS: dict[str, Callable[[ShmClient], object]] = {
    "send": lambda client: client.send(MAKER.sample(0)),
    "send_batch": lambda client: client.send_batch(MAKER.batch(0, 3)),
    "reserve": lambda client: client.reserve(),
    "wait": lambda client: client.wait(),
    "wait_for": lambda client: client.wait_for(1),
    "send with a time-out": lambda client: client.send(MAKER.sample(0), timeout=3600),
    "wait with a time-out": lambda client: client.wait(timeout=3600),
    "wait_for with a time-out": lambda client: client.wait_for(1, timeout=3600),
}


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with Server(
        example(),
        2,
        ShmTransport(name),
        num_buffers=2,
        lease=False,  # a batch takes room until the next one, even if it is dropped
        publishes={"w": example()["payload"]},
    ) as running:
        yield running


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    """Return a client that has filled the ring."""
    with attach(name) as attached:
        attached.send_batch(Maker(9).batch(0, CAPACITY))
        yield attached


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_closing_a_client_wakes_its_own_waiters(
    client: ShmClient, wait: Callable[[ShmClient], object]
) -> None:
    waiters = [Worker(wait, client) for _ in range(3)]
    for waiter in waiters:
        waiter.wait_until_asleep()

    client.close()

    for waiter in waiters:
        with pytest.raises(ConnectionClosedError, match="is closed$"):
            waiter.result()


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_closing_the_server_wakes_the_waiters_of_all_clients(
    server: Server, client: ShmClient, name: str, wait: Callable[[ShmClient], object]
) -> None:
    with ExitStack() as stack:
        assert server.sample() is not None
        assert server.sample() is not None  # makes room for two
        clients = [client, *(stack.enter_context(attach(name)) for _ in range(2))]
        for n, other in enumerate(clients[1:]):  # so that each has something to wait for
            other.send(Maker(n).sample(0), timeout=0)
        if wait is WAITS["wait"] or wait is WAITS["wait with a time-out"]:
            clients = clients[1:]
        waiters = [Worker(wait, other) for other in clients]
        for waiter in waiters:
            waiter.wait_until_asleep()

        server.close()

        for waiter in waiters:
            with pytest.raises(ConnectionClosedError, match="has (closed the ring|gone)"):
                waiter.result()


def test_closing_a_client_does_not_wake_the_waiters_of_other_clients(
    server: Server, client: ShmClient, name: str
) -> None:
    with attach(name) as other:
        waiter = Worker(other.send, MAKER.sample(0))
        waiter.wait_until_asleep()
        client.close()
        waiter.wait_until_asleep()
        assert waiter.thread.is_alive()
        assert server.sample() is not None
        assert server.sample() is not None
        waiter.result()


@pytest.mark.parametrize("closer", ["client", "server"])
def test_the_samples_of_a_batch_before_the_close_are_counted_and_arrive(
    server: Server, name: str, closer: str
) -> None:
    audit = Audit()
    with attach(name) as client:
        waiter = Worker(client.send_batch, MAKER.batch(0, 100))
        for _ in range(3):
            sample = server.sample()
            assert sample is not None
            audit.take(sample.batch)
        wait_until(lambda: server.producers()[0].samples == 8, "the ring is full again")
        waiter.wait_until_asleep()
        {"client": client, "server": server}[closer].close()
        with pytest.raises(ConnectionClosedError) as closed:
            waiter.result()
        assert closed.value.sent == 8
        if closer == "client":
            sample = server.sample(timeout=0)
            assert sample is not None
            audit.take(sample.batch)
            audit.check({(1, 0): 8})
            with pytest.raises(TimeoutError):
                server.sample(timeout=0)


@pytest.mark.parametrize("how", ["sample", "flush", "dataset_iter"])
def test_closing_the_server_ends_every_learner_that_waits(
    server: Server, name: str, how: str
) -> None:
    with attach(name) as client, client.reserve():  # what a flush would wait for
        learn: Callable[[], object] = {
            "sample": server.sample,
            "flush": server.flush,
            "dataset_iter": lambda: next(iter(server.dataset_iter()), None),
        }[how]
        learners = [Worker(learn) for _ in range(3)]
        for learner in learners:
            learner.wait_until_asleep()
        server.close()
        assert [learner.result() for learner in learners] == [None] * 3
        with pytest.raises(ConnectionClosedError):
            client.send(MAKER.sample(0))


def test_a_slot_outlives_the_close_of_its_client_and_may_still_be_committed(
    server: Server, name: str
) -> None:
    client = attach(name)
    slot = client.reserve()
    client.close()
    assert [p.held for p in server.producers()] == [1]
    MAKER.write(slot, 0)
    slot.commit()
    wait_until(lambda: not server.producers(), "it leaves with its last slot")
    assert server.flush().batch["sequence"].tolist() == [0]  # type: ignore[union-attr]
