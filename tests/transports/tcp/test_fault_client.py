"""Our client and servers that die, stop, or ack in strange ways: errors in time, and no hang."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import shm_echo
from shm_echo import ConnectionClosedError, SendTimeoutError
from tests.support.forwarder import reset
from tests.support.processes import start
from tests.support.tcp_ends import (
    ACK,
    ARRAYS,
    Collector,
    arrays,
    connected,
    fake_server,
    greeting,
    numbered_bytes,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

GREETING = greeting(ARRAYS)


class Script:
    """A server that reads what comes, and acks or ends as the test says."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.came = threading.Event()
        self.read = b""
        self.reads_no_more = threading.Event()
        self.may_end = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        connection.sendall(GREETING)
        self.connection = connection
        self.came.set()
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                self.read += data
        self.reads_no_more.set()
        assert self.may_end.wait(WATCHDOG)

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.shutdown(socket.SHUT_RD)  # a recv() of another thread keeps a socket open
        assert self.reads_no_more.wait(WATCHDOG)
        reset(self.connection)

    def finish(self) -> None:
        """End the connection with FIN, and read on."""
        self.connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def scripted(**options: Any) -> Iterator[tuple[Script, Any]]:
    """Run a scripted server and a client of ours that is connected to it."""
    script = Script()
    with fake_server(script.serve) as port:
        try:
            with connected(shm_echo, port, ARRAYS, **options) as client:
                assert script.came.wait(WATCHDOG)
                yield script, client
                script.may_end.set()
                with contextlib.suppress(OSError):
                    script.connection.shutdown(socket.SHUT_RDWR)
        finally:
            script.may_end.set()


ENDS: dict[str, Callable[[Script], None]] = {"FIN": Script.finish, "RST": Script.reset}
CALLS: dict[str, Callable[[Any], object]] = {
    "wait": lambda client: client.wait(),
    "wait with a timeout": lambda client: client.wait(timeout=WATCHDOG),
    "send": lambda client: client.send(arrays(9)),
    "send with a timeout": lambda client: client.send(arrays(9), timeout=WATCHDOG),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_waits_ends_with_the_connection(
    call: Callable[[Any], object], end: Callable[[Script], None]
) -> None:
    """echo's client waits for ever here."""
    with scripted(max_inflight_msgs=4) as (script, client):
        for number in range(4):
            client.send(arrays(number))
        script.connection.sendall(ACK)
        client.send(arrays(4))  # the window is full again
        worker = Worker(call, client)
        worker.wait_until_asleep()
        end(script)
        with pytest.raises(ConnectionClosedError, match="connection lost") as error:
            worker.result()
        assert error.value.unacked == 4
        assert client.closed


def test_a_server_that_is_killed_ends_every_call() -> None:
    with start(serve_and_wait, method="forkserver") as server:
        port = server.hear()
        with contextlib.ExitStack() as stack:
            workers = []
            for call in CALLS.values():
                client = stack.enter_context(
                    connected(shm_echo, port, ARRAYS, max_inflight_msgs=20)
                )
                workers.append(Worker(fill_and, call, client))
            for worker in workers:
                worker.wait_until_asleep()
            server.end()
            for worker in workers:
                with pytest.raises(ConnectionClosedError):
                    worker.result()


def fill_and(call: Callable[[Any], object], client: Any) -> None:
    """Send until the server takes no more, and make the call."""
    while True:
        try:
            client.send(arrays(0), timeout=0.05)
        except SendTimeoutError:
            break
    call(client)


def serve_and_wait(pipe: Any) -> None:
    """Serve without taking samples: the program of a child."""
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=1) as server:
        pipe.send(server.port)
        pipe.recv()


def test_a_window_of_one_waits_for_each_ack() -> None:
    with scripted(max_inflight_msgs=1) as (script, client):
        for number in range(20):
            client.send(arrays(number))
            worker = Worker(client.send, arrays(number), timeout=0.001)
            with pytest.raises(SendTimeoutError):
                worker.result()
            script.connection.sendall(ACK)
            client.wait(timeout=WATCHDOG)
        client.send(arrays(20))
        script.connection.sendall(ACK)
        client.close()
    assert script.read == numbered_bytes(range(21))


@pytest.mark.parametrize("strange", [b"\x00", b"\x02", b"\xff", b"\x00" * 5000])
def test_bytes_that_are_no_acks_count_as_none(strange: bytes) -> None:
    with scripted(max_inflight_msgs=2) as (script, client):
        for number in range(2):
            client.send(arrays(number))
        script.connection.sendall(strange + ACK + strange)
        client.send(arrays(2))
        with pytest.raises(SendTimeoutError):
            client.send(arrays(3), timeout=0.02)
        with pytest.raises(TimeoutError):
            client.wait(timeout=0.02)
        script.connection.sendall(ACK + strange + ACK)
        client.wait(timeout=WATCHDOG)


