"""The conformance tests of transports: derive one class from `Conformance` per transport.

The fixture `harness` of the derived class returns the transport under test.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    ProducerDiedError,
    ProducerInfo,
    SendTimeoutError,
    Server,
    ShmEchoError,
    SpecMismatchError,
    Transport,
)
from shm_echo.errors import RefusedError
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until
from tests.transports.harnesses import MAX_PRODUCERS, Doomed, Producer, TransportHarness

__all__ = ["Conformance"]

BATCH, CAPACITY = 2, 4

# What differs from EXAMPLE: the call, its argument, the leaf that the error must name.
MISFITS: dict[str, tuple[str, Any, str]] = {
    "dtype": ("send", {**EXAMPLE, "x": np.zeros(3)}, "['x']"),
    "shape": ("send", {**EXAMPLE, "x": np.zeros(4, np.float32)}, "['x']"),
    "key": ("send", {"x": EXAMPLE["x"]}, "['n']"),
    "number": ("send", {**EXAMPLE, "n": 1.5}, "['n']"),
    "structure": ("send", [EXAMPLE], ""),
    "stack": ("send_batch", {**stacked([1, 2]), "x": np.zeros((3, 3), np.float32)}, "['x']"),
}
# With queues the first sends do not wait.
BLOCKING: dict[str, Callable[[Producer], object]] = {
    "send": lambda producer: [producer.send(numbered(9)) for _ in range(9)],
    "send_batch": lambda producer: producer.send_batch(stacked(range(9))),
    "wait": lambda producer: producer.wait(),
}


class Conformance:
    """The suite, for the transport that the fixture `harness` of the derived class returns.

    Batches are of two, the ring holds two of them. A queue, if the transport has any, holds one
    sample. The tests of a full ring are for transports without queues: others replace them.
    """

    @pytest.fixture
    def serve(self, harness: TransportHarness) -> Iterator[Callable[..., Server]]:
        """Starts the server of the test."""
        servers: list[Server] = []

        def make(policy: Any = "warn") -> Server:
            server = Server(
                EXAMPLE,
                BATCH,
                harness.transport,
                num_buffers=2,
                producer_queue_size=1,
                on_producer_death=policy,
            )
            servers.append(server.start())
            harness.served_by(server)
            return server

        yield make
        for server in servers:
            server.close()

    @pytest.fixture
    def server(self, serve: Callable[..., Server]) -> Server:
        """Return a running server that warns of deaths."""
        return serve()

    # ------------------------------------------------------------ what arrives

    def test_it_is_a_transport(self, harness: TransportHarness) -> None:
        assert isinstance(harness.transport, Transport)

    def test_samples_arrive_in_the_order_in_which_they_were_sent(
        self, server: Server, harness: TransportHarness
    ) -> None:
        with closing(harness.attach()) as producer:
            producer.send_batch(stacked([0, 1]))
            assert server.info().store_size == 2
            for i in range(2, 40, 2):  # the batch that was taken last keeps its half of the ring
                assert taken(server) == [i - 2, i - 1]
                producer.send(numbered(i))
                assert producer.send_batch(stacked([i + 1])) == 1

    def test_producers_at_once_keep_each_its_order_and_lose_nothing(
        self, server: Server, harness: TransportHarness
    ) -> None:
        def produce(first: int, producer: Producer) -> None:
            with closing(producer):
                for i in range(first, first + 300):
                    producer.send(numbered(i))

        # Attached at the same time, or one process would count as fewer producers.
        producers = [harness.attach() for _ in range(3)]
        workers = [Worker(produce, 1000 * n, producer) for n, producer in enumerate(producers)]
        came = streamed(server, min_producers=3)
        for worker in workers:
            worker.result()
        for first in (0, 1000, 2000):
            assert [i for i in came if first <= i < first + 1000] == list(range(first, first + 300))

    def test_a_stream_ends_with_its_producers_and_its_last_batch_is_what_is_left(
        self, server: Server, harness: TransportHarness
    ) -> None:
        producers = [harness.attach(), harness.attach()]
        learner = Worker(
            lambda: [
                numbers_of(sample.batch)
                for sample in server.dataset_iter(until="producers_closed", min_producers=2)
            ]
        )
        producers[0].send_batch(stacked([0, 1, 2]))
        producers[0].close()
        producers[1].send_batch(stacked([3, 4]))
        producers[1].close()
        assert learner.result() == [[0, 1], [2, 3], [4]]

    # ------------------------------------------------------------ what is refused

    @pytest.mark.parametrize(("call", "tree", "leaf"), MISFITS.values(), ids=MISFITS)
    def test_a_mismatch_is_rejected_by_its_leaf_before_a_slot_is_claimed(
        self, server: Server, harness: TransportHarness, call: str, tree: Any, leaf: str
    ) -> None:
        with closing(harness.attach()) as producer:
            for _ in range(CAPACITY + 1):
                with pytest.raises(SpecMismatchError) as caught:
                    getattr(producer, call)(tree, timeout=0)
                assert caught.value.path == leaf
                assert f"{leaf or 'the sample'}: " in str(caught.value)
            (info,) = server.producers()
            assert (info.held, info.samples) == (0, 0)
            assert producer.send_batch(stacked(range(CAPACITY)), timeout=0) == CAPACITY
        assert [taken(server), taken(server)] == [[0, 1], [2, 3]]

    # ------------------------------------------------------------ a full ring

    @pytest.mark.parametrize("timeout", [0, 0.02])
    def test_a_send_into_a_full_ring_times_out_without_sending(
        self, server: Server, harness: TransportHarness, timeout: float
    ) -> None:
        with closing(harness.attach()) as producer:
            producer.send_batch(stacked(range(CAPACITY)))
            with pytest.raises(SendTimeoutError) as caught:
                producer.send(numbered(9), timeout=timeout)
            assert (caught.value.sent, server.info().store_size) == (0, CAPACITY)

    def test_a_send_waits_for_room(self, server: Server, harness: TransportHarness) -> None:
        with closing(harness.attach()) as producer:
            producer.send_batch(stacked(range(CAPACITY)))
            sending = Worker(producer.send, numbered(4))
            wait_until(lambda: server.info().push_blocked_count, "it waits")
            assert [taken(server), taken(server)] == [[0, 1], [2, 3]]
            sending.result()
            assert server.info().store_size == 1

    @pytest.mark.parametrize("count", [0, 1, CAPACITY, 50])
    def test_a_batch_of_any_size_passes_while_a_learner_samples(
        self, server: Server, harness: TransportHarness, count: int
    ) -> None:
        learner = Worker(streamed, server)
        with closing(harness.attach()) as producer:
            assert producer.send_batch(stacked(range(count))) == count
        assert learner.result() == list(range(count))

    @pytest.mark.parametrize("timeout", [0, 0.02])
    def test_a_batch_that_runs_out_of_time_has_sent_its_first_samples(
        self, server: Server, harness: TransportHarness, timeout: float
    ) -> None:
        with closing(harness.attach()) as producer:
            producer.send(numbered(100))
            with pytest.raises(SendTimeoutError) as caught:
                producer.send_batch(stacked(range(10)), timeout=timeout)
            assert caught.value.sent == 3
            assert [taken(server), taken(server)] == [[100, 0], [1, 2]]
            with pytest.raises(TimeoutError):
                server.sample(timeout=0)

    def test_wait_ends_when_the_last_sample_is_handed_out(
        self, server: Server, harness: TransportHarness
    ) -> None:
        with closing(harness.attach()) as producer:
            producer.wait(timeout=0)
            producer.send_batch(stacked([0, 1]))
            with pytest.raises(TimeoutError, match="not every sample was handed to the learner"):
                producer.wait(timeout=0)
            waiting = Worker(producer.wait)
            waiting.wait_until_asleep()
            assert waiting.thread.is_alive()
            assert taken(server) == [0, 1]
            waiting.result()

    # ------------------------------------------------------------ the server closes

    @pytest.mark.parametrize("call", BLOCKING.values(), ids=BLOCKING)
    def test_closing_the_server_wakes_all_waiting_calls(
        self, server: Server, harness: TransportHarness, call: Callable[[Producer], object]
    ) -> None:
        producers = [harness.attach(), harness.attach()]
        for producer in producers:
            producer.send_batch(stacked([0, 1]))
        waiting = [Worker(call, producer) for producer in producers]
        for worker in waiting:
            worker.wait_until_asleep()
        server.close()
        for worker, producer in zip(waiting, producers, strict=True):
            with pytest.raises(ConnectionClosedError) as caught:
                worker.result()
            assert caught.value.sent < 9 if harness.queues else caught.value.sent == 0
            producer.close()
        assert server.sample() is None

    def test_after_the_close_sends_and_attachments_fail(
        self, server: Server, harness: TransportHarness
    ) -> None:
        with closing(harness.attach()) as producer:
            server.close()
            with pytest.raises(ConnectionClosedError):
                producer.send(numbered(0), timeout=0)
            with pytest.raises(ShmEchoError):
                harness.attach()

    # ------------------------------------------------------------ attached producers

    def test_producers_are_listed_in_the_order_of_their_attachments(
        self, server: Server, harness: TransportHarness
    ) -> None:
        first, second, third = harness.attach(), harness.attach(), harness.attach()
        first.send(numbered(0))
        third.send_batch(stacked([1, 2]))
        found = server.producers()
        assert [p.samples for p in found] == [1, 0, 2]
        nbytes = sum(np.asarray(leaf).nbytes for leaf in EXAMPLE.values())
        assert [p.bytes for p in found] == [nbytes, 0, 2 * nbytes]
        assert [(p.held, p.state) for p in found] == [(0, "attached")] * 3
        assert server.info().active_connections == 3
        second.close()
        wait_until(lambda: len(server.producers()) == 2, "the second one has left")
        assert [p.id for p in server.producers()] == [found[0].id, found[2].id]
        first.close()
        third.close()
        wait_until(lambda: not server.producers(), "all have left")
        assert server.info().samples_inserted_total == 3

    def test_a_producer_above_the_limit_is_rejected_until_another_one_leaves(
        self, server: Server, harness: TransportHarness
    ) -> None:
        producers = [harness.attach() for _ in range(MAX_PRODUCERS)]
        with pytest.raises((RefusedError, RuntimeError), match=rf"\({MAX_PRODUCERS}\).*max_prod"):
            harness.attach()
        producers.pop().close()
        wait_until(lambda: len(server.producers()) < MAX_PRODUCERS, "it has left")
        producers.append(harness.attach())
        producers[-1].send(numbered(1), timeout=0)
        for producer in producers:
            producer.close()
            producer.close()  # may be said again

    # ------------------------------------------------------------ deaths

    def test_a_death_is_logged_and_the_stream_goes_on(
        self, server: Server, harness: TransportHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "shm_echo"), harness.doomed([0]) as doomed:
            assert [name_of(p) for p in server.producers()] == [doomed.name]
            die(server, doomed)
            wait_until(lambda: caplog.messages, "it is told")
        (message,) = caplog.messages
        assert message.startswith(f"producer {doomed.name} ")
        assert doomed.words in message
        with closing(harness.attach()) as producer:
            producer.send(numbered(1))
        assert taken(server) == [0, 1]

    def test_raise_reports_each_death_once_and_no_sample_is_lost(
        self, serve: Callable[..., Server], harness: TransportHarness
    ) -> None:
        server = serve("raise")
        harness.attach().close()  # leaving in good order is no death
        with harness.doomed([0, 1, 2]) as doomed:
            die(server, doomed)
            with pytest.raises(ProducerDiedError) as caught:
                server.sample(timeout=WATCHDOG)
            assert name_of(caught.value) == doomed.name
            assert caught.value.signal in (None, signal.SIGKILL)  # not every kernel tells
            assert taken(server) == [0, 1]
            assert flushed(server) == [2]

    def test_raise_wakes_a_learner_that_waits(
        self, serve: Callable[..., Server], harness: TransportHarness
    ) -> None:
        server = serve("raise")
        with harness.doomed([0]) as doomed:
            learner = Worker(server.sample)
            learner.wait_until_asleep()
            die(server, doomed)
            with pytest.raises(ProducerDiedError):
                learner.result()
        assert flushed(server) == [0]

    def test_raise_if_last_waits_until_no_producer_and_no_full_batch_is_left(
        self, serve: Callable[..., Server], harness: TransportHarness
    ) -> None:
        server = serve("raise_if_last")
        with harness.doomed([0]) as first, harness.doomed([1, 2]) as last:
            die(server, first)
            assert taken(server) == [0, 1]
            with pytest.raises(TimeoutError):
                server.sample(timeout=0)
            die(server, last)
            with pytest.raises(ProducerDiedError) as caught:
                server.sample(timeout=WATCHDOG)
            assert name_of(caught.value) == first.name  # the oldest one that was not reported
        assert flushed(server) == [2]

    def test_a_stream_ends_with_the_death_of_its_last_producer_and_keeps_what_it_sent(
        self, server: Server, harness: TransportHarness
    ) -> None:
        learner = Worker(streamed, server)
        with harness.doomed([0, 1, 2]) as doomed:
            die(server, doomed)
        assert learner.result() == [0, 1, 2]


def taken(server: Server) -> list[int]:
    """Return the numbers of the next batch, and fail without one."""
    sample = server.sample(timeout=WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)


def flushed(server: Server) -> list[int]:
    """Return the numbers of the remaining samples."""
    sample = server.flush(timeout=0)
    assert sample is not None
    return numbers_of(sample.batch)


def streamed(server: Server, min_producers: int = 1) -> list[int]:
    """Return all numbers until the producers have closed."""
    stream = server.dataset_iter(until="producers_closed", min_producers=min_producers)
    return [i for sample in stream for i in numbers_of(sample.batch)]


def die(server: Server, doomed: Doomed) -> None:
    """End a producer, and wait until the server has noticed."""
    doomed.die()
    wait_until(lambda: doomed.name not in [name_of(p) for p in server.producers()], "it is noticed")


def name_of(producer: ProducerInfo | ProducerDiedError) -> str:
    """Return the words by which messages call a producer: its address, or its process."""
    return producer.peer or f"pid {producer.pid}"
