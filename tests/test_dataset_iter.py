"""Server.dataset_iter: batches until the server closes, or until all producers have left."""

from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest

from shm_echo import BatchesHeldError, Sample, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def all_of(server: Server, **options: Any) -> list[list[int]]:
    return [numbers_of(sample.batch) for sample in server.dataset_iter(**options)]


def until_closed(server: Server, producers: int = 1) -> list[list[int]]:
    return all_of(server, until="producers_closed", min_producers=producers)


# ---------------------------------------------------------------- until the server closes


def test_it_yields_samples_in_order_until_the_server_is_closed() -> None:
    with Server(EXAMPLE, 2) as server:
        for i in range(6):
            server.submit(numbered(i))
        came = []
        for sample in server.dataset_iter():
            assert isinstance(sample, Sample)
            assert sample.info.store_size == 4 - 2 * len(came)
            came.append(numbers_of(sample.batch))
            if len(came) == 3:
                server.close()
        assert came == [[0, 1], [2, 3], [4, 5]]


def test_closing_from_another_thread_ends_an_iterator_that_waits(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        learner = Worker(all_of, server)
        learner.wait_until_asleep()
    assert learner.result() == []


def test_an_iterator_that_has_ended_stays_ended() -> None:
    with Server(EXAMPLE, 2) as server:
        batches = server.dataset_iter()
    assert list(batches) == []
    assert list(batches) == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"until": "midnight"}, ValueError, "until must be None or 'producers_closed', not 'midn"),
        ({"min_producers": 0}, ValueError, "min_producers must be at least 1, not 0"),
        ({"min_producers": "2"}, TypeError, "min_producers must be an int, not str"),
        ({"timeout": -1}, ValueError, "timeout must be None or a number >= 0"),
        ({"timeout": "soon"}, TypeError, "timeout must be None or a number of seconds"),
    ],
)
def test_bad_options_are_refused_by_the_call_itself(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with Server(EXAMPLE, 2) as server, pytest.raises(error, match=words):
        server.dataset_iter(**options)


# ---------------------------------------------------------------- private copies


def test_copies_are_private_writable_and_stay_as_they_are() -> None:
    with Server(EXAMPLE, 2, num_buffers=2) as server:
        copies = []
        batches = server.dataset_iter(copy=True)
        for i in range(8):
            server.submit(numbered(2 * i))
            server.submit(numbered(2 * i + 1))
            copies.append(next(batches).batch)
        for i, batch in enumerate(copies):
            assert all(leaf.flags.owndata and leaf.flags.writeable for leaf in batch.values())
            assert numbers_of(batch) == [2 * i, 2 * i + 1]
            batch["x"][...] = 0


@pytest.mark.parametrize("lease", [False, True, "copy"])
def test_copies_free_the_memory_of_the_ring_at_once(lease: Any) -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=lease) as server:
        for i in range(6):
            server.submit(numbered(i))
        batches = server.dataset_iter(copy=True)
        kept = next(batches)
        server.submit(numbered(6), timeout=0)  # the ring was full
        server.submit(numbered(7), timeout=0)
        assert numbers_of(kept.batch) == [0, 1]
        assert [numbers_of(next(batches).batch) for _ in range(3)] == [[2, 3], [4, 5], [6, 7]]


def test_a_partial_copy_is_short_too(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked(range(5)))
        assert all_of(server, copy=True, until="producers_closed") == [[0, 1, 2, 3], [4]]


def test_threads_may_share_the_copies_of_one_server_and_each_batch_comes_once() -> None:
    total, learners = 1200, 3
    rows = np.arange(20_000)  # so large that NumPy lets other threads run while it copies
    finished = threading.Event()

    def learn(server: Server) -> list[int]:
        came = []
        for sample in server.dataset_iter(copy=True):
            batch = sample.batch
            assert (batch == batch[:, :1] + rows).all(), "the batch was reused while it was copied"
            came += [int(i) for i in batch[:, 0]]
        return came

    def watch(server: Server) -> None:
        wait_until(lambda: server.info().store_size == 0, "everything was taken")
        finished.set()

    with Server(rows, 4, num_buffers=2) as server:
        workers = [Worker(learn, server) for _ in range(learners)]
        for i in range(total):
            server.submit(rows + i)
        watch(server)
        assert finished.is_set()
    came = [i for worker in workers for i in worker.result()]
    assert sorted(came) == list(range(total))


