"""Ends of a TcpClient: lost connections, close(), forks, pickles, copies and slots."""

from __future__ import annotations

import copy
import gc
import logging
import os
import pickle
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
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
from shm_echo.transports.tcp import client_base
from tests.support.ack_server import AckServer, ack_server, pair
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, stacked
from tests.support.processes import start
from tests.support.tcp_ends import numbered_bytes
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

ROOT = Path(__file__).resolve().parents[3]

ENDS = {"fin": AckServer.hang_up, "reset": AckServer.reset}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest) -> Any:
    """Return a way in which a server ends a connection."""
    return ENDS[request.param]


# ---------------------------------------------------------------- a lost connection

BLOCKED: dict[str, Callable[[TcpClient], Any]] = {
    "send": lambda client: client.send(numbered(9)),
    "send_batch": lambda client: client.send_batch(stacked(range(9))),
    "reserve": lambda client: client.reserve(),
    "wait": lambda client: client.wait(),
}


@pytest.mark.parametrize("call", BLOCKED)
def test_a_call_that_waits_for_acknowledgements_ends_with_the_connection(
    call: str, end: Callable[[AckServer], None]
) -> None:
    with pair(EXAMPLE, max_inflight_msgs=3) as (server, client):
        client.send_batch(stacked(range(3)))
        blocked = Worker(BLOCKED[call], client)
        blocked.wait_until_asleep()
        assert server.read(3) == numbered_bytes(range(3))
        server.ack()
        if call == "wait":
            wait_until(lambda: client._sender.acked == 1, "the acknowledgement came")
            end(server)
            lost = 2
        else:
            blocked = Worker(lambda: (blocked.result(), BLOCKED["wait"](client)))
            wait_until(lambda: client._sender.acked == 1, "the acknowledgement came")
            end(server)
            lost = client._sender.sent - 1
        with pytest.raises(ConnectionClosedError, match="connection lost") as error:
            blocked.result()
        if end is AckServer.hang_up:
            assert error.value.unacked == lost
            assert f"{lost} samples that were sent are not acknowledged" in str(error.value)
        again = pickle.loads(pickle.dumps(error.value))
        assert (again.unacked, str(again)) == (error.value.unacked, str(error.value))


def test_a_client_that_does_nothing_knows_that_the_connection_ended(
    end: Callable[[AckServer], None],
) -> None:
    with pair(EXAMPLE) as (server, client):
        assert not client.closed
        assert not client._closed.is_set()
        assert not client._closed.wait(0)
        end(server)
        wait_until(lambda: client.closed, "the client noticed the end")
        assert client._closed.wait(0)
        with pytest.raises(ConnectionClosedError, match="connection lost"):
            client.send(numbered(0))
        client.wait()  # nothing was on its way


def test_a_sender_that_never_waits_notices_the_end(end: Callable[[AckServer], None]) -> None:
    with pair(EXAMPLE, max_inflight_msgs=10**6) as (server, client):
        end(server)

        def send() -> bool:
            try:
                client.send(numbered(0))
            except ConnectionClosedError as error:
                return "connection lost" in str(error)
            return False

        wait_until(send, "a send noticed the end")


def test_a_server_that_takes_nothing_for_longer_than_dead_after_is_not_gone() -> None:
    """Its kernel answers the probes, as during a long evaluation of a learner."""
    large = {"x": np.zeros(1 << 22, np.uint8)}
    with pair(large, dead_after=0.2, receive_buffer=1 << 14) as (server, client):
        sending = Worker(client.send, large)
        sending.thread.join(1.0)
        assert sending.thread.is_alive()
        assert not client.closed
        server.read()
        sending.result()


VANISHED = """
import subprocess
from tests.support.ack_server import pair
from tests.support.numbered import EXAMPLE, numbered

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with pair(EXAMPLE, dead_after=0.5) as (server, client):
    client.send(numbered(0))
    server.ack()
    client.wait()
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    try:
        client.send(numbered(1))
        client.wait()
    except ConnectionError as error:
        print(error)
"""


