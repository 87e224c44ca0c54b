"""Ctrl-C, and other signals, in a process whose main thread blocks in a call of the library.

KeyboardInterrupt comes although the call would never have returned, says what was sent, and leaves
everything usable.
"""

from __future__ import annotations

import itertools
import random
import signal
import time

import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.transports.base import Ingress
from tests.faults import interrupt_storm, interrupted, roles
from tests.support.learner import auditing
from tests.support.manual_transport import ManualTransport
from tests.support.processes import Child, start
from tests.support.samples import Audit, Maker, example
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, process_state, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")


def small_server(name: str) -> Server:
    return Server(
        example(),
        interrupted.CAPACITY // 2,
        ShmTransport(name),
        num_buffers=2,
        publishes={"w": example()["payload"]},
    )


def until_blocked(child: Child, server: Server | None = None, *, for_room: bool = False) -> None:
    """Wait until the child's main thread is in its blocking call, as far as can be seen."""
    child.expect("blocking")
    if server is not None and for_room:
        wait_until(lambda: server.producers()[0].blocked_seconds > 0, "it waits for room")
    wait_until(lambda: process_state(child.pid) == "S", "it sleeps")


@pytest.mark.parametrize("action", interrupted.BLOCKING)
def test_ctrl_c_ends_a_blocked_client_which_can_then_continue(name: str, action: str) -> None:
    audit = Audit()
    with small_server(name) as server, start(interrupted.client, name, action) as child:
        until_blocked(child, server, for_room=action in ("send", "send_batch", "reserve"))
        child.kill(signal.SIGINT)
        before = 1 if action in ("wait", "wait_for", "the body of reserve") else 4
        child.expect(("interrupted", before))
        assert server.info().store_size == before
        assert server.producers()[0].held == 0
        child.say("go on")
        for sample in server.dataset_iter(until="producers_closed"):
            audit.take(sample.batch)
        assert child.wait() == 0
    audit.check({(1, 0): interrupted.TOTAL}, in_order=action != "the body of reserve")


@pytest.mark.parametrize("action", ["sample", "flush", "dataset_iter", "another thread's turn"])
def test_ctrl_c_ends_a_blocked_learner_which_can_then_continue(name: str, action: str) -> None:
    with start(interrupted.learner, name, action) as child:
        child.expect("serving")
        with roles.attach(name) as client:
            slot = client.reserve()  # what a flush waits for
            child.say("block")
            until_blocked(child)
            child.kill(signal.SIGINT)
            child.expect("interrupted")
            Maker(1).write(slot, 0)
            slot.commit()
            for n in range(1, 6):
                client.send(Maker(1).sample(n), timeout=WATCHDOG) if n < 3 else None
            child.say("go on")
            for n in range(3, 6):
                client.send(Maker(1).sample(n), timeout=WATCHDOG)
        came = []
        while (heard := child.hear()) != "end":
            came.append(heard)
    if action == "another thread's turn":  # which took the first batch
        assert came == [[2, 3], [4, 5]]
    else:
        assert came == [[0, 1], [2, 3], [4, 5]]


def test_a_signal_whose_handler_does_not_raise_does_not_end_a_blocked_send(name: str) -> None:
    with small_server(name) as server, start(interrupted.heedless, name) as child:
        until_blocked(child, server, for_room=True)
        for _ in range(3):
            child.kill(signal.SIGUSR1)
            until_blocked(child)  # again
        assert server.info().store_size == interrupted.CAPACITY
        assert server.sample() is not None
        assert server.sample() is not None
        child.expect("sent")
        assert server.flush().batch["sequence"].tolist() == [4]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "action", [action for action in interrupted.BLOCKING if action != "the body of reserve"]
)
def test_a_signal_handler_may_close_the_client_that_it_interrupts(name: str, action: str) -> None:
    with small_server(name) as server, start(interrupted.close_in_handler, name, action) as child:
        until_blocked(child, server, for_room=action in ("send", "send_batch", "reserve"))
        child.kill(signal.SIGTERM)
        child.expect(("closed", 4 if action == "send_batch" else 0))
        assert child.wait() == 0
        wait_until(lambda: not server.producers(), "it has left")


def test_a_signal_handler_may_close_the_server_that_it_interrupts(name: str) -> None:
    with start(interrupted.close_server_in_handler, name) as child:
        until_blocked(child)
        child.kill(signal.SIGTERM)
        child.expect(None)
        assert child.wait() == 0


def test_a_signal_handler_may_close_a_client_that_is_being_closed(name: str) -> None:
    with start(roles.serve, name, 4, False, {}) as server:
        server.expect("serving")
        with start(interrupted.close_twice, name) as child:
            child.expect("attached")
            server.kill(signal.SIGSTOP)  # so that the goodbye is not answered
            wait_until(lambda: process_state(server.pid) == "T", "the server is stopped")
            child.say("close")
            until_blocked(child)
            child.kill(signal.SIGTERM)
            child.expect("closed")
            child.say("end")
            assert child.wait() == 0


class Interrupting(ManualTransport):
    """A transport that gets a signal in the middle of its start or close."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def _interrupt(self, where: str) -> None:
        if where == self._where:
            signal.raise_signal(signal.SIGUSR1)

    def start(self, ingress: Ingress) -> None:
        super().start(ingress)
        self._interrupt("start")

    def close(self) -> None:
        self._interrupt("close")
        super().close()


@pytest.mark.parametrize("where", ["start", "close"])
def test_a_signal_handler_may_close_a_server_that_starts_or_closes(where: str) -> None:
    transport = Interrupting(where)
    server = Server(example(), 2, transport)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: server.close())
    try:
        server.start()
        assert server.closed == (where == "start")
        server.close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert transport.closed
    assert server.sample() is None


# ---------------------------------------------------------------- storms


def storm(child: Child, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(150):
        time.sleep(dice.random() * 0.002)  # the point of it: any moment
        child.kill(signal.SIGINT)
        child.expect("interrupted")


@pytest.mark.parametrize("how", ["send", "reserve"])
def test_a_client_works_through_a_storm_of_interrupts(name: str, how: str) -> None:
    with (
        Server(example(), 2, ShmTransport(name), num_buffers=2) as server,
        auditing(server) as audit,
        start(interrupt_storm.client, name, how) as child,
    ):
        child.expect("at work")
        storm(child, 1)
        child.say("stop")
        certain = child.hear()
        assert child.wait() == 0
    came = audit.sequences()[1, 0]
    assert len(came) == len(set(came)), "samples came twice"
    assert set(certain) <= set(came), "samples are lost"


def test_a_learner_works_through_a_storm_of_interrupts(name: str) -> None:
    def feed(client: ShmClient) -> None:
        for first in itertools.count(0, 1000):
            client.send_batch(Maker(1).batch(first, 1000))

    with start(interrupt_storm.learner, name) as child:
        child.expect("at work")
        with roles.attach(name) as client:
            feeding = Worker(feed, client)
            storm(child, 2)
            child.say("stop")
            child.say("one more")
            child.expect(True)
            assert child.hear() > 0
            assert child.wait() == 0
            with pytest.raises(ConnectionError):
                feeding.result()