# ---------------------------------------------------------------- until the producers have closed


@pytest.mark.parametrize("total", [0, 1, 4, 5, 11, 12])
def test_the_stream_ends_after_the_last_producer_with_the_last_partial_batch(
    name: str, total: int
) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        learner = Worker(until_closed, server)
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked(range(total)))
        expected = [list(range(at, min(at + 4, total))) for at in range(0, total, 4)]
        assert learner.result() == expected


def test_the_stream_does_not_end_before_the_first_producer(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        learner = Worker(until_closed, server)
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        with ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))
        assert learner.result() == [[1]]


def test_the_stream_waits_for_min_producers(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        learner = Worker(until_closed, server, 2)
        with ShmClient(name, EXAMPLE) as quick:
            quick.send_batch(stacked([0, 1, 2]))
        wait_until(lambda: not server.producers(), "the quick one has left")
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        with start(send_one, name, 3, None, method="fork") as late:
            late.expect("sent")
            assert learner.result() == [[0, 1], [2, 3]]


def send_one(pipe: Any, name: str, number: int, producer_id: Any) -> None:
    """Be a worker that sends one sample and ends."""
    with ShmClient(name, EXAMPLE, producer_id=producer_id) as client:
        client.send(numbered(number))
    pipe.send("sent")


def test_a_worker_that_attaches_anew_is_not_another_one(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        learner = Worker(until_closed, server, 2)
        for number in range(3):
            with ShmClient(name, EXAMPLE) as client:
                client.send(numbered(number))
            wait_until(lambda: not server.producers(), "it has left")
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        with start(send_one, name, 3, None, method="forkserver") as other:
            other.expect("sent")
            assert learner.result() == [[0], [1], [2], [3]]


def test_two_clients_of_a_process_that_are_attached_at_the_same_time_are_two(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE) as one, ShmClient(name, EXAMPLE) as other:
            one.send(numbered(0))
            other.send(numbered(1))
        assert until_closed(server, 2) == [[0, 1]]


@pytest.mark.parametrize("producer_id", [7, "actor 7"])
def test_a_worker_that_is_restarted_as_a_new_process_counts_once_by_its_id(
    name: str, producer_id: Any
) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        learner = Worker(until_closed, server, 2)
        for number in range(3):
            with start(send_one, name, number, producer_id, method="fork") as worker:
                worker.expect("sent")
                assert worker.wait() == 0
        wait_until(lambda: not server.producers(), "they have left")
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        with start(send_one, name, 3, "another", method="fork") as other:
            other.expect("sent")
            assert learner.result() == [[0], [1], [2], [3]]


def use_in_the_child(pipe: Any, client: ShmClient) -> None:
    client.send(numbered(1))
    pipe.send("sent")
    pipe.recv()
    client.close()


def test_the_child_of_a_fork_is_a_producer_of_its_own_and_not_the_named_one(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE, producer_id="parent") as client:
            with start(use_in_the_child, client, method="fork") as child:
                child.expect("sent")
                assert {info.producer_id for info in server.producers()} == {"parent", None}
                child.say("close")
                assert child.wait() == 0
            client.send(numbered(2))
        assert until_closed(server, 2) == [[1], [2]]


# ---------------------------------------------------------------- with a time-out


def test_a_worker_that_never_comes_does_not_make_the_iterator_wait_for_ever(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        batches = server.dataset_iter(until="producers_closed", min_producers=2, timeout=0.05)
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked([0, 1, 2]))
        assert numbers_of(next(batches).batch) == [0, 1]
        wait_until(lambda: not server.producers(), "it has left")
        for _ in range(2):
            with pytest.raises(TimeoutError, match="1 of 2 producers have come") as caught:
                next(batches)
        assert "within 0.05 s (1 sample is there, 0 producers attached" in str(caught.value)
        with start(send_one, name, 3, None, method="fork") as late:
            late.expect("sent")
            assert late.wait() == 0
        wait_until(lambda: not server.producers(), "the late one has left")
        # The iterator goes on after its time-out, and no sample was lost.
        assert [numbers_of(sample.batch) for sample in batches] == [[2, 3]]


def test_without_an_end_the_time_out_names_no_producers_to_come() -> None:
    with Server(EXAMPLE, 2) as server:
        batches = server.dataset_iter(timeout=0)
        with pytest.raises(TimeoutError) as caught:
            next(batches)
        assert "have come" not in str(caught.value)
        server.submit(numbered(0))
        server.submit(numbered(1))
        assert numbers_of(next(batches).batch) == [0, 1]


def test_the_rest_of_a_stream_comes_even_with_no_time_to_wait(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked(range(5)))
        wait_until(lambda: not server.producers(), "it has left")
        assert all_of(server, until="producers_closed", timeout=0) == [[0, 1, 2, 3], [4]]


def test_the_stream_goes_on_while_one_producer_is_left(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        learner = Worker(until_closed, server, 2)
        with ShmClient(name, EXAMPLE) as last:
            with ShmClient(name, EXAMPLE) as first:
                first.send(numbered(0))
            wait_until(lambda: len(server.producers()) == 1, "the first one has left")
            last.send_batch(stacked([1, 2]))
        assert learner.result() == [[0, 1], [2]]


def test_samples_of_this_process_are_part_of_the_stream(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        server.submit(numbered(0))
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked([1, 2]))
        assert until_closed(server) == [[0, 1], [2]]


def test_a_second_stream_of_the_same_server_ends_with_its_own_producers(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        for epoch in range(3):
            with ShmClient(name, EXAMPLE, producer_id=epoch) as client:
                client.send_batch(stacked([epoch, epoch, epoch]))
            assert until_closed(server, epoch + 1) == [[epoch, epoch], [epoch]]


def die_in_the_middle(pipe: Any, address: str) -> None:
    """Send three samples, begin a fourth, and wait to be killed."""
    client = ShmClient(address, EXAMPLE)
    client.send_batch(stacked([0, 1, 2]))
    client.reserve()
    slot = client.reserve()
    slot["x"][...] = 9
    pipe.send("in the middle")
    pipe.recv()


def test_a_producer_that_was_killed_has_closed_too(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name)) as server,
        start(die_in_the_middle, name, method="forkserver") as child,
    ):
        learner = Worker(until_closed, server)
        child.expect("in the middle")
        child.kill(signal.SIGKILL)
        assert learner.result() == [[0, 1], [2]]


# ---------------------------------------------------------------- with leases


def test_the_iterator_itself_holds_no_leased_batch() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=True) as server:
        for i in range(6):
            server.submit(numbered(i))
        batches = server.dataset_iter()
        assert numbers_of(next(batches).batch) == [0, 1]
        server.submit(numbered(6), timeout=0)  # the ring was full: the first batch is free again
        server.submit(numbered(7), timeout=0)
        assert [numbers_of(next(batches).batch) for _ in range(3)] == [[2, 3], [4, 5], [6, 7]]


def test_the_iterator_goes_on_after_too_many_batches_were_held() -> None:
    with Server(EXAMPLE, 1, num_buffers=3, lease=True, lease_timeout=0.05) as server:
        for i in range(3):
            server.submit(numbered(i))
        batches = server.dataset_iter()
        held = [next(batches) for _ in range(3)]
        with pytest.raises(BatchesHeldError):
            next(batches)
        held.clear()
        server.submit(numbered(3))
        assert numbers_of(next(batches).batch) == [3]