def test_a_host_that_vanishes_is_noticed() -> None:
    tools = [shutil.which(name) for name in ("unshare", "ip")]
    if None in tools or subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode:
        pytest.skip("this process may not make a network namespace")
    out = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-c", VANISHED],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=WATCHDOG,
    )
    assert "connection lost: Connection timed out; 1 samples that were sent" in out.stdout, out


# ---------------------------------------------------------------- close


def test_close_waits_for_the_acknowledgements() -> None:
    with pair(EXAMPLE) as (server, client):
        client.send_batch(stacked(range(5)))
        closing = Worker(client.close)
        assert server.rest() == numbered_bytes(range(5)), "the client has ended its stream"
        assert closing.thread.is_alive()
        server.ack(5)
        closing.result()
        assert client.closed
        assert client._in_flight_count == 0
        client.close()


def test_close_says_how_many_samples_were_not_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pair(EXAMPLE) as (server, client), caplog.at_level(logging.WARNING, "shm_echo"):
        client.send_batch(stacked(range(5)))
        server.ack(2)
        wait_until(lambda: client._in_flight_count == 3, "the acknowledgements came")
        client.close(timeout=0.05)
        assert caplog.messages == [
            f"TcpClient for 127.0.0.1:{server.port} closed with 3 samples that the server has not "
            "acknowledged"
        ]


def test_close_does_not_wait_for_a_server_that_is_gone(
    caplog: pytest.LogCaptureFixture, end: Callable[[AckServer], None]
) -> None:
    with pair(EXAMPLE) as (server, client), caplog.at_level(logging.WARNING, "shm_echo"):
        client.send(numbered(0))
        end(server)
        client.close(timeout=None)
        assert len(caplog.messages) == 1
        assert "closed with 1 samples that the server has not acknowledged: the connection" in (
            caplog.text
        )


def test_calls_of_other_threads_end_at_a_close() -> None:
    with pair(EXAMPLE, max_inflight_msgs=1) as (server, client):
        client.send(numbered(0))
        others = [Worker(client.send, numbered(1)), Worker(client.wait)]
        for other in others:
            other.wait_until_asleep()
        closing = Worker(client.close)
        for other in others:
            with pytest.raises(ConnectionClosedError, match="is closed$"):
                other.result()
        server.ack()
        closing.result()


def test_the_end_of_a_with_statement_waits_and_an_exception_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ack_server(EXAMPLE) as server:
        with caplog.at_level(logging.WARNING, "shm_echo"):
            with pytest.raises(ZeroDivisionError), server.connect() as client:
                client.send(numbered(0))
                raise ZeroDivisionError
        assert client.closed
        assert server.rest() == numbered_bytes([0])
        server.connection.close()

        def use() -> None:
            with server.connect() as client:
                client.send(numbered(1))

        used = Worker(use)
        wait_until(lambda: server.connection.fileno() >= 0, "the client connected")
        assert server.rest() == numbered_bytes([1])
        server.ack()
        used.result()


def test_a_client_that_is_dropped_warns_and_closes() -> None:
    with ack_server(EXAMPLE) as server:
        clients = [server.connect()]
        with pytest.warns(ResourceWarning, match="TcpClient of 127.0.0.1:.* was not closed"):
            clients.clear()
        assert server.rest() == b""


# ---------------------------------------------------------------- slots


def test_a_slot_is_sent_at_the_end_of_a_with_statement() -> None:
    with pair(EXAMPLE) as (server, client):
        with client.reserve() as slot:
            assert slot.is_open
            slot["x"][:] = 3
            slot["n"] = 3  # replaced
            view = slot["x"]
        assert server.read() == numbered_bytes([3])
        assert not slot.is_open
        assert not view.flags.writeable
        with pytest.raises(ConnectionClosedError, match="committed or given back already"):
            slot.commit()
        slot.abort()
        with client.reserve() as slot:
            slot.tree = numbered(4)
        assert server.read() == numbered_bytes([4])


