"""Samples that were acked reach the learner, whatever happens to their connection."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import echo
import numpy as np
import pytest

import shm_echo
from tests.support.echo_specs import assert_same, random_sample
from tests.support.forwarder import unsent
from tests.support.tcp_ends import (
    ARRAYS,
    SIZE,
    Collector,
    RawPeer,
    arrays,
    connected,
    idle,
    numbered_bytes,
    payload,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


def _by_socket(leave: Callable[[RawPeer], object]) -> Callable[[int, int], None]:
    def send(port: int, count: int) -> None:
        peer = RawPeer(port)
        peer.send(numbered_bytes(range(count)))
        peer.acks(count)
        leave(peer)
        peer.close()

    return send


def _by_client(library: Any) -> Callable[[int, int], None]:
    def send(port: int, count: int) -> None:
        with connected(library, port, ARRAYS, max_inflight_msgs=1000) as client:
            for number in range(count):
                client.send(arrays(number))
            Worker(client.wait).result()

    return send


SENDERS: dict[str, Callable[[int, int], None]] = {
    "echo": _by_client(echo),
    "ours": _by_client(shm_echo),
    "FIN": _by_socket(RawPeer.close),
    "half-close": _by_socket(lambda peer: peer.sock.shutdown(socket.SHUT_WR)),
    "RST": _by_socket(RawPeer.reset),
    "a fragment, then FIN": _by_socket(lambda peer: peer.send(b"\x00" * 7)),
}


@pytest.mark.parametrize("drainers", [1, 8])
@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_what_was_acked_survives_its_connection_while_the_ring_is_full(
    send: Callable[[int, int], None], drainers: int
) -> None:
    """echo's server drops what waits in the queue of a connection that has ended."""
    count, options = 40, {"num_buffers": 2, "producer_queue_size": 64, "num_drainers": drainers}
    with serving(shm_echo, ARRAYS, 2, **options) as server:
        send(server.port, count)  # 4 in the ring, 36 in the queue
        collector = Collector(server)
        assert collector.until(count) == list(range(count))
        assert collector.until_idle() == list(range(count))


def test_a_connection_with_samples_in_its_queue_is_listed_until_they_are_in_the_ring() -> None:
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=16) as server:
        SENDERS["FIN"](server.port, 10)
        assert server.info().queue_depth_sum >= 0
        assert len(server.producers()) == 1
        collector = Collector(server)
        collector.until(10)
        wait_until(lambda: idle(server), "it is forgotten")
        assert collector.numbers == list(range(10))


def test_ended_connections_and_new_ones_share_the_queue_memory() -> None:
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=8) as server:
        for index in range(30):
            with RawPeer(server.port) as peer:
                numbers = range(index * 10, index * 10 + 4)
                peer.send(numbered_bytes(numbers))
                peer.acks(4)
        collector = Collector(server)
        collector.until(120)
        collector.until_idle()
    collector.check([range(index * 10, index * 10 + 4) for index in range(30)])


def test_large_acked_samples_survive_too() -> None:
    example = {"x": np.zeros(300_000, np.uint8), "y": np.zeros(7, np.float64)}
    samples = [random_sample(example, seed) for seed in range(8)]
    with serving(shm_echo, example, 1, num_buffers=2, producer_queue_size=8) as server:
        with RawPeer(server.port, example) as peer:
            for sample in samples:
                peer.send(payload(sample))
            peer.acks(len(samples))
        for sample in samples:
            batch = server.sample(WATCHDOG).batch
            assert_same({key: batch[key][0] for key in batch}, sample)


@pytest.mark.parametrize("bound", [SIZE, 2 * SIZE + 1, 1000])
def test_the_bound_of_all_queues_slows_clients_and_loses_nothing(bound: int) -> None:
    transport = shm_echo.TcpTransport(0, ingress_bytes=bound)
    with shm_echo.Server(ARRAYS, 2, transport, num_buffers=2) as server:

        def stream(first: int) -> None:
            with connected(shm_echo, server.port, ARRAYS) as client:
                for number in range(first, first + 100):
                    client.send(arrays(number))
                client.wait()

        workers = [Worker(stream, index * 1000) for index in range(4)]
        collector = Collector(server)
        collector.until(400)
        for worker in workers:
            worker.result()
        collector.until_idle()
    collector.check([range(index * 1000, index * 1000 + 100) for index in range(4)])


def test_the_server_says_how_many_acked_samples_its_close_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=16) as server:
        SENDERS["FIN"](server.port, 14)
        server.close()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any("dropped 10 samples" in text for text in warnings)


def test_samples_that_came_whole_survive_a_reset_though_no_one_had_read_them() -> None:
    count = 40
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=4) as server:
        peer = RawPeer(server.port)
        peer.send(numbered_bytes(range(4)))
        peer.acks(4)  # the ring is full: what comes now waits
        for number in range(4, count):
            peer.send(numbered_bytes([number]))
        wait_until(lambda: not unsent(peer.sock), "the server's kernel has all of them")
        peer.reset()
        collector = Collector(server)
        assert collector.until(count) == list(range(count))


def test_held_batches_stop_clients_and_lose_nothing() -> None:
    with serving(shm_echo, ARRAYS, 4, num_buffers=3, lease=True, lease_timeout=None) as server:

        def stream() -> None:
            with connected(shm_echo, server.port, ARRAYS) as client:
                for number in range(200):
                    client.send(arrays(number))
                client.wait()

        worker, numbers = Worker(stream), []
        held: list[Any] = []
        while len(numbers) < 200:
            held.append(server.sample(WATCHDOG).batch)
            numbers += held[-1]["n"].tolist()
            if len(held) == 2:  # one buffer is left for the clients
                held.pop(0)
        worker.result()
    assert numbers == list(range(200))
