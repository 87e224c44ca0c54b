"""The duration histograms of SampleInfo: exact counts, ordered values, and the reset."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import HistSnapshot, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, stacked


@pytest.fixture
def detailed(name: str) -> Iterator[tuple[Server, ShmClient]]:
    with (
        Server(EXAMPLE, 4, ShmTransport(name), 200, detailed_metrics=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        yield server, client


Pair = tuple[Server, ShmClient]


def is_in_order(times: HistSnapshot) -> bool:
    low, high = times.min_ns, times.max_ns
    in_order = low <= times.p50_ns <= times.p90_ns <= times.p99_ns <= high
    return in_order and low <= times.mean_ns <= high


# ---------------------------------------------------------------- memcpy


def test_memcpy_counts_one_copy_per_send(detailed: Pair) -> None:
    server, client = detailed
    for i in range(1, 30):
        client.send(numbered(i))
        assert server.info().memcpy.count == i


def test_memcpy_counts_the_copies_of_submit_and_of_all_clients(detailed: Pair, name: str) -> None:
    server, client = detailed
    with ShmClient(name, EXAMPLE) as other:
        client.send(numbered(0))
        other.send(numbered(1))
        server.submit(numbered(2))
        assert server.info().memcpy.count == 3
    assert server.info().memcpy.count == 3  # also after the one has left


@pytest.mark.parametrize(("total", "chunks"), [(0, 0), (1, 1), (256, 1), (257, 2), (700, 3)])
def test_memcpy_counts_one_copy_per_chunk_of_a_send_batch(
    detailed: Pair, total: int, chunks: int
) -> None:
    server, client = detailed
    client.send_batch(stacked(range(total)))
    assert server.info().memcpy.count == chunks


def test_memcpy_counts_one_copy_for_each_sample_that_is_a_chunk_by_itself(name: str) -> None:
    example = np.zeros(1 << 17)  # a chunk is at most 1 MiB, and at least one sample
    with (
        Server(example, 1, ShmTransport(name), 4, detailed_metrics=True) as server,
        ShmClient(name, example) as client,
    ):
        client.send_batch(np.zeros((3, 1 << 17)))
        assert server.info().memcpy.count == 3


def test_memcpy_does_not_count_reservations(detailed: Pair) -> None:
    server, client = detailed
    with client.reserve() as slot:
        slot["x"][...] = 1
    client.reserve().abort()
    assert server.info().memcpy.count == 0
    assert server.info().store_size == 1


def test_memcpy_does_not_count_rejected_samples(detailed: Pair) -> None:
    server, client = detailed
    with pytest.raises(ValueError, match="expected float32"):
        client.send({"x": np.zeros(4, np.float32), "n": 0})
    assert server.info().memcpy.count == 0


def test_copying_more_takes_longer(name: str) -> None:
    """The copy is thousands of times larger, so that no noise can exceed the difference."""
    medians = []
    for size in (1, 1 << 21):
        example = np.zeros(size)
        with Server(example, 1, num_buffers=2, detailed_metrics=True) as server:
            for _ in range(8):
                server.submit(example)
                sample = server.sample()
            assert sample is not None
            medians.append(sample.info.memcpy.p50_ns)
    assert medians[0] < medians[1]


# ---------------------------------------------------------------- queue_dwell


def test_queue_dwell_counts_the_samples_that_were_handed_out(detailed: Pair) -> None:
    server, client = detailed
    client.send_batch(stacked(range(10)))
    assert server.info().queue_dwell.count == 0
    for count in (4, 8):
        sample = server.sample()
        assert sample is not None
        assert sample.info.queue_dwell.count == count
    sample = server.flush()
    assert sample is not None
    assert sample.info.queue_dwell.count == 10


def test_queue_dwell_is_the_time_from_commit_to_hand_out(detailed: Pair) -> None:
    server, client = detailed
    client.send(numbered(0))
    time.sleep(0.03)
    slots = [client.reserve() for _ in range(3)]
    before = time.perf_counter_ns()
    for slot in slots:
        slot.commit()  # from here on they wait, not from their reservation
    sample = server.sample()
    assert sample is not None
    at_most = time.perf_counter_ns() - before
    times = sample.info.queue_dwell
    assert times.max_ns >= 30_000_000
    assert times.min_ns <= at_most


def test_samples_that_waited_for_different_times_are_told_apart(detailed: Pair) -> None:
    server, client = detailed
    client.send(numbered(0))
    time.sleep(0.03)
    client.send_batch(stacked(range(3)))
    sample = server.sample()
    assert sample is not None
    times = sample.info.queue_dwell
    assert times.count == 4
    assert times.min_ns < times.max_ns
    assert times.mean_ns >= 30_000_000 / 4


# ---------------------------------------------------------------- the summary


def test_an_empty_histogram_is_all_zeros() -> None:
    assert HistSnapshot() == HistSnapshot(0, 0, 0, 0.0, 0, 0, 0)


def test_its_fields_are_in_order_and_within_each_other(detailed: Pair) -> None:
    server, client = detailed
    for i in range(40):
        client.send(numbered(i))
        client.send_batch(stacked(range(7)))
    infos = []
    while (sample := server.flush()) is not None and len(sample.batch["n"]):
        infos.append(sample.info)
    assert len(infos) == 80
    for info in infos:
        assert info.memcpy.count == 80
        assert is_in_order(info.memcpy)
        assert is_in_order(info.queue_dwell)
        assert info.queue_dwell.min_ns > 0


def test_one_measurement_is_every_percentile() -> None:
    with Server(EXAMPLE, 1, detailed_metrics=True) as server:
        server.submit(numbered(0))
        times = server.info().memcpy
        assert times.p50_ns == times.p90_ns == times.p99_ns == times.max_ns
        assert times.min_ns <= times.mean_ns <= times.max_ns
        assert times.max_ns - times.min_ns <= times.min_ns / 16  # one bucket, 3 % wide


def test_it_cannot_be_changed_and_survives_pickling() -> None:
    times = HistSnapshot(1, 2, 3, 2.5, 2, 3, 3)
    with pytest.raises(AttributeError):
        times.count = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(times)) == times
    assert not hasattr(times, "__dict__")


# ---------------------------------------------------------------- the reset


def test_a_reset_starts_both_histograms_anew_and_leaves_the_counters(detailed: Pair) -> None:
    server, client = detailed
    client.send_batch(stacked(range(12)))
    server.sample()
    before = server.info()
    server.reset_histograms()
    after = server.info()
    assert after == before._replace(memcpy=HistSnapshot(), queue_dwell=HistSnapshot())
    client.send(numbered(0))
    sample = server.sample()  # whose samples were committed before the reset
    assert sample is not None
    assert sample.info.memcpy.count == 1
    assert sample.info.queue_dwell.count == 4
    assert sample.info.samples_inserted_total == 13


def test_a_reset_forgets_extremes(detailed: Pair) -> None:
    server, client = detailed
    client.send(numbered(0))
    time.sleep(0.03)
    server.flush()
    assert server.info().queue_dwell.max_ns >= 30_000_000
    server.reset_histograms()
    began = time.perf_counter_ns()
    client.send(numbered(1))
    sample = server.flush()
    waited = time.perf_counter_ns() - began
    assert sample is not None
    times = sample.info.queue_dwell
    assert times.count == 1
    assert times.max_ns <= waited * 1.1  # the maximum is that of its bucket, 3 % wide
    assert is_in_order(times)


def test_resets_may_follow_each_other(detailed: Pair) -> None:
    server, client = detailed
    for i in range(5):
        server.reset_histograms()
        for _ in range(i):
            client.send(numbered(i))
        assert server.info().memcpy.count == i
        server.reset_histograms()
        assert server.info().memcpy == HistSnapshot()


def test_two_servers_count_for_themselves() -> None:
    servers: list[Any] = [Server(EXAMPLE, 2, detailed_metrics=True) for _ in range(2)]
    for n, server in enumerate(servers, start=2):
        for i in range(n):
            server.submit(numbered(i))
    assert [server.info().memcpy.count for server in servers] == [2, 3]
    for server in servers:
        server.close()
