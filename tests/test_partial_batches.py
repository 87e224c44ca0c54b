"""Batches that end early: flush(), sample(partial=True) and timeouts lose no sample."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def flush(server: Server, timeout: float | None = 60) -> list[int]:
    sample = server.flush(timeout)
    assert sample is not None
    return numbers_of(sample.batch)


def take(server: Server) -> list[int]:
    sample = server.sample(timeout=60)
    assert sample is not None
    assert len(sample.batch["n"]) == server.batch_size
    return numbers_of(sample.batch)


def submit(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.submit(numbered(number))


def write(slot: Any, number: int) -> None:
    for key, value in numbered(number).items():
        slot[key][...] = value


# ---------------------------------------------------------------- time-outs


def test_a_timeout_reports_the_stored_samples_and_loses_none() -> None:
    with Server(EXAMPLE, 4) as server:
        submit(server, 0, 1, 2)
        with pytest.raises(TimeoutError, match=r"no batch of 4 samples within 0\.01 s \(3 samples"):
            server.sample(timeout=0.01)
        submit(server, 3)
        assert take(server) == [0, 1, 2, 3]


def test_a_time_out_of_0_takes_what_is_ready_and_does_not_wait() -> None:
    with Server(EXAMPLE, 2) as server:
        with pytest.raises(TimeoutError, match="0 samples are there"):
            server.sample(timeout=0)
        submit(server, 0, 1)
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [0, 1]


def test_a_thread_that_waits_for_another_sampling_thread_times_out() -> None:
    with Server(EXAMPLE, 2) as server:
        first = Worker(server.sample)
        wait_until(lambda: server._consumer.sampler is first.thread, "it is the first one's turn")
        with pytest.raises(TimeoutError, match=r"another thread was sampling for 0\.01 s"):
            server.sample(timeout=0.01)
        submit(server, 0, 1)
        assert numbers_of(first.result().batch) == [0, 1]


# ---------------------------------------------------------------- what a flush gives


def test_flushing_an_empty_ring_gives_no_rows_of_the_right_kind() -> None:
    example = (np.zeros((2, 5), ">i2"), {"t": np.datetime64(0, "s")}, np.zeros(0, np.float16))
    with Server(example, 4) as server:
        sample = server.flush()
        assert sample is not None
        first, second, third = sample.batch[0], sample.batch[1]["t"], sample.batch[2]
        assert (first.shape, first.dtype) == ((0, 2, 5), np.dtype(">i2"))
        assert (second.shape, second.dtype) == ((0,), np.dtype("M8[s]"))
        assert (third.shape, third.dtype) == ((0, 0), np.dtype(np.float16))
        assert sample.info.store_size == 0


def test_flushing_an_empty_ring_leaves_the_next_batches_whole() -> None:
    with Server(EXAMPLE, 2) as server:
        for i in range(12):
            assert flush(server) == []
            submit(server, 2 * i, 2 * i + 1)
            assert take(server) == [2 * i, 2 * i + 1]


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_flush_returns_the_stored_samples_and_the_next_batch_is_a_new_one(rows: int) -> None:
    with Server(EXAMPLE, 4) as server:
        for lap in range(9):  # each buffer several times
            submit(server, *range(rows))
            assert flush(server) == list(range(rows))
            submit(server, *range(lap, lap + 4))
            assert take(server) == list(range(lap, lap + 4))


def test_flushing_a_complete_batch_gives_it_whole_and_only_it() -> None:
    with Server(EXAMPLE, 2) as server:
        submit(server, 0, 1, 2)
        assert flush(server) == [0, 1]
        assert flush(server) == [2]
        assert flush(server) == []


def test_sample_partial_is_a_flush() -> None:
    with Server(EXAMPLE, 2) as server:
        submit(server, 0)
        sample = server.sample(partial=True)
        assert sample is not None
        assert numbers_of(sample.batch) == [0]


def test_every_leaf_of_a_partial_batch_is_short_and_contiguous() -> None:
    none = np.zeros((0, 4))
    example = {"a": np.zeros((2, 3), np.int16), "b": np.float64(0), "none": none}
    with Server(example, 8) as server:
        for i in range(3):
            server.submit({"a": np.full((2, 3), i, np.int16), "b": float(i), "none": none})
        sample = server.flush()
        assert sample is not None
        shapes = {key: leaf.shape for key, leaf in sample.batch.items()}
        assert shapes == {"a": (3, 2, 3), "b": (3,), "none": (3, 0, 4)}
        assert all(leaf.flags.c_contiguous for leaf in sample.batch.values())
        assert sample.batch["a"][:, 1, 2].tolist() == [0, 1, 2]


# ---------------------------------------------------------------- gaps


@pytest.mark.parametrize("given_up", [[0], [1], [3], [0, 2], [1, 2, 3], [0, 1, 2, 3]], ids=str)
def test_a_flush_closes_the_gaps_of_reservations_that_were_given_up(
    name: str, given_up: list[int]
) -> None:
    with Server(EXAMPLE, 6, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slots = [client.reserve() for _ in range(4)]
        for i, slot in enumerate(slots):
            write(slot, i)
        for i, slot in enumerate(slots):
            if i in given_up:
                slot.abort()
            else:
                slot.commit()
        assert flush(server) == [i for i in range(4) if i not in given_up]
        for lap in range(8):
            client.send_batch(stacked(range(lap, lap + 6)))
            assert take(server) == list(range(lap, lap + 6))


def test_a_reservation_that_was_given_up_is_filled_by_the_next_sample(name: str) -> None:
    with Server(EXAMPLE, 3, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slots = [client.reserve() for _ in range(3)]
        for i, slot in enumerate(slots):
            write(slot, i)
        slots[0].commit()
        slots[1].abort()
        slots[2].commit()
        client.send(numbered(7))
        assert take(server) == [0, 7, 2]


# ---------------------------------------------------------------- samples that are being written


def test_a_flush_waits_for_a_sample_that_is_being_written(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(0))
        slot = client.reserve()
        client.send(numbered(2))
        write(slot, 1)
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        slot.commit()
        assert learner.result() == [0, 1, 2]


def test_samples_sent_during_a_flush_come_in_it_or_after_it(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slot = client.reserve()
        write(slot, 0)
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        client.send_batch(stacked(range(1, 8)))
        slot.commit()
        came = learner.result()
        assert came[0] == 0
        while (more := flush(server)) != []:
            came += more
        assert came == list(range(8))


def test_a_flush_ends_when_the_last_sample_that_it_waits_for_is_given_up(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(0))
        slot = client.reserve()
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        slot.abort()
        assert learner.result() == [0]
        client.send_batch(stacked(range(4)))
        assert take(server) == [0, 1, 2, 3]


def test_a_flush_of_a_single_aborted_reservation_has_no_rows(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slot = client.reserve()
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        slot.abort()
        assert learner.result() == []
        client.send_batch(stacked(range(4)))
        assert take(server) == [0, 1, 2, 3]


@pytest.mark.parametrize("held", [0, 1, 2, 3])
def test_a_flush_that_times_out_loses_nothing_and_later_batches_are_whole(
    name: str, held: int
) -> None:
    """The flush opens the batch again, for each position of the unfinished sample."""
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send_batch(stacked(range(held)))
        slot = client.reserve()
        write(slot, held)
        for timeout in (0, 0.02):
            with pytest.raises(TimeoutError, match="no batch of 4 samples within"):
                server.flush(timeout)
        client.send_batch(stacked(range(held + 1, 4)))
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)
        client.send_batch(stacked(range(4, 12)))  # the whole ring
        slot.commit()
        assert [take(server) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_producer_that_waits_for_room_gets_what_a_timed_out_flush_gives_back(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        slot = client.reserve()
        write(slot, 0)
        learner = Worker(server.flush, 0.5)
        learner.wait_until_asleep()  # the batch is sealed: its second slot is out of reach
        producer = Worker(client.send_batch, stacked([1, 2, 3]))
        with pytest.raises(TimeoutError):
            learner.result()
        producer.result()
        slot.commit()
        assert sorted(take(server) + take(server)) == [0, 1, 2, 3]


# ---------------------------------------------------------------- in another process


def hold(pipe: Any, address: str) -> None:
    """Send 0, hold a reservation, and commit it as 1 on request."""
    with ShmClient(address, EXAMPLE) as client:
        client.send(numbered(0))
        with client.reserve() as slot:
            write(slot, 1)
            pipe.send("held")
            pipe.recv()
        pipe.send("committed")
        pipe.recv()


def test_a_flush_waits_for_a_sample_that_another_process_writes(name: str) -> None:
    with (
        Server(EXAMPLE, 4, ShmTransport(name)) as server,
        start(hold, name, method="forkserver") as child,
    ):
        child.expect("held")
        with pytest.raises(TimeoutError):
            server.flush(timeout=0.02)
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        assert learner.thread.is_alive()
        child.say("commit")
        child.expect("committed")
        assert learner.result() == [0, 1]
        child.say("end")
        assert child.wait() == 0


def test_a_flush_does_not_wait_for_dead_producers(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Server(EXAMPLE, 4, ShmTransport(name)) as server,
        start(hold, name, method="forkserver") as child,
    ):
        child.expect("held")
        learner = Worker(flush, server)
        learner.wait_until_asleep()
        child.kill(signal.SIGKILL)
        assert learner.result() == [0]
        wait_until(lambda: not server.producers(), "the dead producer is gone")
        submit(server, *range(4))
        assert take(server) == [0, 1, 2, 3]
    assert f"pid {child.pid}" in caplog.text
