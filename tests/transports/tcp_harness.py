"""The conformance suite for TCP: clients of one wire, and what a queue before the ring changes."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest

from shm_echo import SendTimeoutError, Server, TcpClient, TcpTransport
from shm_echo.transports.tcp.transport import Wire
from shm_echo.transports.wait_until import WaitUntil
from tests.support.echo_socket import sample_bytes
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until
from tests.transports.conformance import Conformance
from tests.transports.harnesses import MAX_PRODUCERS, Doomed, Producer, TransportHarness

__all__ = ["TcpConformance", "TcpHarness", "client_of"]

CAPACITY, QUEUE, WINDOW = 4, 1, 8
FRAGMENT = 5


class TcpHarness:
    """Clients over TCP; a death is the end of a real process inside of a sample.

    The kernel ends the stream of a killed process in good order, so that only a part of a sample
    tells a death from a goodbye.
    """

    queues = True

    def __init__(self, wire: Wire) -> None:
        self.transport = TcpTransport(0, wire=wire)
        self._wait_until: WaitUntil = "taken" if wire == "shm" else "stored"

    def served_by(self, server: Server) -> None:
        """See `TransportHarness`."""
        self._server = server
        self._port = server.port

    def attach(self) -> Producer:
        """See `TransportHarness`."""
        before = {p.id for p in self._server.producers()}
        client = TcpClient(
            "127.0.0.1", self._port, EXAMPLE, WINDOW, wait_until=self._wait_until, dial_timeout=1
        )
        wait_until(lambda: {p.id for p in self._server.producers()} - before, "it is listed")
        return Acknowledged(client)

    @contextmanager
    def doomed(self, numbers: Sequence[int]) -> Iterator[Doomed]:
        """See `TransportHarness`."""
        before = {p.id for p in self._server.producers()}
        with start(send_and_stay, self._port, list(numbers), method="forkserver") as child:
            child.expect("sent")
            (info,) = wait_until(
                lambda: [p for p in self._server.producers() if p.id not in before], "it is listed"
            )
            words = f"was lost: its connection ended inside of a sample; {FRAGMENT} of 20 bytes"
            yield Doomed(str(info.peer), child.end, words)


class Acknowledged:
    """A client whose sends wait until the server has the samples, unless a time-out is given."""

    def __init__(self, client: TcpClient) -> None:
        self.client = client
        self.wait = client.wait
        self.close = client.close

    def send(self, data: Any, timeout: float | None = None) -> None:
        """Send one sample."""
        self.client.send(data, timeout)
        if timeout is None:
            self.client.wait(until="stored")

    def send_batch(self, data: Any, timeout: float | None = None) -> int:
        """Send several samples."""
        sent = self.client.send_batch(data, timeout)
        if timeout is None:
            self.client.wait(until="stored")
        return sent


def send_and_stay(pipe: Any, port: int, numbers: Sequence[int]) -> None:
    """Send samples and a part of one more, and wait to be killed: the doomed process's program."""
    client = TcpClient("127.0.0.1", port, EXAMPLE)
    client.send_batch(stacked(numbers))
    client.wait()
    os.write(connection_to(port), sample_bytes(numbered(99))[:FRAGMENT])
    pipe.send("sent")
    pipe.recv()
    client.close()


def connection_to(port: int) -> int:
    """Return the descriptor of this process's connection to a port."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
            if sock.getpeername()[1] == port:
                return int(name)
    raise AssertionError(f"there is no connection to port {port}")


class TcpConformance(Conformance):
    """The suite for TCP: a full ring has a queue before it, and connections have no limit."""

    def filled(self, server: Server, client: TcpClient) -> int:
        """Send samples 0, 1, ... until the next one has no room, and return their number."""
        for i in range(100):
            try:
                client.send(numbered(i), timeout=0 if i > CAPACITY + QUEUE + WINDOW else 0.2)
            except SendTimeoutError as error:
                assert error.sent == 0
                wait_until(lambda: server.info().store_size == CAPACITY, "the ring is full")
                assert WINDOW <= i <= CAPACITY + QUEUE + WINDOW
                return i
        raise AssertionError("a hundred samples had room")

    @pytest.mark.parametrize("timeout", [0, 0.02])
    def test_a_send_into_a_full_ring_times_out_without_sending(
        self, server: Server, harness: TransportHarness, timeout: float
    ) -> None:
        with closing(client_of(harness)) as client:
            count = self.filled(server, client)
            with pytest.raises(SendTimeoutError):
                client.send(numbered(count), timeout=timeout)
            assert arrived(server, count) == list(range(count))

    def test_a_send_waits_for_room(self, server: Server, harness: TransportHarness) -> None:
        with closing(client_of(harness)) as client:
            count = self.filled(server, client)
            sending = Worker(client.send, numbered(count))
            sending.wait_until_asleep()
            assert sending.thread.is_alive()
            assert server.info().push_blocked_count == 1
            assert arrived(server, count + 1) == list(range(count + 1))
            sending.result()

    @pytest.mark.parametrize("timeout", [0, 0.02])
    def test_a_batch_that_runs_out_of_time_has_sent_its_first_samples(
        self, server: Server, harness: TransportHarness, timeout: float
    ) -> None:
        with closing(client_of(harness)) as client:
            client.send(numbered(100))
            with pytest.raises(SendTimeoutError) as caught:
                client.send_batch(stacked(range(30)), timeout=timeout)
            sent = caught.value.sent
            assert WINDOW - 1 <= sent < CAPACITY + QUEUE + WINDOW
            assert arrived(server, 1 + sent) == [100, *range(sent)]

    def test_a_producer_above_the_limit_is_rejected_until_another_one_leaves(
        self, server: Server, harness: TransportHarness
    ) -> None:
        """Connections take no owner ids of the ring, so there is no such limit."""
        producers = [harness.attach() for _ in range(3 * MAX_PRODUCERS)]
        assert server.info().active_connections == 3 * MAX_PRODUCERS
        for producer in producers:
            producer.close()
            producer.close()  # may be said again


def client_of(harness: TransportHarness) -> TcpClient:
    """Attach a client whose sends do not wait for acknowledgements."""
    producer = harness.attach()
    assert isinstance(producer, Acknowledged)
    return producer.client


def arrived(server: Server, count: int) -> list[int]:
    """Return the numbers of the next `count` samples, and fail if there are more."""
    came: list[int] = []
    while len(came) < count:
        sample = server.sample(timeout=WATCHDOG) if count - len(came) > 1 else server.flush()
        assert sample is not None
        came += numbers_of(sample.batch)
    assert server.info().store_size == 0
    return came
