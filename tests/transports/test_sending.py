"""Sending through shared memory: the state after calls that return and calls that raise."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, SendTimeoutError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.scripts import run_script
from tests.support.threads import Worker
from tests.support.waiting import wait_until

CAPACITY = 4


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with Server(EXAMPLE, 2, ShmTransport(name), num_buffers=2) as running:
        yield running


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    with ShmClient(name, EXAMPLE) as attached:
        yield attached


def take(server: Server, timeout: float | None = 0) -> list[int]:
    sample = server.sample(timeout=timeout)
    assert sample is not None
    return numbers_of(sample.batch)


def rest(server: Server) -> list[int]:
    """Return all remaining numbers, with the last partial batch."""
    found: list[int] = []
    while True:
        sample = server.flush(timeout=0)
        assert sample is not None
        numbers = numbers_of(sample.batch)
        if not numbers:
            return found
        found += numbers


# ---------------------------------------------------------------- room and time


@pytest.mark.parametrize("timeout", [True, "1", 1j])
def test_a_time_out_that_is_no_number_is_a_type_error(client: ShmClient, timeout: Any) -> None:
    for call in (
        lambda: client.send(numbered(0), timeout=timeout),
        lambda: client.send_batch(stacked([0]), timeout=timeout),
        lambda: client.reserve(timeout=timeout),
        lambda: client.wait(timeout=timeout),
    ):
        with pytest.raises(TypeError, match="timeout must be None or a number of seconds, not"):
            call()


def test_every_kind_of_send_reports_a_closed_ring(server: Server, client: ShmClient) -> None:
    client.send(numbered(0))
    server.close()
    for call in (
        lambda: client.send(numbered(0), timeout=0),
        lambda: client.send_batch(stacked([]), timeout=0),
        lambda: client.wait(timeout=0),
    ):
        with pytest.raises(ConnectionClosedError, match="has closed the ring"):
            call()


@pytest.mark.parametrize("timeout", [None, 0, 0.01, 60])
def test_a_send_with_room_succeeds_with_a_timeout_of_0(
    server: Server, client: ShmClient, timeout: float | None
) -> None:
    for i in range(CAPACITY):
        client.send(numbered(i), timeout=timeout)
    assert rest(server) == [0, 1, 2, 3]


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_a_send_into_a_full_ring_times_out_and_sends_no_sample(
    server: Server, client: ShmClient, timeout: float
) -> None:
    client.send_batch(stacked(range(CAPACITY)))
    with pytest.raises(SendTimeoutError, match=f"stayed full for {timeout:g} s") as caught:
        client.send(numbered(9), timeout=timeout)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.sent == 0
    with pytest.raises(SendTimeoutError):
        client.reserve(timeout=timeout)
    assert rest(server) == [0, 1, 2, 3]


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_send_into_a_full_ring_waits_for_room(
    server: Server, client: ShmClient, timeout: float | None
) -> None:
    client.send_batch(stacked(range(CAPACITY)))
    sending = Worker(client.send, numbered(4), timeout=timeout)
    wait_until(lambda: server.info().push_blocked_count, "it waits")
    assert take(server) == [0, 1]
    assert take(server) == [2, 3]  # which gives the first batch back
    sending.result()
    assert rest(server) == [4]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
def test_an_invalid_timeout_is_rejected_although_there_is_room(
    server: Server, client: ShmClient, timeout: Any
) -> None:
    for call in (
        lambda: client.send(numbered(0), timeout=timeout),
        lambda: client.send_batch(stacked([0]), timeout=timeout),
        lambda: client.reserve(timeout=timeout),
        lambda: client.wait(timeout=timeout),
    ):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            call()
    assert rest(server) == []


# ---------------------------------------------------------------- send_batch


@pytest.mark.parametrize("count", [0, 1, CAPACITY])
def test_a_batch_that_fits_is_sent_whole(server: Server, client: ShmClient, count: int) -> None:
    assert client.send_batch(stacked(range(count)), timeout=0) == count
    assert rest(server) == list(range(count))


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_a_batch_that_runs_out_of_time_has_sent_exactly_its_first_samples(
    server: Server, client: ShmClient, timeout: float
) -> None:
    client.send(numbered(100))
    with pytest.raises(SendTimeoutError) as caught:
        client.send_batch(stacked(range(10)), timeout=timeout)
    assert caught.value.sent == CAPACITY - 1
    assert "(3 samples of this call were sent)" in str(caught.value)
    assert rest(server) == [100, 0, 1, 2]
    # The remaining samples may be sent as usual.
    assert client.send_batch(stacked(range(3, 5)), timeout=0) == 2
    assert rest(server) == [3, 4]


def test_a_batch_larger_than_the_ring_passes_while_a_learner_samples(
    server: Server, client: ShmClient
) -> None:
    learner = Worker(lambda: [i for _ in range(50) for i in take(server, None)])
    assert client.send_batch(stacked(range(100))) == 100
    assert learner.result() == list(range(100))


def test_a_batch_that_is_cut_off_by_a_close_has_sent_exactly_its_first_samples(
    server: Server, client: ShmClient
) -> None:
    sending = Worker(client.send_batch, stacked(range(100)))
    assert take(server, None) == [0, 1]
    assert take(server, None) == [2, 3]
    wait_until(lambda: server.info().store_size == 4 and server.producers()[0].samples == 8, "full")
    client.close()
    with pytest.raises(ConnectionClosedError, match="the client of .* is closed") as caught:
        sending.result()
    assert caught.value.sent == 8
    assert rest(server) == [4, 5, 6, 7]


# ---------------------------------------------------------------- wait


def test_wait_ends_when_the_last_sample_has_been_handed_out(
    server: Server, client: ShmClient
) -> None:
    client.wait(timeout=0)  # no sample was sent yet
    client.send_batch(stacked(range(3)))
    for timeout in (0, 0.02):
        with pytest.raises(TimeoutError, match="not every sample was handed to the learner"):
            client.wait(timeout=timeout)
    waiting = Worker(client.wait)
    assert take(server) == [0, 1]
    waiting.wait_until_asleep()
    assert waiting.thread.is_alive()
    assert rest(server) == [2]
    waiting.result()
    client.wait(timeout=0)


def test_wait_concerns_the_samples_of_this_client_only(
    server: Server, client: ShmClient, name: str
) -> None:
    with ShmClient(name, EXAMPLE) as other:
        client.send_batch(stacked([0, 1]))
        other.send_batch(stacked([2, 3]))
        assert take(server) == [0, 1]
        client.wait(timeout=0)
        with pytest.raises(TimeoutError):
            other.wait(timeout=0)
        assert take(server) == [2, 3]
        other.wait(timeout=0)


# ---------------------------------------------------------------- order, and which server


def test_each_producer_keeps_its_order_and_nothing_is_lost(server: Server, name: str) -> None:
    def produce(first: int, client: ShmClient) -> None:
        with client:
            for i in range(first, first + 600, 3):
                client.send(numbered(i))
                client.send_batch(stacked([i + 1, i + 2]))

    # Attached at the same time, or one process would count as one producer.
    clients = [ShmClient(name, EXAMPLE) for _ in range(2)]
    producers = [Worker(produce, 1000 * n, client) for n, client in enumerate(clients)]
    came: list[int] = []
    for sample in server.dataset_iter(until="producers_closed", min_producers=2):
        came += numbers_of(sample.batch)
    for producer in producers:
        producer.result()
    assert [i for i in came if i < 1000] == list(range(600))
    assert [i for i in came if i >= 1000] == list(range(1000, 1600))


def test_two_servers_never_mix(server: Server, client: ShmClient, name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(f"{name}-b"), num_buffers=2) as other_server,
        ShmClient(f"{name}-b", EXAMPLE) as other,
    ):
        for lap in range(20):
            client.send_batch(stacked([2 * lap, 2 * lap + 1]))
            other.send_batch(stacked([1000 + 2 * lap, 1001 + 2 * lap]))
            assert take(server) == [2 * lap, 2 * lap + 1]
            assert take(other_server) == [1000 + 2 * lap, 1001 + 2 * lap]
        assert len(server.producers()) == len(other_server.producers()) == 1


# ---------------------------------------------------------------- the end of a client


def test_a_garbage_collected_client_is_closed_with_a_warning(server: Server, name: str) -> None:
    client = ShmClient(name, EXAMPLE)
    client.send(numbered(1))
    assert server.producers()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
    told = [str(w.message) for w in caught if w.category is ResourceWarning]
    # Among what the collector finds may be something of another test.
    assert [words for words in told if name in words] == [f"<ShmClient of {name}> was not closed"]
    wait_until(lambda: not server.producers(), "it has left")
    assert rest(server) == [1]


def test_every_call_of_a_closed_client_raises_except_close(
    server: Server, client: ShmClient, name: str
) -> None:
    client.send(numbered(0))
    assert not client.closed
    client.close()
    client.close()
    assert client.closed
    assert repr(client) == f"<ShmClient of {name}, closed>"
    for call in (
        lambda: client.send(numbered(0)),
        lambda: client.send_batch(stacked([0])),
        lambda: client.send_batch(stacked([])),
        client.reserve,
        client.wait,  # even without a sample to wait for
        lambda: client.wait(timeout=0),
        client.latest,
        lambda: client.wait_for(1),
    ):
        with pytest.raises(ConnectionClosedError, match=f"the client of {name} is closed"):
            call()
    assert rest(server) == [0]


INTERRUPTED = """
import os, signal, sys, threading
from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered
from tests.support.waiting import wait_until

name, call = sys.argv[1:]
with Server(EXAMPLE, 2, ShmTransport(name), num_buffers=2) as server:
    client = ShmClient(name, EXAMPLE)
    signal.signal(signal.SIGUSR1, lambda *_: client.close())
    for i in range(4):
        client.send(numbered(i))

    def interrupt():
        wait_until(lambda: server.info().push_blocked_count, "it waits")
        os.kill(os.getpid(), signal.SIGUSR1)

    helper = threading.Thread(target=interrupt)
    helper.start()
    try:
        client.send(numbered(4)) if call == "send" else client.reserve()
    except ConnectionClosedError as error:
        print(error, error.sent)
    helper.join()
    wait_until(lambda: not server.producers(), "it has left")
    print(server.info().store_size)
"""


@pytest.mark.parametrize("call", ["send", "reserve"])
def test_a_signal_handler_may_close_the_client_whose_call_it_interrupts(
    name: str, call: str
) -> None:
    assert run_script(INTERRUPTED, name, call) == f"the client of {name} is closed 0\n4\n"
