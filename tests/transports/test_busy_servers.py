"""Servers that are there and do not answer: a learner that compiles, loads or is stopped."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import HandshakeTimeoutError
from shm_echo.transports.shm import RingService
from tests.support.numbered import EXAMPLE, numbered
from tests.support.processes import Child, start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, process_state, stop, wait_until

# Seconds of patience with a server that is reached, in the place of 5.
LITTLE = 0.05


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "shm_echo.transports.attach.connect", partial(connect, handshake_timeout=LITTLE)
    )


def serve(pipe: Any, name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        pipe.send("serving")
        pipe.send(server.sample() is not None)
        pipe.recv()


@pytest.fixture
def learner(name: str) -> Iterator[Child]:
    """A learner in a process of its own, which the test may stop."""
    with start(serve, name, method="fork") as child:
        child.expect("serving")
        yield child
        child.kill(signal.SIGCONT)


@pytest.mark.usefixtures("impatient")
def test_a_stopped_learner_is_waited_for_as_long_as_the_actor_asked(
    name: str, learner: Child
) -> None:
    stop(learner.pid)
    with pytest.raises(HandshakeTimeoutError) as caught:
        ShmClient(name, EXAMPLE)
    assert isinstance(caught.value, (TimeoutError, ConnectionError))
    assert caught.value.pid == learner.pid
    assert f"the server is there (pid {learner.pid}) and does not answer: " in str(caught.value)
    attaching = Worker(ShmClient, name, EXAMPLE, connect_timeout=WATCHDOG)
    attaching.wait_until_asleep()
    learner.kill(signal.SIGCONT)
    with attaching.result() as client:
        client.send(numbered(1))
        learner.expect(True)


class SlowRing:
    """Makes the server's ring hesitate before it answers one request.

    Attributes:
        asked: set once the request has come.
        go: lets it be answered.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, op: str) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        answer = RingService.request

        def hesitate(service: RingService, session: Any, asked: str, args: Any) -> Any:
            if asked == op:
                self.asked.set()
                assert self.go.wait(WATCHDOG)
            return answer(service, session, asked, args)

        monkeypatch.setattr(RingService, "request", hesitate)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("op", ["memory", "attach"])
def test_a_late_answer_to_a_request_has_the_same_deadline(
    name: str, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    ring = SlowRing(monkeypatch, op)
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with pytest.raises(HandshakeTimeoutError, match=f"not answer: no reply to '{op}' came"):
            ShmClient(name, EXAMPLE)
        ring.go.set()
        # The client has gone: what the late answer grants is given back.
        ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG).close()
        wait_until(lambda: not server.producers(), "nobody is attached")
        ring.go.clear()
        ring.asked.clear()
        attaching = Worker(ShmClient, name, EXAMPLE, connect_timeout=WATCHDOG)
        assert ring.asked.wait(WATCHDOG)
        attaching.wait_until_asleep()
        ring.go.set()
        with attaching.result() as client:
            client.send(numbered(1), timeout=0)


def send_as_a_child(pipe: Any, client: ShmClient) -> None:
    try:
        client.send(numbered(2))
        pipe.send("sent")
        client.close()
    except HandshakeTimeoutError as error:
        pipe.send(str(error))
        while True:  # the client is not broken by it, and the server may be slow still
            with contextlib.suppress(HandshakeTimeoutError):
                client.send(numbered(3))
                break
        pipe.send("sent")
        client.close()


@pytest.mark.usefixtures("impatient")
def test_an_inherited_client_has_the_connect_time_of_its_parent(name: str, learner: Child) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
        stop(learner.pid)
        with start(send_as_a_child, client, method="fork") as child:
            wait_until(lambda: process_state(child.pid) == "S", "the child waits")
            learner.kill(signal.SIGCONT)
            child.expect("sent")
            learner.expect(True)


def test_a_busy_server_does_not_break_an_inherited_client(
    name: str, learner: Child, request: pytest.FixtureRequest
) -> None:
    with ShmClient(name, EXAMPLE) as client:
        request.getfixturevalue("impatient")
        stop(learner.pid)
        with start(send_as_a_child, client, method="fork") as child:
            assert f"(pid {learner.pid}) and does not answer" in child.hear()
            learner.kill(signal.SIGCONT)
            child.expect("sent")
            learner.expect(True)
