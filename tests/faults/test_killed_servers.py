"""The server is killed: every call of a producer raises, and a new server can take over."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from shm_echo.errors import ServerNotFoundError
from tests.faults.roles import BLOCKING, attach, be_cut_off, send_some, serve
from tests.support.leftovers import shm_names
from tests.support.processes import Child, start
from tests.support.samples import Maker, example
from tests.support.waiting import WATCHDOG, process_state, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

BLOCKED = [action for action in BLOCKING if action != "stream"]


def hear(pipe: Connection[Any, Any]) -> Any:
    """Return the report of a producer that was forked from the server."""
    assert pipe.poll(WATCHDOG), "a producer forked from the server has said nothing"
    return pipe.recv()


def ask(server: Child) -> dict[int, float]:
    server.say("who is there?")
    return dict(server.hear())


def check_end(heard: Any) -> None:
    kind, text, _ = heard
    assert kind == "ConnectionClosedError"
    assert text.startswith("the server of "), text
    assert "has gone" in text


def test_blocked_producers_raise_when_their_server_is_killed(name: str) -> None:
    pipes = {action: multiprocessing.Pipe() for action in BLOCKED}
    forked = {action: theirs for action, (_, theirs) in pipes.items()}
    blocking = 2 * len(BLOCKED)
    with ExitStack() as stack:
        # Room for the first sample of every producer, and not for one more.
        server = stack.enter_context(start(serve, name, blocking, False, forked))
        server.expect("serving")
        ours = [stack.enter_context(start(be_cut_off, name, action)) for action in BLOCKED]
        inherited = [stack.enter_context(pipe) for pipe, _ in pipes.values()]
        for theirs in forked.values():
            theirs.close()
        for child in ours:
            child.expect("attached")
        for pipe in inherited:
            assert hear(pipe) == "attached"
        for child in ours:
            child.say("go")
        for pipe in inherited:
            pipe.send("go")

        waits_for_room = 2 * len({"send", "send_batch", "reserve"})

        def all_blocked() -> bool:
            found = ask(server)
            blocked = sum(seconds > 0 for seconds in found.values())
            asleep = all(process_state(pid) == "S" for pid in found)
            return len(found) == blocking and blocked == waits_for_room and asleep

        wait_until(all_blocked, "every producer is blocked")
        assert server.end() == -signal.SIGKILL

        for child in ours:
            check_end(child.hear())
            child.expect("closed")
            assert child.wait() == 0
        for pipe in inherited:
            check_end(hear(pipe))
            assert hear(pipe) == "closed"


def test_streaming_producers_raise_when_their_server_is_killed(name: str) -> None:
    dice = random.Random(3)
    for _ in range(5):
        pipe, theirs = multiprocessing.Pipe()
        with pipe, start(serve, name, 8, True, {"stream": theirs}) as server:
            theirs.close()
            server.expect("serving")
            with start(be_cut_off, name, "stream") as child:
                child.expect("attached")
                assert hear(pipe) == "attached"
                child.say("go")
                pipe.send("go")
                time.sleep(dice.random() * 0.02)  # the point of it: any moment
                server.end()
                check_end(child.hear())
                check_end(hear(pipe))
                assert hear(pipe) == "closed"
                assert child.wait() == 0


def test_a_client_of_a_killed_server_can_still_read_the_newest_value_and_close(name: str) -> None:
    with start(serve, name, 4, False, {}) as server:
        server.expect("serving")
        with attach(name) as client:
            server.end()
            version, value = client.latest() or (0, {})
            assert version == 1
            np.testing.assert_array_equal(value["w"], np.arange(3.0))
            with pytest.raises(ConnectionClosedError, match="has gone"):
                client.wait_for(2)


@pytest.mark.parametrize("method", ["fork", "subprocess"])
def test_a_killed_server_is_replaced_at_once_under_the_same_name(name: str, method: str) -> None:
    for _ in range(3):
        with start(serve, name, 4, False, {}, method=method) as server:
            server.expect("serving")
            server.end()
    with (
        Server(example(), 2, ShmTransport(name), num_buffers=2) as successor,
        start(send_some, name, 1, 2) as child,
    ):
        sample = successor.sample(timeout=WATCHDOG)
        assert sample is not None
        assert sample.batch["sequence"].tolist() == [0, 1]
        child.say("close")
        assert child.wait() == 0
    assert not {n for n in shm_names() if f"-{server.pid}-" in n}


def test_a_child_that_outlives_its_killed_server_blocks_no_client_and_leaves_the_name_free(
    name: str,
) -> None:
    pipe, theirs = multiprocessing.Pipe()
    with pipe, start(serve, name, 4, False, {"idle": theirs}) as server:
        theirs.close()
        server.expect("serving")
        assert hear(pipe) == "idle"
        with attach(name) as client:
            server.end()
            with pytest.raises(ConnectionClosedError, match="has gone"):
                client.send_batch(Maker(1).batch(0, 100))
        with pytest.raises(ServerNotFoundError):
            attach_at_once(name)
        with (
            Server(example(), 2, ShmTransport(name), num_buffers=2),
            attach_at_once(name) as client,
        ):
            client.send(Maker(1).sample(0), timeout=0)
        pipe.send("end")


def attach_at_once(name: str) -> ShmClient:
    return ShmClient(name, example())
