"""TcpClient(reconnect=True): what was not acknowledged is sent again, and once on the shm wire."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    SendTimeoutError,
    Server,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
)
from shm_echo.errors import EchoWireError
from shm_echo.transports.tcp import reconnect
from tests.support.ack_server import AckServer, ack_server
from tests.support.forwarder import End, Forwarder, Way, random_sizes
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.tcp_ends import numbered_bytes
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

ENDS = {"fin": AckServer.hang_up, "reset": AckServer.reset}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(reconnect, "_LONGEST_PAUSE", 0.01)


@contextlib.contextmanager
def reconnecting(**options: Any) -> Iterator[tuple[AckServer, TcpClient]]:
    with ack_server(EXAMPLE) as server:
        client = server.connect(reconnect=True, **options)
        try:
            yield server, client
        finally:
            client._end_at_once()


# ---------------------------------------------------------------- echo's wire


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("acked", [0, 2, 5])
def test_what_was_not_acknowledged_is_sent_again_before_what_follows(
    end: Callable[[AckServer], None], acked: int
) -> None:
    with reconnecting() as (server, client):
        client.send_batch(stacked(range(5)))
        assert server.read(5) == numbered_bytes(range(5))
        server.ack(acked)
        wait_until(lambda: client._in_flight_count == 5 - acked, "the acknowledgements came")
        end(server)
        wait_until(client._has_lost, "the client noticed the end")
        assert not client.closed, "it is only away"
        sending = Worker(client.send, numbered(5))
        server.greet()
        sending.result()
        assert server.read(6 - acked) == numbered_bytes(range(acked, 6))
        assert client._in_flight_count == 6 - acked
        server.ack(6 - acked)
        client.wait()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_large_batch_of_which_nothing_was_acknowledged_is_sent_again(
    end: Callable[[AckServer], None],
) -> None:
    with reconnecting() as (server, client):
        client.send_batch(stacked(range(1000)))
        assert server.read(1000) == numbered_bytes(range(1000))
        end(server)
        waiting = Worker(client.wait)
        server.greet()
        assert server.read(1000) == numbered_bytes(range(1000))
        server.ack(1000)
        waiting.result()


@pytest.mark.parametrize("call", ["wait", "reserve", "close"])
def test_other_calls_connect_again_too(call: str) -> None:
    with reconnecting(max_inflight_msgs=2) as (server, client):
        client.send_batch(stacked(range(2)))
        blocked = Worker(getattr(client, call))
        server.read(2)
        server.hang_up()
        server.greet()
        assert server.read(2) == numbered_bytes(range(2))
        server.ack(2)
        blocked.result()


def test_a_batch_goes_on_where_it_was() -> None:
    with reconnecting(max_inflight_msgs=4) as (server, client):
        sending = Worker(client.send_batch, stacked(range(10)))
        assert server.read(4) == numbered_bytes(range(4))
        server.ack(3)
        # The client has seen them when it sends the next ones.
        more = server.read(2)
        assert more == numbered_bytes(range(4, 6))
        server.hang_up()
        server.greet()
        first = 3
        while first < 10:
            count = min(2, 10 - first)
            assert server.read(count) == numbered_bytes(range(first, first + count))
            server.ack(count)
            first += count
        assert sending.result() == 10


def test_connections_that_end_again_and_again_lose_nothing() -> None:
    count, turns = 60, 12  # of at most three samples: the client is not done before the last one
    known = {numbered_bytes([i]): i for i in range(count)}
    came: list[int] = []
    with reconnecting(max_inflight_msgs=3) as (server, client):

        def serve() -> None:
            for turn in range(turns):
                for _ in range(1 + turn % 3):
                    came.append(known[server.read()])
                    server.ack()
                server.hang_up()
                server.greet()
            with contextlib.suppress(AssertionError):  # the client's close
                while True:
                    came.append(known[server.read()])
                    server.ack()

        serving = Worker(serve)
        for i in range(count):
            client.send(numbered(i))
        client.wait()
        client.close()
        serving.result()
    assert list(dict.fromkeys(came)) == list(range(count)), "in order, but for repetitions"


def test_the_time_out_of_a_call_limits_the_attempts() -> None:
    with reconnecting(connect_timeout=1.0) as (server, client):
        client.send(numbered(0))
        server.hang_up()
        server.listener.close()
        wait_until(client._has_lost, "the client noticed the end")
        with pytest.raises(SendTimeoutError, match="the connection was lost, and not there again"):
            client.send(numbered(1), timeout=0.05)
        with pytest.raises(SendTimeoutError) as error:
            client.send_batch(stacked(range(3)), timeout=0.05)
        assert error.value.sent == 0
        with pytest.raises(TimeoutError, match="1 samples are not acknowledged after 0.05 s"):
            client.wait(0.05)


def test_a_close_ends_the_attempts_and_says_what_was_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with reconnecting(connect_timeout=1.0) as (server, client):
        client.send(numbered(0))
        server.hang_up()
        server.listener.close()
        sending = Worker(client.send, numbered(1))
        sending.wait_until_asleep()
        with caplog.at_level(logging.WARNING, "shm_echo"):
            client.close(timeout=0.05)
        with pytest.raises(ConnectionClosedError, match="is closed$"):
            sending.result()
        assert "closed with 1 samples that the server has not acknowledged" in caplog.text


OTHERS: dict[str, tuple[Any, type[Exception], str]] = {
    "another example": ({"x": np.zeros(4, np.float32)}, SpecMismatchError, "Server spec mismatch"),
    "another program": (b"HTTP/1.0", EchoWireError, "Unexpected handshake magic b'HTTP'"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_server_at_the_port_is_an_error(other: str) -> None:
    what, kind, text = OTHERS[other]
    with reconnecting() as (server, client):
        server.hang_up()
        wait_until(client._has_lost, "the client noticed the end")
        sending = Worker(client.send, numbered(1))
        if isinstance(what, bytes):
            server.connection, _ = server.listener.accept()
            server.say(what)
        else:
            server.example = what
            server.greet()
        with pytest.raises(kind, match=text):
            sending.result()


def test_threads_that_lose_the_connection_together_connect_once() -> None:
    with reconnecting(max_inflight_msgs=100) as (server, client):
        server.hang_up()
        wait_until(client._has_lost, "the client noticed the end")
        threads = [Worker(client.send, numbered(i)) for i in range(6)]
        server.greet()
        for thread in threads:
            thread.result()
        assert sorted(server.read(6)) == sorted(numbered_bytes(range(6)))
        server.listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.listener.accept()


# ---------------------------------------------------------------- the shm wire


@contextlib.contextmanager
def through_forwarder(
    up: Callable[[int], Way] | None = None, down: Callable[[int], Way] | None = None, **options: Any
) -> Iterator[tuple[Server, Forwarder, TcpClient]]:
    """Run a server of ours, a forwarder before it, and a client that connects again."""
    server = Server(
        EXAMPLE, 1, TcpTransport(0, wire="shm"), num_buffers=8, publishes={"w": np.zeros(2)}
    )
    with server, Forwarder(server.port, up, down) as forwarder:
        client = TcpClient("127.0.0.1", forwarder.port, EXAMPLE, reconnect=True, **options)
        try:
            yield server, forwarder, client
        finally:
            client._end_at_once()


def taken(server: Server, count: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        sample = server.sample(timeout=WATCHDOG)
        assert sample is not None
        numbers += numbers_of(sample.batch)
    return numbers


def cuts(seed: int, least: int, most: int, end: End) -> Callable[[int], Way]:
    """Cut every connection after some bytes, but for the first one and those after the fiftieth."""
    sizes = random_sizes(seed, most - least)

    def way(number: int) -> Way:
        return Way(cut_at=least + sizes(), end=end) if 0 < number < 50 else Way(cut_at=500)

    return lambda number: way(number) if number < 50 else Way()


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("side", ["up", "down"])
def test_each_sample_arrives_once_although_connections_are_cut(side: str, end: End) -> None:
    """Upwards the cut is in a hello or in samples; downwards in a hello or acknowledgements."""
    count = 300
    ways = {side: cuts(5, 1, 900 if side == "up" else 600, end)}
    with through_forwarder(**ways, max_inflight_msgs=16) as (server, forwarder, client):
        learner = Worker(taken, server, count)
        for i in range(0, count, 3):
            client.send(numbered(i))
            client.send_batch(stacked([i + 1, i + 2]))
            if side == "down":
                client.wait()  # for an acknowledgement that can be cut
        client.wait(until="taken")
        assert learner.result() == list(range(count)), "each once, and in order"
        rest = server.flush(timeout=0)
        assert rest is not None
        assert numbers_of(rest.batch) == []
        assert len(forwarder.links) > 5


def test_parameters_are_read_again_after_a_cut() -> None:
    with through_forwarder() as (server, forwarder, client):
        server.publish({"w": np.ones(2)})
        assert client.wait_for(1) == 1
        for link in forwarder.links:
            link.end()
        server.publish({"w": np.full(2, 2.0)})
        assert client.wait_for(2) == 2
        newest = client.latest()
        assert newest is not None
        assert newest[1]["w"].tolist() == [2.0, 2.0]


def test_another_server_gets_what_the_first_has_not_acknowledged() -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    with Server(EXAMPLE, 1, TcpTransport(port, wire="shm")) as first:
        client = TcpClient("127.0.0.1", port, EXAMPLE, reconnect=True)
        client.send(numbered(0))
        client.wait()
        assert taken(first, 1) == [0]
    with Server(EXAMPLE, 1, TcpTransport(port, wire="shm")) as second:
        client.send(numbered(1))
        client.wait()
        assert taken(second, 1) == [1]
        client.close()
