"""Several threads of the owner take batches with leases: each batch goes to one of them, whole."""

from __future__ import annotations

import itertools
import os
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

from shm_echo import Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker

THREADS = 3
PRODUCERS, EACH = 2, 1200


def produce(pipe: Connection, name: str, first: int) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=60) as client:
        for n in range(first, first + EACH, 8):
            client.send_batch(stacked(range(n, min(n + 8, first + EACH))))


def consume(server: Server, min_producers: int) -> list[int]:
    """Take batches to the end of the stream, keeping each one until the next has come."""
    numbers: list[int] = []
    kept: tuple[dict[str, Any], list[int]] | None = None
    for sample in server.dataset_iter(until="producers_closed", min_producers=min_producers):
        if kept is not None:
            assert numbers_of(kept[0]) == kept[1], "a batch was overwritten while it was held"
        kept = sample.batch, numbers_of(sample.batch)
        numbers += kept[1]
    return numbers


@pytest.mark.parametrize("lease", [True, "copy"])
def test_threads_share_the_stream_of_processes_and_nothing_is_lost_or_doubled(lease: Any) -> None:
    name = f"consumer-threads-{os.getpid()}"
    # Each thread holds one batch while it waits for the next.
    with Server(EXAMPLE, 16, ShmTransport(name), THREADS + 2, lease=lease) as server:
        consumers = [Worker(consume, server, PRODUCERS) for _ in range(THREADS)]
        children = [
            start(produce, name, number * EACH, method="forkserver") for number in range(PRODUCERS)
        ]
        try:
            taken = [worker.result() for worker in consumers]
        finally:
            for child in children:
                child.end()
    assert sorted(itertools.chain(*taken)) == list(range(PRODUCERS * EACH))


def test_a_batch_of_one_thread_stays_while_another_thread_takes_the_next_ones() -> None:
    with Server(EXAMPLE, 2, num_buffers=4, lease=True) as server:
        have, go = threading.Event(), threading.Event()

        def keep_one() -> tuple[list[int], list[int]]:
            sample = server.sample(timeout=60)
            assert sample is not None
            before = numbers_of(sample.batch)
            have.set()
            assert go.wait(60)
            return before, numbers_of(sample.batch)

        for n in (0, 1):
            server.submit(numbered(n))
        keeper = Worker(keep_one)
        assert have.wait(60)
        for n in range(2, 22):  # all other buffers, three times
            server.submit(numbered(n), timeout=60)
            if n % 2:
                taken = server.sample(timeout=60)
                assert taken is not None
                assert numbers_of(taken.batch) == [n - 1, n]
        go.set()
        assert keeper.result() == ([0, 1], [0, 1])


def test_close_ends_the_wait_of_every_thread() -> None:
    with Server(EXAMPLE, 2, num_buffers=4, lease=True) as server:
        consumers = [Worker(server.sample) for _ in range(THREADS)]
        for worker in consumers:
            worker.wait_until_asleep()
    assert [worker.result() for worker in consumers] == [None] * THREADS


def test_a_timeout_holds_for_a_thread_that_waits_behind_another() -> None:
    with Server(EXAMPLE, 2, num_buffers=4, lease=True) as server:
        first = Worker(server.sample)
        first.wait_until_asleep()
        with pytest.raises(TimeoutError, match="another thread was sampling for 0.05 s"):
            server.sample(timeout=0.05)
    assert first.result() is None
