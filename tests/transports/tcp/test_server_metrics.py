"""The fields of SampleInfo that a TcpTransport fills, with the meaning that echo gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shm_echo import HistSnapshot, Server, ShmClient, ShmTransport, TcpTransport
from shm_echo.ring.ingress_meter import IngressFigures, sum_of
from tests.support.echo_socket import EchoSocket
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.waiting import WATCHDOG, wait_until

NOTHING = HistSnapshot()
TIMES = ("drain_round", "memcpy", "queue_dwell")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers of EXAMPLE with batches of two, in a ring of four."""
    servers: list[Server] = []

    def make(transport: Any = None, **options: Any) -> Server:
        transport = transport or TcpTransport(0)
        servers.append(Server(EXAMPLE, 2, transport, num_buffers=2, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def fill(client: EchoSocket, queue: int) -> None:
    """Fill the ring of four and the queue of the connection, and send two samples more."""
    client.put(*(numbered(i) for i in range(4 + queue + 2)))
    client.expect_acks(4 + queue)


def test_connections_count_from_their_handshake_to_their_end(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.info().active_connections == 0
    clients = [EchoSocket(server.port) for _ in range(3)]
    assert server.info().active_connections == 3
    clients.pop().close()
    wait_until(lambda: server.info().active_connections == 2, "it has left")
    for client in clients:
        client.close()


def test_queues_show_what_waits_for_room(serve: Callable[..., Server]) -> None:
    server = serve(producer_queue_size=3)
    first, second = EchoSocket(server.port), EchoSocket(server.port)
    fill(first, 3)
    second.send(numbered(20), numbered(21))
    wait_until(lambda: server.info().push_blocked_count, "the first one is not read on")
    assert server.info().samples_inserted_total == server.info().store_size == 4
    # A drainer counts the queues when it begins a round, so these come with the next batches.
    depths = set()
    came: list[int] = []
    while len(came) < 11:
        sample = server.flush(timeout=WATCHDOG)
        assert sample is not None
        came += numbers_of(sample.batch)
        depths.add((sample.info.queue_depth_sum, sample.info.queue_depth_max))
    assert [i for i in came if i < 20] == list(range(9))
    assert [i for i in came if i >= 20] == [20, 21]
    assert all(0 <= longest <= 3 and longest <= total <= 6 for total, longest in depths), depths
    assert max(total for total, _ in depths) > 0
    info = server.info()
    assert info.samples_inserted_total == 11
    for client in (first, second):
        client.close()


def test_each_pause_of_a_connection_counts_once(serve: Callable[..., Server]) -> None:
    server = serve(producer_queue_size=1)
    with EchoSocket(server.port) as client:
        fill(client, 1)
        wait_until(lambda: server.info().push_blocked_count == 1, "it is not read on")
        client.put(*(numbered(i) for i in range(20)))
        assert server.info().push_blocked_count == 1


def test_push_blocked_adds_the_producers_of_shared_memory(
    serve: Callable[..., Server], name: str
) -> None:
    server = serve([ShmTransport(name), TcpTransport(0)], producer_queue_size=1)
    with ShmClient(name, EXAMPLE) as local, EchoSocket(server.port) as remote:
        fill(remote, 1)
        wait_until(lambda: server.info().push_blocked_count == 1, "the connection waits")
        with pytest.raises(TimeoutError):
            local.send(numbered(9), timeout=0.02)
        assert server.info().push_blocked_count == 2


def test_inserted_samples_are_those_of_all_producers_but_submit(
    serve: Callable[..., Server], name: str
) -> None:
    server = serve([ShmTransport(name), TcpTransport(0), TcpTransport(0)])
    with (
        ShmClient(name, EXAMPLE) as local,
        EchoSocket(server.ports[0]) as first,
        EchoSocket(server.ports[1]) as second,
    ):
        local.send(numbered(0))
        first.send(numbered(1))
        second.send(numbered(2))
        server.submit(numbered(3))
        info = server.info()
        assert (info.store_size, info.samples_inserted_total) == (4, 3)
        assert info.active_connections == 3


# ---------------------------------------------------------------- histograms


def test_without_detailed_metrics_the_histograms_are_empty(serve: Callable[..., Server]) -> None:
    server = serve()
    with EchoSocket(server.port) as client:
        client.send(numbered(0), numbered(1))
        info = server.info()
    assert [getattr(info, field) for field in TIMES] == [NOTHING] * 3


def test_histograms_have_a_time_for_each_sample_and_each_round(
    serve: Callable[..., Server],
) -> None:
    server = serve(detailed_metrics=True)
    with EchoSocket(server.port) as client:
        for i in range(4):
            client.send(numbered(i))
        info = server.info()
        assert info.queue_dwell.count == 4
        assert 1 <= info.memcpy.count <= 4
        assert info.drain_round.count >= 1
        for field in TIMES:
            times = getattr(info, field)
            assert times.min_ns <= times.p50_ns <= times.p90_ns <= times.p99_ns
            assert times.min_ns <= times.mean_ns <= times.max_ns


def test_the_time_in_a_queue_is_counted(serve: Callable[..., Server]) -> None:
    server = serve(detailed_metrics=True, producer_queue_size=4)
    with EchoSocket(server.port) as client:
        client.send(*(numbered(i) for i in range(8)))
        assert server.info().queue_dwell.count == 4
        for _ in range(4):
            assert server.sample(timeout=WATCHDOG) is not None
        wait_until(lambda: server.info().queue_dwell.count == 8, "the queued ones count too")


def test_a_reset_restarts_histograms_and_no_counter(serve: Callable[..., Server]) -> None:
    server = serve(detailed_metrics=True)
    with EchoSocket(server.port) as client:
        client.send(numbered(0), numbered(1))
        server.reset_histograms()
        info = server.info()
        assert [getattr(info, field) for field in TIMES] == [NOTHING] * 3
        assert info.samples_inserted_total == 2
        client.send(numbered(2))
        assert server.info().queue_dwell.count == 1


# ---------------------------------------------------------------- several ingresses


def times(count: int, low: int, high: int) -> HistSnapshot:
    return HistSnapshot(count, low, high, (low + high) / 2, low, high, high)


def test_the_figures_of_several_transports_are_summed() -> None:
    one = IngressFigures(2, 5, 4, 3, times(10, 100, 300), NOTHING)
    other = IngressFigures(1, 9, 9, 1, times(30, 50, 150), times(1, 7, 7))
    both = sum_of([one, other])
    assert both[:4] == (3, 14, 9, 4)
    assert both.drain_round == HistSnapshot(40, 50, 300, 125.0, 100, 300, 300)
    assert both.queue_dwell == times(1, 7, 7)
    assert sum_of([one]) is one