@pytest.mark.parametrize("extra", [1, 1000])
def test_acks_of_samples_that_were_not_sent_widen_no_window(extra: int) -> None:
    """echo's thread for acks dies of the first one, unnoticed."""
    with scripted(max_inflight_msgs=2) as (script, client):
        client.send(arrays(0))
        script.connection.sendall(ACK * (1 + extra))
        client.wait(timeout=WATCHDOG)
        with contextlib.suppress(ConnectionClosedError):  # a server out of step may be left, too
            sent = 0
            with pytest.raises((SendTimeoutError, ConnectionClosedError)):
                for number in range(1, 5):
                    client.send(arrays(number), timeout=0.02)
                    sent += 1
            assert sent <= 2
        assert client._in_flight_count >= 0


@pytest.mark.parametrize("together", [1, 2, 3, 7, 32])
def test_acks_in_one_packet_count_each(together: int) -> None:
    with scripted(max_inflight_msgs=32) as (script, client):
        for number in range(32):
            client.send(arrays(number))
        for first in range(0, 32, together):
            script.connection.sendall(ACK * min(together, 32 - first))
        client.wait(timeout=WATCHDOG)
        assert client._in_flight_count == 0


def test_close_waits_for_acks_and_logs_what_was_not_acked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scripted() as (script, client):
        for number in range(3):
            client.send(arrays(number))
        script.connection.sendall(ACK)
        client.close(timeout=0.05)
        assert client.closed
    assert [" 2 samples" in record.getMessage() for record in caplog.records] == [True]


def test_a_connection_that_is_lost_inside_a_sample_is_out_of_step_and_closed() -> None:
    example = {"x": np.zeros(16 << 20, np.uint8)}

    def serve(connection: socket.socket) -> None:
        connection.sendall(greeting(example))
        connection.recv(1)
        reset(connection)

    with fake_server(serve) as port, connected(shm_echo, port, example) as client:
        with pytest.raises(ConnectionClosedError):
            client.send(example)
        with pytest.raises(ConnectionClosedError):
            client.send(example)
        assert client.closed


def test_a_send_that_times_out_has_sent_nothing() -> None:
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=1) as server:
        with connected(shm_echo, server.port, ARRAYS, max_inflight_msgs=3) as client:
            sent = 0
            with pytest.raises(SendTimeoutError):
                while True:
                    client.send(arrays(sent), timeout=0.1)
                    sent += 1
            collector = Collector(server)
            collector.until(sent)
            client.send(arrays(sent))
            client.wait(timeout=WATCHDOG)
        assert collector.until_idle() == list(range(sent + 1))


@pytest.mark.parametrize("count", [1, 7, 200])
def test_a_close_right_after_a_send_loses_nothing(count: int) -> None:
    """echo's client loses what the server has not read yet."""
    with serving(shm_echo, ARRAYS, 4, num_buffers=2) as server:
        collector = Collector(server)

        def stream() -> None:
            client = shm_echo.TcpClient("127.0.0.1", server.port, ARRAYS)
            for number in range(count):
                client.send(arrays(number))
            client.close(timeout=WATCHDOG)

        worker = Worker(stream)
        collector.until(count)
        worker.result()
        assert collector.until_idle() == list(range(count))


@pytest.mark.parametrize("bad", [0, -1])
def test_a_window_below_one_is_a_value_error(bad: int) -> None:
    """echo's first send would wait for ever."""
    with serving(shm_echo, ARRAYS, 1) as server:
        with pytest.raises(ValueError, match="max_inflight_msgs"):
            shm_echo.TcpClient("127.0.0.1", server.port, ARRAYS, max_inflight_msgs=bad)


def test_samples_of_two_threads_do_not_mix_where_the_network_is_full() -> None:
    example = {"x": np.zeros(8 << 20, np.uint8)}
    release = threading.Event()
    read: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(greeting(example))
        assert release.wait(WATCHDOG)
        left = 2 * (8 << 20)
        while left and (data := connection.recv(1 << 20)):
            read.append(data)
            left -= len(data)
        with contextlib.suppress(OSError):
            connection.sendall(ACK * 2)

    first, second = ({"x": np.full(8 << 20, n, np.uint8)} for n in (1, 2))
    with fake_server(serve) as port, connected(shm_echo, port, example) as client:
        worker = Worker(client.send, first)
        worker.wait_until_asleep()
        other = Worker(client.send, second)
        other.wait_until_asleep()
        release.set()
        worker.result()
        other.result()
        client.wait(timeout=WATCHDOG)
    stream = b"".join(read)
    halves = {stream[: 8 << 20], stream[8 << 20 :]}
    assert halves == {b"\x01" * (8 << 20), b"\x02" * (8 << 20)}
