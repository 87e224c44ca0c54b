"""Server(lease=True): the memory of a batch is reused after the last reference to it.

test_lease_holders.py has the kinds of references; this file has their effects.
"""

from __future__ import annotations

import gc
from itertools import permutations
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from shm_echo import BatchesHeldError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.scripts import run_script
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def submit(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.submit(numbered(number), timeout=0)


def take(server: Server, timeout: float = 60) -> Any:
    sample = server.sample(timeout)
    assert sample is not None
    return sample.batch


def leased(rows: int = 2, buffers: int = 3, **options: Any) -> Server:
    return Server(EXAMPLE, rows, num_buffers=buffers, lease=True, **options)


def root(array: Any) -> Any:
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def buffers_in_use(server: Server) -> int:
    """Return the number of buffers that the ring uses now, by filling it three times."""

    def where(number: int) -> int:
        submit(server, *[number] * server.batch_size)
        batch = take(server)
        assert numbers_of(batch) == [number] * server.batch_size
        return int(batch["x"].__array_interface__["data"][0])

    return len({where(i) for i in range(3 * server.num_buffers)})


# ---------------------------------------------------------------- what is reused, and when


def test_a_kept_batch_is_never_written_and_the_others_go_round_without_it() -> None:
    with leased(rows=2, buffers=3) as server:
        submit(server, 100, 101)
        kept = take(server)
        for i in range(50):
            submit(server, 2 * i, 2 * i + 1)
            assert numbers_of(take(server)) == [2 * i, 2 * i + 1]
            assert numbers_of(kept) == [100, 101]
        assert buffers_in_use(server) == 2
        del kept
        assert buffers_in_use(server) == 3


@pytest.mark.parametrize("buffers", [3, 4, 7])
def test_each_held_batch_makes_the_ring_smaller_by_one_until_its_release(buffers: int) -> None:
    with leased(rows=1, buffers=buffers) as server:
        kept = []
        for n in range(1, buffers):
            submit(server, 1000 + n)
            kept.append(take(server))
            assert buffers_in_use(server) == buffers - n
        assert [numbers_of(batch) for batch in kept] == [[1000 + n] for n in range(1, buffers)]
        while kept:
            kept.pop(len(kept) // 2)
            assert buffers_in_use(server) == buffers - len(kept)


def test_a_batch_without_references_is_free_before_the_next_sample() -> None:
    with leased() as server:
        submit(server, *range(6))
        take(server)  # dropped
        submit(server, 6, 7)  # no sample() in between


def test_a_loop_that_drops_its_batches_goes_on_for_ever() -> None:
    with leased(rows=1) as server:
        for i in range(200):
            submit(server, i)
            batch = take(server)
            assert numbers_of(batch) == [i]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_batches_may_be_released_in_any_order(order: tuple[int, ...]) -> None:
    with leased(rows=1, buffers=4) as server:
        submit(server, 0, 1, 2)
        kept = {i: take(server) for i in range(3)}
        for free, gone in enumerate(order, start=2):
            del kept[gone]
            assert buffers_in_use(server) == free
            assert {i: numbers_of(batch) for i, batch in kept.items()} == {i: [i] for i in kept}


def test_all_leaves_of_a_batch_hold_it_together() -> None:
    with leased() as server:
        submit(server, 8, 9)
        n = take(server)["n"]
        assert buffers_in_use(server) == 2
        assert n.tolist() == [8, 9]
        del n
        assert buffers_in_use(server) == 3


def test_each_batch_has_one_root_of_its_own() -> None:
    with leased() as server:
        submit(server, *range(4))
        first, second = take(server), take(server)
        assert root(first["x"]) is root(first["n"]) is root(first["x"][1:].T)
        assert root(first["x"]) is not root(second["x"])
        with pytest.raises(TypeError, match="cannot create"):
            type(root(first["x"]))()


def test_without_leases_a_batch_has_one_root_too() -> None:
    with Server(EXAMPLE, 2, lease=False) as server:
        submit(server, *range(4))
        batch = take(server)
        assert root(batch["x"]) is root(batch["n"])


def test_partial_batches_are_leased_too_and_empty_ones_take_no_memory() -> None:
    with leased() as server:
        submit(server, 7)
        sample = server.flush()
        assert sample is not None
        partial = sample.batch
        del sample
        empty = [server.flush() for _ in range(10)]
        assert buffers_in_use(server) == 2
        assert numbers_of(partial) == [7]
        del partial
        assert buffers_in_use(server) == 3
        assert len(empty) == 10


def test_writable_leases_can_be_written() -> None:
    with leased(writable=True) as server:
        submit(server, 0, 1)
        batch = take(server)
        batch["x"] += 1
        assert batch["x"].tolist() == [[1] * 3, [2] * 3]


# ---------------------------------------------------------------- everything is held


@pytest.mark.parametrize("buffers", [3, 5])
def test_when_every_buffer_is_held_sample_says_how_many_after_the_lease_timeout(
    buffers: int,
) -> None:
    with leased(rows=1, buffers=buffers, lease_timeout=0.05) as server:
        submit(server, *range(buffers))
        held = [take(server) for _ in range(buffers)]
        with pytest.raises(BatchesHeldError, match=f"all {buffers} batch buffers are held") as e:
            server.sample()
        assert e.value.held == buffers
        assert "0.05 s" in str(e.value)
        assert [numbers_of(batch) for batch in held] == [[i] for i in range(buffers)]


def test_after_the_error_releasing_one_batch_is_enough_to_continue() -> None:
    with leased(rows=1, lease_timeout=0.02) as server:
        submit(server, 0, 1, 2)
        held = [take(server) for _ in range(3)]
        for i in range(3, 9):
            with pytest.raises(BatchesHeldError):
                server.sample()
            del held[0]
            submit(server, i)
            held.append(take(server))
            assert [numbers_of(batch) for batch in held] == [[i - 2], [i - 1], [i]]


def test_a_time_out_that_is_shorter_than_the_lease_timeout_comes_first() -> None:
    with leased(rows=1, lease_timeout=60) as server:
        submit(server, 0, 1, 2)
        held = [take(server) for _ in range(3)]
        with pytest.raises(TimeoutError) as caught:
            server.sample(timeout=0.02)
        assert not isinstance(caught.value, BatchesHeldError)
        assert len(held) == 3


def test_an_empty_ring_of_which_a_part_is_held_is_waited_for_as_ever() -> None:
    with leased(rows=1, lease_timeout=0.0) as server:
        submit(server, 0, 1)
        held = [take(server), take(server)]
        with pytest.raises(TimeoutError):  # one buffer is free: a producer may fill it
            server.sample(timeout=0.15)
        submit(server, 2)
        assert numbers_of(take(server)) == [2]
        assert len(held) == 2


def test_without_a_lease_timeout_a_held_ring_is_waited_for(name: str) -> None:
    with leased(rows=1, lease_timeout=None, transport=ShmTransport(name)) as server:
        submit(server, 0, 1, 2)
        held = [take(server) for _ in range(3)]
        learner = Worker(take, server)
        learner.wait_until_asleep()
        with ShmClient(name, EXAMPLE) as client:
            producer = Worker(client.send, numbered(3))
            wait_until(lambda: server.info().push_blocked_count, "the producer waits for room")
            held.clear()
            producer.result()
        assert numbers_of(learner.result()) == [3]


# ---------------------------------------------------------------- threads


def test_a_batch_may_be_released_by_another_thread(name: str) -> None:
    with (
        leased(rows=1, transport=ShmTransport(name)) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked(range(3)))
        held = [take(server) for _ in range(3)]
        producer = Worker(client.send, numbered(3))
        wait_until(lambda: server.info().push_blocked_count, "the producer waits for room")

        def let_go(batch: Any) -> None:
            assert numbers_of(batch) == [0]

        worker = Worker(let_go, held.pop(0))
        worker.result()
        producer.result()
        assert numbers_of(take(server)) == [3]
        assert [numbers_of(batch) for batch in held] == [[1], [2]]


def test_batches_handed_from_thread_to_thread_are_intact_at_their_release() -> None:
    batches, each, consumers = 300, 4, 2
    handed: SimpleQueue[Any] = SimpleQueue()

    def consume() -> int:
        seen = 0
        while (batch := handed.get()) is not None:
            first = int(batch["n"][0])
            assert numbers_of(batch) == list(range(first, first + each))
            del batch  # or it would be held while this thread waits for the next one
            seen += 1
        return seen

    def learn() -> None:
        for _ in range(batches):
            handed.put(take(server))
        for _ in range(consumers):
            handed.put(None)

    with leased(rows=each, buffers=5) as server:
        workers = [Worker(consume) for _ in range(consumers)]
        learner = Worker(learn)
        for i in range(batches * each):
            server.submit(numbered(i))
        learner.result()
        assert sum(worker.result() for worker in workers) == batches


# ---------------------------------------------------------------- close


def test_leased_batches_outlive_close() -> None:
    with leased() as server:
        submit(server, *range(4))
        held = [take(server), take(server)]
    assert server.sample() is None
    assert [numbers_of(batch) for batch in held] == [[0, 1], [2, 3]]
    held.reverse()
    del held[0]
    assert numbers_of(held[0]) == [0, 1]
    del server
    gc.collect()
    assert numbers_of(held[0]) == [0, 1]
    held.clear()


def test_close_wakes_a_learner_that_waits_for_a_held_batch() -> None:
    with leased(rows=1, lease_timeout=None) as server:
        submit(server, 0, 1, 2)
        held = [take(server) for _ in range(3)]
        learner = Worker(server.sample)
        learner.wait_until_asleep()
    assert learner.result() is None
    assert len(held) == 3


def test_a_forked_child_releases_no_batch_of_its_parent() -> None:
    printed = run_script(
        """
        import os, warnings
        import numpy as np
        from shm_echo import RingFullError, Server

        server = Server(np.int64(0), 1, num_buffers=3, lease=True)
        server.submit(7)
        kept = server.sample().batch
        warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # by a library
        child = os.fork()
        if child == 0:
            assert kept.tolist() == [7]
            del kept
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        accepted = 0
        try:
            while True:
                server.submit(accepted, timeout=0)
                accepted += 1
        except RingFullError:
            print(accepted, kept.tolist())
        """
    )
    assert printed == "2 [7]\n"
