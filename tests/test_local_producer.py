"""Server.submit: samples of the owning process, and a full ring that must not wait for itself."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import RingFullError, SpecMismatchError
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def fill(server: Server) -> None:
    for i in range(server.batch_size * server.num_buffers):
        server.submit(numbered(i), timeout=0)


def take(server: Server) -> list[int]:
    sample = server.sample(timeout=60)
    assert sample is not None
    return numbers_of(sample.batch)


def take_in_another_thread_that_lives_on(server: Server, end: threading.Event) -> Worker:
    """Another thread has sampled and may do so again, so submit() waits for room."""
    taken = threading.Event()

    def learner() -> None:
        take(server)
        taken.set()
        end.wait(60)

    worker = Worker(learner)
    assert taken.wait(60)
    return worker


# ---------------------------------------------------------------- what arrives


def test_samples_arrive_in_the_order_in_which_they_were_submitted() -> None:
    with Server(EXAMPLE, 4) as server:
        for lap in range(10):
            for i in range(8):
                server.submit(numbered(8 * lap + i))
            assert take(server) == list(range(8 * lap, 8 * lap + 4))
            assert take(server) == list(range(8 * lap + 4, 8 * lap + 8))


def test_the_ring_holds_a_copy_so_that_the_array_may_be_used_again() -> None:
    with Server(EXAMPLE, 2) as server:
        sample = numbered(1)
        server.submit(sample)
        sample["x"][:] = 99
        server.submit(numbered(2))
        assert take(server) == [1, 2]


def test_a_python_number_is_taken_where_the_example_is_0_d() -> None:
    with Server(EXAMPLE, 1) as server:
        server.submit({"x": np.full(3, 7, np.float32), "n": 7})
        assert take(server) == [7]


STORED: dict[str, Any] = {
    "a transposed array": np.arange(12, dtype=np.float32).reshape(4, 3).T,
    "a Fortran-ordered array": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "every second column": np.arange(24, dtype=np.float32).reshape(3, 8)[:, ::2],
    "a reversed array": np.arange(12, dtype=np.float32).reshape(3, 4)[::-1, ::-1],
    "a broadcast row": np.broadcast_to(np.arange(4, dtype=np.float32), (3, 4)),
    "a read-only array": np.frombuffer(np.arange(12, dtype=np.float32).tobytes(), np.float32),
}


@pytest.mark.parametrize("array", STORED.values(), ids=STORED)
def test_any_memory_layout_is_stored_in_c_order(array: Any) -> None:
    array = array.reshape(3, 4) if array.ndim == 1 else array
    with Server({"a": np.zeros((3, 4), np.float32)}, 1) as server:
        server.submit({"a": array})
        sample = server.sample()
        assert sample is not None
        np.testing.assert_array_equal(sample.batch["a"][0], array)


def test_a_large_sample_is_whole() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 300, 301), np.uint8)
    with Server({"pixels": pixels, "odd": np.zeros(5, np.uint8)}, 2) as server:
        for i in range(2):
            server.submit({"pixels": pixels + np.uint8(i), "odd": np.full(5, i, np.uint8)})
        sample = server.sample()
        assert sample is not None
        for i in range(2):
            np.testing.assert_array_equal(sample.batch["pixels"][i], pixels + np.uint8(i))
            assert (sample.batch["odd"][i] == i).all()


def test_a_mismatch_is_rejected_by_its_leaf_and_not_stored() -> None:
    with Server(EXAMPLE, 2) as server:
        with pytest.raises(SpecMismatchError, match=r"\['x'\]: expected float32 \(3,\)") as e:
            server.submit({"x": np.zeros(3), "n": np.int64(0)})
        assert e.value.path == "['x']"
        assert server.info().store_size == 0
        server.submit(numbered(1))
        server.submit(numbered(2))
        assert take(server) == [1, 2]


def test_threads_may_submit_at_once_and_each_keeps_its_order() -> None:
    threads, each = 4, 500

    def produce(server: Server, thread: int) -> None:
        for i in range(each):
            server.submit(numbered(thread * each + i))

    with Server(EXAMPLE, 8) as server:
        learner = Worker(lambda: [n for _ in range(threads * each // 8) for n in take(server)])
        producers = [Worker(produce, server, thread) for thread in range(threads)]
        for producer in producers:
            producer.result()
        came = learner.result()
    assert sorted(came) == list(range(threads * each))
    for thread in range(threads):
        own = [n for n in came if n // each == thread]
        assert own == sorted(own)


def test_samples_of_this_process_and_of_clients_share_the_ring(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        server.submit(numbered(0))
        client.send(numbered(1))
        server.submit(numbered(2))
        client.send_batch(stacked([3]))
        assert take(server) == [0, 1, 2, 3]


# ---------------------------------------------------------------- a full ring


def test_the_thread_that_samples_does_not_wait_for_itself() -> None:
    with Server(EXAMPLE, 2, num_buffers=3, lease=False) as server:
        server.submit(numbered(0))
        server.flush()
        for i in range(6):  # the batch that was flushed is still this thread's
            if i < 4:
                server.submit(numbered(i))
                continue
            with pytest.raises(RingFullError, match="this thread is the one") as caught:
                server.submit(numbered(i))
            assert caught.value.capacity == 6
        assert take(server) == [0, 1]
        assert take(server) == [2, 3]


def test_a_learner_whose_thread_has_ended_is_not_waited_for() -> None:
    with Server(EXAMPLE, 2, lease=False) as server:
        server.submit(numbered(0))
        Worker(server.flush).result()
        for i in range(4):
            server.submit(numbered(i))
        with pytest.raises(RingFullError, match="the thread that sampled has ended"):
            server.submit(numbered(4))


def test_a_full_ring_without_a_sampling_thread_is_an_error_after_a_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shm_echo.local_producer._FIRST_SAMPLE_GRACE", 0.05)
    with Server(EXAMPLE, 2) as server:
        fill(server)
        with pytest.raises(RingFullError, match=r"is full \(6 samples\) and no thread has"):
            server.submit(numbered(6))
        assert take(server) == [0, 1]


def test_within_the_grace_a_learner_that_comes_late_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shm_echo.local_producer._FIRST_SAMPLE_GRACE", 3600.0)
    with Server(EXAMPLE, 2) as server:
        fill(server)
        producer = Worker(server.submit, numbered(6))
        wait_until(lambda: server.info().push_blocked_count, "submit waits")
        assert take(server) == [0, 1]
        assert take(server) == [2, 3]  # which gives the first batch back
        producer.result()
        server.submit(numbered(7))
        assert [take(server), take(server)] == [[4, 5], [6, 7]]


def test_a_full_ring_is_waited_for_while_another_thread_samples() -> None:
    with Server(EXAMPLE, 2) as server:
        learner = Worker(lambda: [n for _ in range(50) for n in take(server)])
        for i in range(100):
            server.submit(numbered(i))
        assert learner.result() == list(range(100))


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_submit_gives_up_after_its_time_out(timeout: float) -> None:
    end = threading.Event()
    with Server(EXAMPLE, 2, lease=False) as server:
        fill(server)
        learner = take_in_another_thread_that_lives_on(server, end)
        with pytest.raises(RingFullError, match=f"stayed so for {timeout:g} s") as caught:
            server.submit(numbered(6), timeout=timeout)
        assert isinstance(caught.value, TimeoutError)
        end.set()
        learner.result()
        assert take(server) == [2, 3]


@pytest.mark.parametrize("value", [-1, float("nan"), "soon"])
def test_an_invalid_timeout_is_rejected_even_when_there_is_room(value: Any) -> None:
    with Server(EXAMPLE, 2) as server:
        with pytest.raises((TypeError, ValueError), match="timeout must be None or a number"):
            server.submit(numbered(0), timeout=value)
        assert server.info().store_size == 0