def test_an_exception_drops_a_slot_and_a_wrong_leaf_sends_nothing() -> None:
    with pair(EXAMPLE) as (server, client):
        with pytest.raises(ZeroDivisionError), client.reserve() as slot:
            raise ZeroDivisionError
        assert not slot.is_open
        with pytest.raises(SpecMismatchError, match=r"\['x'\]"), client.reserve() as slot:
            slot["x"] = np.zeros(4)
        assert not slot.is_open
        client.reserve().abort()
        with pytest.raises(TypeError, match="can be neither copied nor pickled"):
            copy.copy(slot)
        client.send(numbered(1))
        assert server.read() == numbered_bytes([1])
        assert not server.has_bytes()


def test_a_reservation_waits_for_room() -> None:
    with pair(EXAMPLE, max_inflight_msgs=1) as (server, client):
        client.send(numbered(0))
        with pytest.raises(TimeoutError):
            client.reserve(timeout=0)
        waiting = Worker(client.reserve)
        waiting.wait_until_asleep()
        server.ack()
        waiting.result().abort()


# ---------------------------------------------------------------- forks, pickles, copies


def use_in_child(pipe: Any, client: TcpClient, slot: Any) -> None:
    """Try everything that a child has inherited."""
    for call in (
        lambda: client.send(numbered(1)),
        lambda: client.send_batch(stacked(range(2))),
        lambda: client.reserve(),
        lambda: client.wait(),
        lambda: client.latest(),
        slot.commit,
    ):
        try:
            call()
        except ForkedHandleError as error:
            pipe.send(str(error))
    pipe.send(slot.is_open)
    client.close()
    pipe.send("closed")
    pipe.recv()


def test_a_forked_child_cannot_use_the_client_and_does_not_keep_its_connection() -> None:
    with ack_server(EXAMPLE) as server:
        client = server.connect()
        slot = client.reserve()
        with start(use_in_child, client, slot) as child:
            for _ in range(6):
                assert "was created before the fork" in child.hear()
            child.expect(False)
            child.expect("closed")
            client.send(numbered(7))
            assert server.read() == numbered_bytes([7])
            server.ack()
            client.close()
            assert server.rest() == b"", "the child, which lives, does not hold the connection"
            child.say()


def test_a_pickled_client_connects_at_its_first_use() -> None:
    with ack_server(EXAMPLE) as server:
        first = server.connect(max_inflight_msgs=7)
        travelled = pickle.loads(pickle.dumps(first))
        first._end_at_once()
        server.connection.close()
        assert "closed" not in repr(travelled)
        assert travelled._in_flight_count == 0
        greeter = Worker(server.greet)
        travelled.send(numbered(1))
        greeter.result()
        assert server.read() == numbered_bytes([1])
        server.ack()
        travelled.wait()
        travelled.close()


def test_a_pickled_client_may_be_closed_before_it_connects() -> None:
    with ack_server(EXAMPLE) as server:
        client = server.connect()
        travelled = pickle.loads(pickle.dumps(client))
        travelled.close()
        with pytest.raises(ConnectionClosedError, match="is closed$"):
            travelled.send(numbered(0))
        client.close()


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_a_client_is_not_copied(make: Callable[[Any], Any]) -> None:
    with pair(EXAMPLE) as (_, client):
        with pytest.raises(TypeError, match="a TcpClient can't be copied"):
            make(client)


def test_a_client_frees_its_descriptor_and_memory_without_the_garbage_collector() -> None:
    with ack_server(EXAMPLE) as server:
        before = len(os.listdir("/proc/self/fd"))
        gc.disable()
        try:
            client = server.connect()
            client.close()
            del client
            server.connection.close()
            assert len(os.listdir("/proc/self/fd")) == before
        finally:
            gc.enable()


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_the_birth_of_the_sender_leaves_no_descriptor(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = client_base._core_cpython.TcpSender

    def interrupted(*args: Any) -> Any:
        if after:
            make(*args)
        raise KeyboardInterrupt

    with Server(EXAMPLE, 1, TcpTransport(0)) as server:
        before = open_descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(
                client_base, "_core_cpython", types.SimpleNamespace(TcpSender=interrupted)
            )
            with pytest.raises(KeyboardInterrupt):
                TcpClient("127.0.0.1", server.port, EXAMPLE)
        gc.collect()
        wait_until(lambda: open_descriptors() == before, "both ends are closed")
