"""The memory of copied batches: private, used again, bounded, and free of the ring."""

from __future__ import annotations

import threading

import numpy as np

from shm_echo import Server, ShmTransport
from tests.support.lease_batches import address, take
from tests.support.numbered import EXAMPLE, numbers_of
from tests.support.threads import Worker


def test_the_memory_of_a_copy_is_used_again_when_its_lease_ends() -> None:
    example = np.zeros(1 << 20, np.uint8)  # so large that malloc would map it anew each time
    with Server(example, 1, num_buffers=2) as server:
        where = set()
        server.submit(example)
        first = server.sample()
        for _ in range(20):
            server.submit(example)
            sample = server.sample()
            assert sample is not None
            where.add(address(sample.batch))
            view = sample.batch[:, 5:]
            del sample
            server.submit(example)
            other = server.sample()
            assert other is not None
            assert not np.shares_memory(view, other.batch)
            where.add(address(other.batch))
            del other, view
        assert len(where) == 2
        assert first is not None


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_the_spare_memory_is_bounded_by_the_size_of_the_ring() -> None:
    size = 1 << 20
    example = np.zeros(size, np.uint8)
    with Server(example, 1, num_buffers=3) as server:

        def keep(batches: int) -> None:
            kept = []
            for _ in range(batches):
                server.submit(example)
                kept.append(server.sample())

        keep(5)
        before = resident_bytes()
        keep(60)
        assert resident_bytes() - before < 10 * size
    assert resident_bytes() - before < 10 * size


def test_a_copy_outlives_its_server_and_does_not_keep_the_ring_mapped(name: str) -> None:
    def rings() -> int:
        with open("/proc/self/maps") as file:
            return sum("/shm-echo-" in line or "/memfd:shm-echo" in line for line in file)

    before = rings()
    server = Server(EXAMPLE, 1, ShmTransport(name), num_buffers=2).start()
    lent, copied = take(server, 1).batch, take(server, 2).batch
    server.close()
    del server
    assert rings() > before
    del lent
    assert rings() == before
    assert numbers_of(copied) == [2]


def test_large_copies_let_other_threads_run_and_are_whole() -> None:
    example = np.zeros(1 << 18, np.int64)
    with Server(example, 1, num_buffers=2) as server:
        stop, turns = threading.Event(), [0]

        def count() -> None:
            while not stop.is_set():
                turns[0] += 1

        worker = Worker(count)
        kept = []
        for i in range(12):
            server.submit(example + i)
            kept.append(server.sample())
        stop.set()
        worker.result()
        for i, sample in enumerate(kept):
            assert sample is not None
            assert (sample.batch == i).all()
