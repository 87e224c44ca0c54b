"""The wire of shm-echo over networks that split, stall and cut: its handshake, samples and acks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, Server, TcpClient, TcpTransport
from tests.support.forwarder import End, Forwarder, Way, random_sizes
from tests.support.tcp_ends import ARRAYS, SIZE, Collector, arrays, idle
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

TOKEN = "0123456789abcdef"

WAYS: dict[str, Callable[[int], Way]] = {
    "byte by byte": lambda _: Way(lambda: 1),
    "random pieces": lambda seed: Way(random_sizes(seed, 3 * SIZE)),
    "random pieces, late": lambda seed: Way(random_sizes(seed, 40 * SIZE), delay=0.001),
}


@contextlib.contextmanager
def serving_shm(token: str | None = None) -> Iterator[Server]:
    """Serve the wire of shm-echo."""
    transport = TcpTransport(0, wire="shm", token=token)
    with Server(ARRAYS, 10, transport, num_buffers=4) as server:
        yield server


def connect(port: int, token: str | None = None, **options: Any) -> TcpClient:
    """Connect to 127.0.0.1."""
    return TcpClient("127.0.0.1", port, ARRAYS, token=token, **options)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "with a token"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_split_handshake_and_split_samples(way: Callable[[int], Way], token: str | None) -> None:
    count = 300
    with serving_shm(token) as server, Forwarder(server.port, way, way) as forwarder:

        def stream() -> None:
            with connect(forwarder.port, token) as client:
                for number in range(count):
                    client.send(arrays(number))
                client.wait(timeout=WATCHDOG)

        worker = Worker(stream)
        collector = Collector(server)
        collector.until(count)
        worker.result()
        assert collector.until_idle() == list(range(count))


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_handshake_that_is_cut_at_any_byte_is_a_connection_error(
    direction: str, end: End
) -> None:
    with serving_shm(TOKEN) as server:
        with Forwarder(server.port) as whole:
            connect(whole.port, TOKEN).close()
            size = whole.link(0).passed[direction]

        def way(number: int) -> Way:
            return Way(cut_at=number % size, end=end)

        ways = {direction: way}
        with Forwarder(server.port, **ways) as forwarder:
            for _ in range(size - 1 if direction == "up" else size):
                with pytest.raises(ConnectionError):
                    connect(forwarder.port, TOKEN).close()
        with connect(server.port, TOKEN) as client:
            client.send(arrays(1))
            assert Collector(server).until(1) == [1]
        wait_until(lambda: idle(server), "all connections have ended")


@pytest.mark.parametrize("end", ["close", "reset"])
def test_reconnecting_clients_whose_connections_are_cut_send_each_sample_once(end: End) -> None:
    """Each connection is cut after another number of bytes, while the handshakes pass."""
    count = 400
    with serving_shm() as server:
        with Forwarder(server.port) as whole:
            connect(whole.port).close()
            handshake = whole.link(0).passed["up"]

        def way(number: int) -> Way:
            # 37 has no common divisor with a sample, so that cuts fall on each of its bytes.
            return Way(cut_at=handshake + 37 * (number + 1) if number < 25 else None, end=end)

        with Forwarder(server.port, way) as forwarder:

            def stream() -> None:
                with connect(forwarder.port, reconnect=True) as client:
                    for number in range(count):
                        client.send(arrays(number))
                    client.wait(timeout=WATCHDOG)

            worker = Worker(stream)
            collector = Collector(server)
            collector.until(count)
            worker.result()
        assert collector.until_idle() == list(range(count))


def test_a_client_of_a_stalled_network_waits_and_a_closed_server_ends_it() -> None:
    with contextlib.ExitStack() as stack:
        with serving_shm() as server:
            forwarder = stack.enter_context(Forwarder(server.port))
            client = stack.enter_context(connect(forwarder.port, max_inflight_msgs=4))
            forwarder.link(0).stall()
            worker = Worker(lambda: [client.send(arrays(number)) for number in range(5)])
            worker.wait_until_asleep()
        forwarder.link(0).resume()
        with pytest.raises(ConnectionClosedError):
            worker.result()
            client.wait(timeout=WATCHDOG)
