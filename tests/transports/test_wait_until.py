"""`wait()`: until the ring has the samples, or until the learner has taken them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from shm_echo import ConnectionClosedError, SendTimeoutError, Server, ShmClient, ShmTransport
from shm_echo.transports.wait_until import wait_until_taken
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def test_one_thread_sends_waits_and_samples(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        for number in range(5):
            client.send(numbered(number))
            client.wait(until="stored")
            sample = server.sample(timeout=0)
            assert sample is not None
            assert numbers_of(sample.batch) == [number]


def test_a_client_of_a_connector_waits_until_its_samples_are_stored(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with server.connector().connect(EXAMPLE) as client:
            client.send(numbered(1))
            client.wait()
            with pytest.raises(TimeoutError, match="not every sample was handed to the learner"):
                client.wait(0, until="taken")
        with server.connector().connect(EXAMPLE, wait_until="taken") as client:
            client.send(numbered(2))
            with pytest.raises(ConnectionClosedError):
                client.close()
                client.wait()


def test_a_client_waits_until_its_samples_are_taken_unless_it_is_told(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        with ShmClient(name, EXAMPLE) as client:
            client.send(numbered(1))
            client.wait(until="stored")
            with pytest.raises(TimeoutError):
                client.wait(0)
            server.flush()
            client.wait(0)
        with ShmClient(name, EXAMPLE, wait_until="stored") as client:
            client.send(numbered(1))
            client.wait()
            client.wait(0)


def test_waiting_for_the_store_fails_once_the_store_is_gone(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)):
        client = ShmClient(name, EXAMPLE)
        client.send(numbered(1))
    wait_until(lambda: client._connection.loss_reason(), "the end of the server is known")
    with pytest.raises(ConnectionClosedError, match=f"the connection to {name} is closed: "):
        client.wait(until="stored")
    client.close()
    with pytest.raises(ConnectionClosedError, match=f"the client of {name} is closed"):
        client.wait(until="stored")


def wait_in_the_child(pipe: Any, client: ShmClient) -> None:
    client.wait(until="stored")
    client.send(numbered(3))
    client.wait(until="stored")
    client.close()
    pipe.send("stored")


def test_an_inherited_client_attaches_again_to_wait(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        with start(wait_in_the_child, client, method="fork") as child:
            child.expect("stored")
        sample = server.sample(timeout=0)
        assert sample is not None
        assert numbers_of(sample.batch) == [3]


@pytest.mark.parametrize("value", ["sent", "", True, 1])
def test_an_unknown_end_of_the_wait_is_refused(name: str, value: Any) -> None:
    words = "must be 'taken' or 'stored', not "
    with pytest.raises(ValueError, match=f"^wait_until {words}"):
        ShmClient(name, EXAMPLE, wait_until=value)
    with Server(EXAMPLE, 1, ShmTransport(name)), ShmClient(name, EXAMPLE) as client:
        with pytest.raises(ValueError, match=f"^until {words}"):
            client.wait(until=value)
        with pytest.raises(TypeError, match="timeout"):
            client.wait("soon", until="stored")  # type: ignore[arg-type]


# ---------------------------------------------------------------- waits that wait for each other


def send_and_wait(pipe: Any, name: str, numbers: list[int]) -> None:
    with ShmClient(name, EXAMPLE) as client:
        client.send_batch(stacked(numbers))
        pipe.send("sent")
        client.wait()
        pipe.send("taken")
        pipe.recv()


def stream(server: Server, batches: list[list[int]], **options: Any) -> None:
    for sample in server.dataset_iter(until="producers_closed", **options):
        batches.append(numbers_of(sample.batch))


def test_a_learner_until_the_end_gets_the_rest_for_which_all_producers_wait(name: str) -> None:
    batches: list[list[int]] = []
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        learner = Worker(stream, server, batches)
        with start(send_and_wait, name, [0, 1, 2, 3, 4, 5], method="fork") as child:
            child.expect("sent")
            child.expect("taken")  # a moment before the learner has it
            wait_until(lambda: batches == [[0, 1, 2, 3], [4, 5]], "the learner has it")
            assert learner.thread.is_alive()  # the producer has not left
            child.say("leave")
            learner.result()
    assert batches == [[0, 1, 2, 3], [4, 5]]


def test_a_producer_that_does_not_wait_may_still_fill_the_batch(name: str) -> None:
    batches: list[list[int]] = []
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as busy:
        learner = Worker(stream, server, batches)
        with start(send_and_wait, name, [0, 1], method="fork") as child:
            child.expect("sent")
            wait_until(
                lambda: [info.state for info in server.producers()] == ["attached", "waiting"],
                "the child waits",
            )
            learner.wait_until_asleep()
            assert batches == []
            busy.send(numbered(2))
            waiting = Worker(busy.wait)  # now all of them wait
            child.expect("taken")
            waiting.result()
            wait_until(lambda: batches == [[0, 1, 2]], "the learner has it")
            child.say("leave")
        busy.close()
        learner.result()


LAST_ONES: dict[str, Callable[[ShmClient], object]] = {
    "waits": lambda client: Worker(client.wait),
    "closes": lambda client: client.close(),
    "breaks off": lambda client: client._connection.close(),
}


@pytest.mark.parametrize("last_one", LAST_ONES.values(), ids=LAST_ONES)
def test_the_learner_is_woken_by_what_makes_the_rest_due(
    name: str, last_one: Callable[[ShmClient], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.wait_checks._WAIT_SLICE", 3600.0)  # it looks when it is woken
    batches: list[list[int]] = []
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        learner = Worker(stream, server, batches)
        last = ShmClient(name, EXAMPLE)
        client.send(numbered(0))
        last.send(numbered(1))
        waiting = Worker(client.wait)
        wait_until(lambda: server.producers()[0].state == "waiting", "it waits")
        learner.wait_until_asleep()
        last_one(last)
        waiting.result()
        wait_until(lambda: batches == [[0, 1]], "the learner has it")
        server.close()
        learner.result()
        last.close()


def test_workers_that_have_not_come_yet_are_not_waited_for(name: str) -> None:
    batches: list[list[int]] = []
    with Server(EXAMPLE, 4, ShmTransport(name)) as server:
        learner = Worker(stream, server, batches, min_producers=2)
        for number in range(2):  # the second one is started by the end of the first one
            with start(send_and_wait, name, [number], method="fork") as child:
                child.expect("sent")
                child.expect("taken")
                child.say("leave")
                assert child.wait() == 0
        learner.result()
    assert batches == [[0], [1]]


def test_a_producer_that_was_killed_while_it_waited_does_not_count(name: str) -> None:
    batches: list[list[int]] = []
    with (
        Server(EXAMPLE, 4, ShmTransport(name, max_producers=2)) as server,
        ShmClient(name, EXAMPLE) as busy,
    ):
        with start(send_and_wait, name, [0], method="fork") as child:
            child.expect("sent")
            wait_until(lambda: server.producers()[1].state == "waiting", "it waits")
        wait_until(lambda: len(server.producers()) == 1, "its death is noticed")
        with ShmClient(name, EXAMPLE):  # it gets the same owner id
            assert [info.state for info in server.producers()] == ["attached", "attached"]
        learner = Worker(stream, server, batches)
        learner.wait_until_asleep()
        assert batches == []
        busy.close()
        learner.result()
    assert batches == [[0]]


def test_a_producer_whose_connection_broke_does_not_count(name: str) -> None:
    batches: list[list[int]] = []
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        lost = ShmClient(name, EXAMPLE)
        lost.send(numbered(0))
        lost._connection.close()  # without a goodbye
        wait_until(lambda: server.producers()[1].state == "hung up", "it has hung up")
        learner = Worker(stream, server, batches)
        client.send(numbered(1))
        client.wait()
        wait_until(lambda: batches == [[0, 1]], "the learner has it")
        server.close()
        learner.result()
        lost.close()


def test_a_wait_without_time_is_no_wait(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(0))
        for _ in range(100):
            with pytest.raises(TimeoutError):
                client.wait(0)
        assert server.producers()[0].state == "attached"
        waiting = Worker(client.wait)
        wait_until(lambda: server.producers()[0].state == "waiting", "it waits")
        server.flush()
        waiting.result()
        assert server.producers()[0].state == "attached"


def test_all_threads_of_a_client_that_wait_are_one_waiting_producer(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(0))
        waits = [Worker(client.wait), Worker(client.wait, 0.1)]
        with pytest.raises(TimeoutError):
            waits[1].result()
        assert server.producers()[0].state == "waiting"
        server.flush()
        waits[0].result()


# ---------------------------------------------------------------- what both ends say


def test_after_five_seconds_both_ends_say_that_they_wait_for_each_other(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "shm_echo")
    monkeypatch.setattr("shm_echo.wait_checks._ALL_WAIT_AFTER", 0.02)
    monkeypatch.setattr("shm_echo.transports.wait_until._WARN_AFTER", 0.02)
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send_batch(stacked([0, 1]))
        waiting = Worker(client.wait)
        wait_until(lambda: server.producers()[0].state == "waiting", "it waits")
        with pytest.raises(TimeoutError, match=r"2 samples are there, 1 producer attached"):
            server.sample(timeout=0.5)  # never a short batch
        sample = server.sample(partial=True)
        assert sample is not None
        assert numbers_of(sample.batch) == [0, 1]
        waiting.result()
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == [
        "sample() waits for a batch of 4, of which 2 samples are there, and every producer (1) "
        "waits in wait() until they are taken: sample(partial=True) takes them",
        "wait() has waited 0 s: 2 samples of a batch of 4 are there, and a batch that does not "
        "fill is taken by sample(partial=True)",
    ]


def test_nothing_is_said_while_a_producer_may_fill_the_batch_or_a_batch_is_complete(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "shm_echo")
    monkeypatch.setattr("shm_echo.wait_checks._ALL_WAIT_AFTER", 0.0)
    monkeypatch.setattr("shm_echo.transports.wait_until._WARN_AFTER", 0.01)
    with (
        Server(EXAMPLE, 2, ShmTransport(name)) as server,
        ShmClient(name, EXAMPLE) as client,
        ShmClient(name, EXAMPLE) as busy,
    ):
        client.send_batch(stacked([0, 1]))
        with pytest.raises(TimeoutError, match=r"^not every .* within 0\.05 s$"):
            client.wait(0.05)  # the batch is complete, the learner is late
        assert server.sample(timeout=0) is not None
        client.wait(0)
        busy.send(numbered(2))
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.3)
    assert caplog.records == []


def test_a_time_out_of_the_wait_has_the_counts(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)), ShmClient(name, EXAMPLE) as client:
        client.send_batch(stacked([0, 1, 2]))
        with pytest.raises(TimeoutError) as caught:
            client.wait(0.01)
    assert str(caught.value) == (
        "not every sample was handed to the learner within 0.01 s: 3 samples of a batch of 4 are "
        "there, and a batch that does not fill is taken by sample(partial=True)"
    )


def test_the_time_of_a_long_wait_is_not_prolonged_by_the_warning(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.transports.wait_until._WARN_AFTER", 0.01)
    asked: list[float | None] = []

    class Impatient:
        def wait(self, timeout: float | None) -> None:
            asked.append(timeout)
            raise SendTimeoutError(timeout or 0.0)

    with Server(EXAMPLE, 1, ShmTransport(name)) as server:
        with pytest.raises(TimeoutError, match="within 3 s"):
            wait_until_taken(cast("Any", Impatient()), server._parts.ring, 3)
    assert asked == [0.01, pytest.approx(2.99)]
