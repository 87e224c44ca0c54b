"""Networks that split, delay and stall: samples arrive whole, and in order."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import echo
import numpy as np
import pytest

import shm_echo
from tests.support.echo_specs import assert_same, random_sample, stacked_samples
from tests.support.forwarder import Forwarder, Way, random_sizes
from tests.support.tcp_ends import (
    ARRAYS,
    SIZE,
    Collector,
    RawPeer,
    arrays,
    connected,
    numbered_bytes,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LIBRARIES = {"echo": echo, "ours": shm_echo}

WAYS: dict[str, Callable[[int], Way]] = {
    "byte by byte": lambda _: Way(lambda: 1),
    "a byte less than a sample": lambda _: Way(lambda: SIZE - 1),
    "a byte more than a sample": lambda _: Way(lambda: SIZE + 1),
    "random pieces": lambda seed: Way(random_sizes(seed, 3 * SIZE)),
    "random pieces, late": lambda seed: Way(random_sizes(seed, 40 * SIZE), delay=0.001),
}

LARGE = {"x": np.zeros((256, 128), np.float32), "y": np.zeros(70_001, np.uint8)}


@pytest.fixture(params=LIBRARIES.values(), ids=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_split_samples_and_acks_of_every_client(
    library: ModuleType, way: Callable[[int], Way]
) -> None:
    count = 300
    with serving(shm_echo, ARRAYS, 10) as server, Forwarder(server.port, way, way) as forwarder:

        def stream(first: int) -> None:
            with connected(library, forwarder.port, ARRAYS) as client:
                for number in range(first, first + count):
                    client.send(arrays(number))
                client.wait()

        workers = [Worker(stream, index * 1000) for index in range(2)]
        collector = Collector(server)
        collector.until(2 * count)
        for worker in workers:
            worker.result()
        collector.until_idle()
    collector.check([range(index * 1000, index * 1000 + count) for index in range(2)])


@pytest.mark.parametrize("most", [7000, 200_000])
def test_split_samples_of_many_pages(library: ModuleType, most: int) -> None:
    samples = [random_sample(LARGE, seed) for seed in range(6)]
    with (
        serving(shm_echo, LARGE, 3) as server,
        Forwarder(server.port, Way(random_sizes(most, most))) as forwarder,
        connected(library, forwarder.port, LARGE) as client,
    ):
        for number in range(0, 6, 3):
            for sample in samples[number : number + 3]:
                client.send(sample)
            batch = server.sample(WATCHDOG).batch
            assert_same(batch, stacked_samples(samples[number : number + 3]))
        client.wait()


def stream(library: ModuleType, port: int, count: int) -> None:
    """Send samples, and wait for their acks."""
    with connected(library, port, ARRAYS) as client:
        for number in range(count):
            client.send(arrays(number))
        client.wait()


@pytest.mark.parametrize("offset", [1, SIZE - 1, SIZE, SIZE + 1])
def test_a_connection_that_stalls_inside_a_sample_delays_no_other(offset: int) -> None:
    data = numbered_bytes(range(1000, 1004))
    with serving(shm_echo, ARRAYS, 5, num_drainers=1) as server:
        collector = Collector(server)
        with RawPeer(server.port) as stalled:
            stalled.send(data[:offset])
            for library in LIBRARIES.values():
                worker = Worker(stream, library, server.port, 200)
                collector.until(200 + offset // SIZE)
                worker.result()
                mine = [number for number in collector.numbers if number < 1000]
                assert mine == list(range(200))
                collector.numbers = [number for number in collector.numbers if number >= 1000]
            stalled.send(data[offset:])
            stalled.acks(4)
        collector.until_idle()
        assert collector.numbers == list(range(1000, 1004))


def test_a_stalled_network_loses_nothing(library: ModuleType) -> None:
    count = 3000
    with serving(shm_echo, ARRAYS, 50) as server, Forwarder(server.port) as forwarder:
        collector = Collector(server)

        def stream() -> None:
            with connected(library, forwarder.port, ARRAYS, max_inflight_msgs=64) as client:
                for number in range(count):
                    client.send(arrays(number))
                client.wait()

        worker = Worker(stream)
        for number in (300, 1200):
            collector.until(number)
            link = forwarder.link(0)
            link.stall()
            worker.wait_until_asleep()  # its window is full
            link.resume()
        collector.until(count)
        worker.result()
        collector.until_idle()
    collector.check([range(count)])


def test_a_slow_learner_stops_clients_and_loses_nothing(library: ModuleType) -> None:
    with serving(shm_echo, ARRAYS, 2, num_buffers=2, producer_queue_size=4) as server:
        with connected(library, server.port, ARRAYS, max_inflight_msgs=1000) as client:

            def stream() -> None:
                for number in range(100):
                    client.send(arrays(number))
                client.wait()

            worker = Worker(stream)
            wait_until(lambda: server.info().push_blocked_count > 0, "the queue is full")
            assert server.info().store_size == 4
            collector = Collector(server)
            collector.until(100)
            worker.result()
        assert collector.until_idle() == list(range(100))
