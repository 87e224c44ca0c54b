"""Clients, slots, servers and leases across a fork: what a child may do, and what it may not.

A child never shares its parent's owner id. It attaches again, and neither its calls nor its death
affect the claims of its parent.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from shm_echo.errors import ForkedHandleError
from shm_echo.transports.slot import Slot
from tests.faults.roles import attach
from tests.support.processes import Child, start
from tests.support.samples import Maker, example
from tests.support.waiting import WATCHDOG, wait_until

PARENT, CHILD, GRANDCHILD = Maker(1), Maker(2), Maker(3)

pytestmark = pytest.mark.usefixtures("shm_unchanged")


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    """Return a server that hands out one sample at a time and has room for four."""
    with Server(
        example(), 1, ShmTransport(name), num_buffers=4, publishes={"w": np.zeros(2)}
    ) as running:
        yield running


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    with attach(name) as attached:
        yield attached


def take(server: Server) -> tuple[int, int]:
    """Return the producer and the number of the next sample."""
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    return int(sample.batch["producer"][0]), int(sample.batch["sequence"][0])


def finished(child: Child) -> bool:
    return child.wait() == 0


def wait_for_pids(server: Server, *pids: int) -> None:
    wait_until(lambda: {p.pid for p in server.producers()} == set(pids), f"{pids} are attached")


# ---------------------------------------------------------------- first use in the child


def use_then_stay(pipe: Any, client: ShmClient, use: Callable[[ShmClient], Any]) -> None:
    use(client)
    pipe.send("used")
    pipe.recv()
    client.close()


def reserve_and_commit(client: ShmClient) -> None:
    with client.reserve() as slot:
        CHILD.write(slot, 0)


USES: dict[str, Callable[[ShmClient], Any]] = {
    "send": lambda client: client.send(CHILD.sample(0)),
    "send_batch": lambda client: client.send_batch(CHILD.batch(0, 1)),
    "reserve": reserve_and_commit,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_child_attaches_again_on_first_use_and_its_parent_continues(
    server: Server, client: ShmClient, use: Callable[[ShmClient], Any]
) -> None:
    client.send(PARENT.sample(0))
    (before,) = server.producers()
    with start(use_then_stay, client, use) as child:
        child.expect("used")
        client.send(PARENT.sample(1))
        parent, other = server.producers()
        assert (parent.id, parent.pid, parent.samples) == (before.id, os.getpid(), 2)
        assert (other.pid, other.samples) == (child.pid, 1)
        assert other.id != parent.id
        assert [take(server) for _ in range(3)] == [(1, 0), (2, 0), (1, 1)]
        child.say("close")
        assert finished(child)
    wait_for_pids(server, os.getpid())
    client.send(PARENT.sample(2))
    assert take(server) == (1, 2)


def read_and_wait(client: ShmClient) -> None:
    client.wait(timeout=WATCHDOG)  # returns at once: the child has sent no sample
    version, value = client.latest() or (0, {})
    assert (version, value["w"].tolist()) == (1, [1.0, 2.0])
    assert client.wait_for(1, timeout=WATCHDOG) == 1


def test_a_child_reads_published_values_and_waits_for_its_own_samples_only(
    server: Server, client: ShmClient
) -> None:
    client.send(PARENT.sample(0))
    server.publish({"w": np.array([1.0, 2.0])})
    with start(use_then_stay, client, read_and_wait) as child:
        child.expect("used")
        child.say("close")
        assert finished(child)


def use_in_threads(client: ShmClient) -> None:
    makers = [Maker(10 + n) for n in range(4)]
    threads = [threading.Thread(target=client.send, args=(maker.sample(0),)) for maker in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_a_child_that_use_the_client_at_once_attach_once(
    server: Server, client: ShmClient
) -> None:
    with start(use_then_stay, client, use_in_threads) as child:
        child.expect("used")
        wait_for_pids(server, os.getpid(), child.pid)
        assert len(server.producers()) == 2
        assert sorted(take(server) for _ in range(4)) == [(10 + n, 0) for n in range(4)]


def fork_again(pipe: Any, client: ShmClient) -> None:
    client.send(CHILD.sample(0))
    with start(use_then_stay, client, lambda c: c.send(GRANDCHILD.sample(0))) as grandchild:
        grandchild.expect("used")
        client.send(CHILD.sample(1))
        pipe.send(grandchild.pid)
        pipe.recv()
        grandchild.say("close")
        assert grandchild.wait() == 0
    client.close()


def test_a_grandchild_attaches_again_too(server: Server, client: ShmClient) -> None:
    with start(fork_again, client, daemon=False) as child:
        grandchild = child.hear()
        wait_for_pids(server, os.getpid(), child.pid, grandchild)
        assert [take(server) for _ in range(3)] == [(2, 0), (3, 0), (2, 1)]
        child.say("close")
        assert finished(child)
    wait_for_pids(server, os.getpid())


# ---------------------------------------------------------------- slots and ends


def misuse_slot(pipe: Any, slot: Slot) -> None:
    """Try in every way to end the claim of the parent."""
    with pytest.raises(ValueError, match="read-only"):
        slot["payload"][:] = 0
    with pytest.raises(ForkedHandleError, match="created before the fork"):
        slot.commit()
    slot.abort()
    with slot:
        pass
    del slot
    gc.collect()
    pipe.send("done")
    pipe.recv()
    sys.exit(0)  # in good order, with finalizers


def test_a_child_can_neither_commit_nor_abort_a_slot_of_its_parent(
    server: Server, client: ShmClient
) -> None:
    with client.reserve() as slot:
        PARENT.write(slot, 7)
        with start(misuse_slot, slot) as child:
            child.expect("done")
            assert [p.held for p in server.producers()] == [1]
            child.say("exit")
            assert finished(child)
        assert [p.held for p in server.producers()] == [1]
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)
    assert take(server) == (1, 7)


def be_forked_inside_reserve(pipe: Any, slot: Slot, client: ShmClient) -> None:
    client.send(CHILD.sample(0))
    pipe.send("sent")
    pipe.recv()


def test_the_death_of_a_child_does_not_affect_its_parent(server: Server, client: ShmClient) -> None:
    with client.reserve() as slot:
        with start(be_forked_inside_reserve, slot, client) as child:
            child.expect("sent")
            child.end()
        wait_for_pids(server, os.getpid())
        assert [p.held for p in server.producers()] == [1]
        PARENT.write(slot, 0)
    assert [take(server), take(server)] == [(1, 0), (2, 0)]


def close_unused(pipe: Any, client: ShmClient) -> None:
    client.close()
    with pytest.raises(ConnectionClosedError, match="is closed"):
        client.send(CHILD.sample(0))
    pipe.send("closed")


def test_a_child_that_closes_an_inherited_client_closes_its_own_only(
    server: Server, client: ShmClient
) -> None:
    with start(close_unused, client) as child:
        child.expect("closed")
        assert finished(child)
    client.send(PARENT.sample(0))
    assert take(server) == (1, 0)
    assert [p.pid for p in server.producers()] == [os.getpid()]


def use_after_parent(pipe: Any, client: ShmClient) -> None:
    pipe.recv()
    client.send(CHILD.sample(0))
    client.close()


def test_a_child_can_use_a_client_that_its_parent_has_closed_since(
    server: Server, name: str
) -> None:
    with attach(name) as client, start(use_after_parent, client) as child:
        client.close()
        child.say("go")
        assert take(server) == (2, 0)
        assert finished(child)


def test_a_fork_while_a_thread_of_the_parent_waits_for_room_affects_neither(
    server: Server, client: ShmClient
) -> None:
    def send_six() -> None:
        for n in range(6):
            client.send(PARENT.sample(n))

    thread = threading.Thread(target=send_six)
    thread.start()
    wait_until(lambda: server.producers()[0].blocked_seconds > 0, "the parent waits for room")
    with start(use_then_stay, client, USES["send"]) as child:
        came = [take(server) for _ in range(7)]
        child.expect("used")
    thread.join()
    assert [n for who, n in came if who == 1] == list(range(6))
    assert [n for who, n in came if who == 2] == [0]


@pytest.fixture
def children() -> Iterator[list[int]]:
    """Fork in the handler of a signal that comes soon; return the ids, as each process has them."""
    pids: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: pids.append(os.fork()))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    yield pids
    timer.join()
    signal.signal(signal.SIGUSR1, before)


def leave_child(children: list[int], good: bool) -> None:
    if children == [0]:
        os._exit(0 if good else 1)


def test_the_child_of_a_signal_handler_that_forks_sends_as_a_producer_of_its_own(
    server: Server, client: ShmClient, children: list[int]
) -> None:
    client.send_batch(PARENT.batch(0, 4))  # the ring is full
    taken: list[tuple[int, int]] = []

    def take_six() -> None:
        wait_until(lambda: children != [], "the handler has forked")
        taken.extend(take(server) for _ in range(6))

    learner = threading.Thread(target=take_six)
    learner.start()
    good = False
    try:
        client.send(PARENT.sample(4), timeout=WATCHDOG)
        good = True
    finally:
        leave_child(children, good)
    learner.join()
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert taken == [(1, n) for n in (0, 1, 2, 3, 4, 4)]


def test_the_child_of_a_signal_handler_that_forks_does_not_end_the_wait_of_its_parent(
    server: Server, client: ShmClient, children: list[int]
) -> None:
    client.send(PARENT.sample(0))
    errors: list[type[Exception]] = []
    try:
        client.wait(timeout=1.5)
    except (ForkedHandleError, TimeoutError, ConnectionClosedError) as error:
        errors.append(type(error))
    finally:
        leave_child(children, errors == [ForkedHandleError])
    assert errors == [TimeoutError]
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert server.producers()[0].state == "attached"  # not "waiting"


def use_without_server(pipe: Any, client: ShmClient) -> None:
    pipe.recv()
    with pytest.raises(
        ForkedHandleError, match="created before the fork, and attaching again failed"
    ):
        client.send(CHILD.sample(0))
    pipe.send("told")


def test_a_child_that_cannot_attach_again_gets_the_reason(name: str) -> None:
    with Server(example(), 1, ShmTransport(name), num_buffers=2) as server:
        # The child waits for a server as long as this client would.
        client = ShmClient(name, example(), connect_timeout=0)
        with client, start(use_without_server, client) as child:
            server.close()
            child.say("go")
            child.expect("told")
            assert finished(child)
