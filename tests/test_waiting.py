"""Events during the wait of a learner: deaths, no producer, a producer that stopped."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo import ProducerDiedError, Server, ShmClient, ShmTransport
from tests.support.manual_transport import ManualTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker
from tests.support.waiting import wait_until


@pytest.fixture
def transport() -> ManualTransport:
    return ManualTransport()


def serving(transport: ManualTransport, policy: Any) -> Server:
    return Server(EXAMPLE, 2, transport, on_producer_death=policy)


def take(server: Server, timeout: float | None = 60) -> list[int]:
    sample = server.sample(timeout)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- deaths


def test_a_death_is_only_logged_by_default(
    transport: ManualTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, transport) as server:
        transport.open(77).died(signal.SIGTERM)
        assert "pid 77 was ended by SIGTERM" in caplog.text
        server.submit(numbered(0))
        server.submit(numbered(1))
        assert take(server) == [0, 1]
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)


def test_with_raise_the_next_sample_raises_even_if_a_batch_is_ready(
    transport: ManualTransport,
) -> None:
    with serving(transport, "raise") as server, transport.open(1) as inlet:
        inlet.send_batch(stacked([0, 1]))
        transport.open(77).died(signal.SIGSEGV)
        with pytest.raises(ProducerDiedError, match="pid 77 was ended by SIGSEGV") as caught:
            server.sample()
        assert (caught.value.pid, caught.value.signal) == (77, signal.SIGSEGV)
        assert take(server) == [0, 1]  # raised once, and no sample was lost


def test_with_raise_each_death_is_raised_once_in_their_order(transport: ManualTransport) -> None:
    with serving(transport, "raise") as server, transport.open(1):
        for pid in (10, 11, 12):
            transport.open(pid).died()
        for pid in (10, 11, 12):
            with pytest.raises(ProducerDiedError) as caught:
                server.sample()
            assert (caught.value.pid, caught.value.signal) == (pid, None)
        with pytest.raises(TimeoutError):
            server.sample(timeout=0)


@pytest.mark.parametrize("policy", ["raise", "raise_if_last"])
def test_a_learner_that_waits_is_woken_by_the_death(
    transport: ManualTransport, policy: str
) -> None:
    with serving(transport, policy) as server:
        inlet = transport.open(77)
        inlet.send(numbered(0))
        learner = Worker(server.sample)
        learner.wait_until_asleep()
        inlet.died(signal.SIGKILL)
        with pytest.raises(ProducerDiedError) as caught:
            learner.result()
        assert caught.value.signal == signal.SIGKILL
        server.submit(numbered(1))
        assert take(server) == [0, 1]


def test_raise_if_last_does_not_raise_while_another_producer_is_attached(
    transport: ManualTransport,
) -> None:
    with serving(transport, "raise_if_last") as server:
        first, last = transport.open(10), transport.open(11)
        first.died()
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.01)
        last.send_batch(stacked([0, 1, 2]))
        last.died(signal.SIGABRT)
        assert take(server) == [0, 1]  # complete batches come first
        raised = []
        for _ in range(2):
            with pytest.raises(ProducerDiedError) as caught:
                server.sample()
            raised.append(caught.value.pid)
        assert raised == [10, 11]


def test_raise_if_last_does_not_raise_after_a_producer_that_closed(
    transport: ManualTransport,
) -> None:
    with serving(transport, "raise_if_last") as server:
        transport.open(10).close()
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.01)


def test_a_flush_that_is_ended_by_a_death_loses_no_sample(transport: ManualTransport) -> None:
    with serving(transport, "raise") as server:
        inlet = transport.open(10)
        inlet.send(numbered(0))
        sender = transport.ingress.ring.sender(server.producers()[0].id, lambda *_: None)
        claim = sender.reserve(0)
        learner = Worker(server.flush)
        learner.wait_until_asleep()
        other = transport.open(11)
        other.died()
        with pytest.raises(ProducerDiedError):
            learner.result()
        inlet.close()  # which takes the reservation back
        del claim
        server.submit(numbered(1))
        assert take(server) == [0, 1]


# ---------------------------------------------------------------- no producer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Make warnings come after hundredths of a second instead of seconds."""
    caplog.set_level(logging.WARNING, "shm_echo")
    monkeypatch.setattr("shm_echo.wait_checks._NO_PRODUCER_FIRST_WARNING", 0.02)
    monkeypatch.setattr("shm_echo.wait_checks._NO_PRODUCER_NEXT_WARNING", 0.05)
    monkeypatch.setattr("shm_echo.wait_checks._STRAGGLER_AFTER", 0.02)
    return


@pytest.mark.usefixtures("impatient")
def test_waiting_without_a_producer_logs_repeated_warnings(
    transport: ManualTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, transport) as server:
        learner = Worker(server.sample)
        wait_until(lambda: len(caplog.records) >= 2, "two warnings")
    assert learner.result() is None
    for record in caplog.records:
        assert "no producer has been attached for" in record.getMessage()


@pytest.mark.usefixtures("impatient")
def test_the_warning_of_a_stream_counts_the_producers_that_have_come(
    transport: ManualTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, transport) as server:
        transport.open(10).close()
        learner = Worker(list, server.dataset_iter(until="producers_closed", min_producers=2))
        wait_until(lambda: caplog.records, "a warning")
    assert learner.result() == []
    assert caplog.records[0].getMessage().endswith(" s, 1 of 2 producers have come")


@pytest.mark.usefixtures("impatient")
def test_waiting_for_attached_producers_logs_no_warning(
    transport: ManualTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, transport) as server, transport.open(), pytest.raises(TimeoutError):
        server.sample(timeout=0.3)
    assert caplog.records == []


@pytest.mark.usefixtures("impatient")
def test_a_server_without_a_transport_never_warns_of_missing_producers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 2) as server, pytest.raises(TimeoutError):
        server.sample(timeout=0.3)
    assert caplog.records == []


# ---------------------------------------------------------------- a stopped producer


@pytest.mark.usefixtures("impatient")
def test_an_unfinished_sample_is_warned_of_once_with_the_pid(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slot = client.reserve()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                server.sample(timeout=0.25)
        (record,) = caplog.records
        assert f"one sample that pid {os.getpid()} began" in record.getMessage()
        slot.abort()


@pytest.mark.usefixtures("impatient")
def test_slow_but_complete_samples_log_no_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send(numbered(0))
        with pytest.raises(TimeoutError):
            server.sample(timeout=0.25)
        client.send(numbered(1))
        assert take(server) == [0, 1]
    assert caplog.records == []
