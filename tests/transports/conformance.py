"""What every transport must do, as a class of tests to run on each.

A transport's tests derive from :class:`Conformance` and provide the fixture ``network``. The tests see
a server and its producers, and nothing of how samples travel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np
import pytest

from shm_echo import (
    ConnectionClosedError,
    ProducerDiedError,
    SendTimeoutError,
    Server,
    SpecMismatchError,
    Transport,
)
from tests.support.learner import auditing
from tests.support.samples import Audit, Maker, example
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

__all__ = ["Conformance", "Mortal", "Network", "Producer"]

BATCH, BUFFERS = 4, 2
CAPACITY = BATCH * BUFFERS
MOST_PRODUCERS = 4

EXAMPLE = example()


class Producer(Protocol):
    """What the tests need of a transport's client."""

    def send(self, data: Any, timeout: float | None = None) -> None: ...

    def send_batch(self, data: Any, timeout: float | None = None) -> int: ...

    def wait(self, timeout: float | None = None) -> None: ...

    def close(self) -> None: ...


class Mortal(Protocol):
    """A producer that can be made to die without closing, after it has sent some samples."""

    @property
    def pid(self) -> int: ...

    def die(self) -> int | None:
        """End it; the signal that the server is to be told."""


class Network(Protocol):
    """One transport under test, with room for MOST_PRODUCERS producers."""

    @property
    def transport(self) -> Transport: ...

    def connect(self, data: Any) -> Producer:
        """A new producer, with its example."""

    def mortal(self, maker: Maker, count: int) -> AbstractContextManager[Mortal]:
        """A producer in a process of its own that has sent ``count`` samples."""


class Conformance:
    """Derive from it and provide the fixture ``network``."""

    @pytest.fixture
    def network(self) -> Iterator[Network]:
        raise NotImplementedError("the tests of a transport provide this")

    @pytest.fixture
    def serve(self, network: Network) -> Iterator[Callable[..., Server]]:
        """Starts the server of the test."""
        servers: list[Server] = []

        def make(
            policy: Literal["warn", "raise", "raise_if_last"] = "warn", buffers: int = BUFFERS
        ) -> Server:
            server = Server(
                EXAMPLE,
                BATCH,
                network.transport,
                num_buffers=buffers,
                on_producer_death=policy,
            )
            servers.append(server.start())
            return server

        yield make
        for server in servers:
            server.close()

    @pytest.fixture
    def server(self, serve: Callable[..., Server]) -> Server:
        return serve()

    # ------------------------------------------------------------ samples

    def test_samples_of_a_producer_come_whole_and_in_the_order_in_which_it_sent_them(
        self, server: Server, network: Network
    ) -> None:
        with auditing(server, min_producers=3) as audit:
            producers = [network.connect(EXAMPLE) for _ in range(3)]

            def produce(number: int) -> None:
                maker, producer = Maker(number), producers[number]
                for first in range(0, 200, 20):
                    for n in range(first, first + 10):
                        producer.send(maker.sample(n))
                    assert producer.send_batch(maker.batch(first + 10, 10)) == 10

            for worker in [Worker(produce, number) for number in range(3)]:
                worker.result()
            for producer in producers:
                producer.close()
        audit.check({(number, 0): 200 for number in range(3)})

    @pytest.mark.parametrize("count", [0, 1, CAPACITY, 3 * CAPACITY + 1])
    def test_a_batch_may_have_any_length(
        self, server: Server, network: Network, count: int
    ) -> None:
        producer = network.connect(EXAMPLE)
        with auditing(server) as audit:
            assert producer.send_batch(Maker(1).batch(0, count)) == count
            producer.close()
        audit.check({(1, 0): count})

    def test_a_sample_that_differs_is_refused_by_its_leafs_path_and_nothing_is_sent(
        self, server: Server, network: Network
    ) -> None:
        producer = network.connect(EXAMPLE)
        wrong = {**Maker(1).sample(0), "payload": np.zeros(15, np.uint64)}
        with pytest.raises(SpecMismatchError, match=r"\(16,\), got uint64 \(15,\)") as refused:
            producer.send(wrong)
        assert refused.value.path == "['payload']"
        stacked = {**Maker(1).batch(0, 3), "checksum": np.zeros(2, np.uint64)}
        with pytest.raises(SpecMismatchError) as refused:
            producer.send_batch(stacked)
        assert refused.value.path == "['checksum']"
        assert server.info().store_size == 0
        producer.close()

    def test_an_example_that_differs_is_refused_at_the_door(
        self, server: Server, network: Network
    ) -> None:
        with pytest.raises(SpecMismatchError) as refused:
            network.connect({**EXAMPLE, "sequence": np.int64(0)})
        assert refused.value.path == "['sequence']"
        assert server.producers() == []

    # ------------------------------------------------------------ a full ring

    def test_a_full_ring_is_waited_for_as_long_as_the_time_out_says(
        self, server: Server, network: Network
    ) -> None:
        producer = network.connect(EXAMPLE)
        assert producer.send_batch(Maker(1).batch(0, CAPACITY), timeout=0) == CAPACITY
        for timeout in (0, 0.05):
            with pytest.raises(SendTimeoutError) as late:
                producer.send(Maker(1).sample(CAPACITY), timeout=timeout)
            assert late.value.sent == 0
            assert isinstance(late.value, TimeoutError)
        assert server.info().store_size == CAPACITY
        waiting = Worker(producer.send, Maker(1).sample(CAPACITY))
        waiting.wait_until_asleep()
        assert server.sample(timeout=0) is not None
        assert server.sample(timeout=0) is not None  # gives the first one back: there is room
        waiting.result()
        producer.close()

    def test_a_batch_that_is_cut_short_says_how_many_of_it_were_sent(
        self, server: Server, network: Network
    ) -> None:
        producer = network.connect(EXAMPLE)
        producer.send(Maker(1).sample(0))
        with pytest.raises(SendTimeoutError) as late:
            producer.send_batch(Maker(1).batch(1, 100), timeout=0.05)
        assert late.value.sent == CAPACITY - 1
        producer.close()
        audit = Audit()
        for sample in server.dataset_iter(until="producers_closed"):
            audit.take(sample.batch)
        audit.check({(1, 0): CAPACITY})

    def test_wait_returns_when_everything_was_handed_to_the_learner(
        self, server: Server, network: Network
    ) -> None:
        producer = network.connect(EXAMPLE)
        producer.wait(timeout=0)  # nothing was sent
        producer.send_batch(Maker(1).batch(0, BATCH + 1))
        with pytest.raises(TimeoutError, match="not every sample was handed to the learner"):
            producer.wait(timeout=0.05)
        waiting = Worker(producer.wait)
        assert server.sample(timeout=0) is not None
        waiting.wait_until_asleep()
        assert waiting.thread.is_alive()
        assert server.sample(timeout=0, partial=True) is not None
        waiting.result()
        producer.close()

    # ------------------------------------------------------------ ends

    @pytest.mark.parametrize("call", ["send", "send_batch", "wait"])
    def test_closing_the_server_wakes_senders_with_an_error(
        self, server: Server, network: Network, call: str
    ) -> None:
        producers = [network.connect(EXAMPLE) for _ in range(2)]
        for number, producer in enumerate(producers):
            producer.send_batch(Maker(number).batch(0, CAPACITY // 2))
        calls: dict[str, Callable[[Producer], object]] = {
            "send": lambda producer: producer.send(Maker(1).sample(0)),
            "send_batch": lambda producer: producer.send_batch(Maker(1).batch(0, 9)),
            "wait": lambda producer: producer.wait(),
        }
        workers = [Worker(calls[call], producer) for producer in producers]
        for worker in workers:
            worker.wait_until_asleep()

        server.close()

        for worker in workers:
            with pytest.raises(ConnectionClosedError):
                worker.result()
        for producer in producers:
            with pytest.raises(ConnectionClosedError):
                producer.send(Maker(1).sample(0))
            producer.close()

    def test_a_producer_that_has_closed_sends_no_more_and_what_it_sent_stays(
        self, server: Server, network: Network
    ) -> None:
        producer = network.connect(EXAMPLE)
        producer.send(Maker(1).sample(0))
        producer.close()
        producer.close()
        with pytest.raises(ConnectionClosedError, match="closed"):
            producer.send(Maker(1).sample(1))
        wait_until(lambda: not server.producers(), "it is gone")
        assert server.flush().batch["sequence"].tolist() == [0]  # type: ignore[union-attr]

    def test_the_stream_ends_with_its_producers_and_the_last_partial_batch(
        self, server: Server, network: Network
    ) -> None:
        stream = Worker(
            lambda: [
                sample.batch["sequence"].tolist()
                for sample in server.dataset_iter(until="producers_closed", min_producers=2)
            ]
        )
        for number in range(2):
            producer = network.connect(EXAMPLE)
            producer.send_batch(Maker(number).batch(0, 3))
            producer.close()
        assert stream.result() == [[0, 1, 2, 0], [1, 2]]

    # ------------------------------------------------------------ who is there

    def test_producers_are_listed_while_they_are_there(
        self, server: Server, network: Network
    ) -> None:
        first, second = network.connect(EXAMPLE), network.connect(EXAMPLE)
        second.send_batch(Maker(1).batch(0, 3))
        listed = server.producers()
        assert [p.samples for p in listed] == [0, 3]
        assert listed[1].bytes == 3 * sum(leaf.nbytes for leaf in EXAMPLE.values())
        assert [p.state for p in listed] == ["attached", "attached"]
        assert len({p.id for p in listed}) == 2
        assert server.info().active_connections == 2
        first.close()
        wait_until(lambda: len(server.producers()) == 1, "the first one has gone")
        assert server.producers()[0].id == listed[1].id
        second.close()

    def test_more_producers_than_the_ring_was_made_for_are_refused(
        self, server: Server, network: Network
    ) -> None:
        producers = [network.connect(EXAMPLE) for _ in range(MOST_PRODUCERS)]
        with pytest.raises(Exception, match="max_producers"):
            network.connect(EXAMPLE)
        producers[0].close()
        wait_until(lambda: len(server.producers()) < MOST_PRODUCERS, "there is room again")
        producers[0] = network.connect(EXAMPLE)
        for producer in producers:
            producer.close()

    # ------------------------------------------------------------ deaths

    def test_a_death_is_logged_and_what_the_dead_sent_is_there(
        self, server: Server, network: Network, caplog: pytest.LogCaptureFixture
    ) -> None:
        with network.mortal(Maker(1), 3) as mortal:
            assert [(p.pid, p.samples) for p in server.producers()] == [(mortal.pid, 3)]
            mortal.die()
            wait_until(lambda: not server.producers(), "its death is noticed")
            (warning,) = (r for r in caplog.records if r.levelno == logging.WARNING)
            assert f"pid {mortal.pid}" in warning.getMessage()
        assert server.flush().batch["sequence"].tolist() == [0, 1, 2]  # type: ignore[union-attr]

    @pytest.mark.parametrize("policy", ["raise", "raise_if_last"])
    def test_a_blocked_learner_is_told_of_a_death_by_policy(
        self, serve: Callable[..., Server], network: Network, policy: str
    ) -> None:
        server = serve(policy)
        other = network.connect(EXAMPLE)
        with network.mortal(Maker(1), 1) as mortal:
            learner = Worker(server.sample)
            learner.wait_until_asleep()
            signal = mortal.die()
            if policy == "raise_if_last":
                wait_until(lambda: len(server.producers()) == 1, "its death is noticed")
                learner.wait_until_asleep()
                assert learner.thread.is_alive()
                other.close()
            with pytest.raises(ProducerDiedError) as death:
                learner.result()
            assert (death.value.pid, death.value.signal) == (mortal.pid, signal)
        other.close()

    def test_a_stream_ends_when_the_last_producer_has_died(
        self, server: Server, network: Network
    ) -> None:
        stream = Worker(lambda: [len(s.batch["sequence"]) for s in server.dataset_iter(
            until="producers_closed"
        )])
        with network.mortal(Maker(1), BATCH + 1) as mortal:
            mortal.die()
            assert stream.result(WATCHDOG) == [BATCH, 1]
