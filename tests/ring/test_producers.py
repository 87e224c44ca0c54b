"""Owner ids: assigned, returned and assigned again; and the facts about their owners."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from shm_echo.errors import RefusedError
from shm_echo.metrics import ProducerInfo
from tests.support.manual_transport import ManualTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker
from tests.support.waiting import wait_until

PAIR_OF_BYTES = 12 + 8  # one sample of EXAMPLE


@pytest.fixture
def transport() -> ManualTransport:
    return ManualTransport()


@pytest.fixture
def server(transport: ManualTransport) -> Iterator[Server]:
    with Server(EXAMPLE, 4, transport) as server:
        yield server


def only(server: Server) -> ProducerInfo:
    (info,) = server.producers()
    return info


def take(server: Server) -> list[int]:
    sample = server.sample(timeout=60)
    assert sample is not None
    return numbers_of(sample.batch)


# ---------------------------------------------------------------- ids


def test_producers_are_listed_in_the_order_in_which_they_attached(
    server: Server, transport: ManualTransport
) -> None:
    inlets = [transport.open(pid) for pid in (30, 10, 20)]
    assert [info.pid for info in server.producers()] == [30, 10, 20]
    assert len({info.id for info in server.producers()}) == 3
    inlets[0].close()
    again = transport.open(30)
    assert [info.pid for info in server.producers()] == [10, 20, 30]
    for inlet in (*inlets, again):
        inlet.close()
    assert server.producers() == []


def test_an_owner_id_is_reused_only_after_all_others(
    server: Server, transport: ManualTransport
) -> None:
    ids = []
    for _ in range(12):
        with transport.open():
            ids.append(only(server).id)
    assert ids == [1, 2, 3, 4] * 3


def test_a_producer_above_the_limit_is_rejected_with_the_name_of_the_setting(
    server: Server, transport: ManualTransport
) -> None:
    inlets = [transport.open() for _ in range(4)]
    with pytest.raises(RuntimeError, match=r"ring was made for \(4\): raise max_producers"):
        transport.open()
    inlets[2].close()
    transport.open().close()
    for inlet in inlets:
        inlet.close()


def test_a_client_above_the_limit_is_rejected_with_the_name_of_the_setting(name: str) -> None:
    with (
        Server(EXAMPLE, 4, ShmTransport(name, max_producers=1)) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        with pytest.raises(RefusedError, match="raise max_producers") as caught:
            ShmClient(name, EXAMPLE)
        assert caught.value.code == "too_many_producers"
        client.send_batch(stacked(range(4)))
        assert take(server) == [0, 1, 2, 3]


# ---------------------------------------------------------------- facts about producers


def test_samples_and_bytes_count_what_was_committed_handed_out_or_not(
    server: Server, transport: ManualTransport
) -> None:
    with transport.open(1) as left, transport.open(2) as right:
        left.send_batch(stacked(range(3)))
        right.send(numbered(3))
        for _ in range(2):  # before and after the batch was taken
            counts = [(info.samples, info.bytes) for info in server.producers()]
            assert counts == [(3, 3 * PAIR_OF_BYTES), (1, PAIR_OF_BYTES)]
            if server.info().store_size:
                assert take(server) == [0, 1, 2, 3]


def test_counts_start_at_zero_for_the_next_owner_of_an_id(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name, max_producers=1)) as server:
        for _ in range(3):
            with ShmClient(name, EXAMPLE) as client:
                assert only(server).samples == 0
                client.send_batch(stacked(range(2)))
                assert only(server)[:4] == (1, os.getpid(), 2, 2 * PAIR_OF_BYTES)
            wait_until(lambda: not server.producers(), "it has left")
            take(server)


def test_held_counts_the_reservations(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        slots = []
        for held in range(1, 4):
            slots.append(client.reserve())
            assert only(server).held == held
        slots[0].commit()
        slots[1].abort()
        assert only(server).held == 1
        slots[2].commit()
        assert only(server).held == 0


def test_blocked_seconds_grow_only_while_a_producer_waits(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked([0, 1]))
        assert only(server).blocked_seconds == 0
        producer = Worker(client.send, numbered(2))
        wait_until(lambda: only(server).blocked_seconds > 0.01, "the present wait counts")
        take(server)
        take(server)
        producer.result()
        first = only(server).blocked_seconds
        assert first > 0.01
        assert only(server).blocked_seconds == first


def test_last_seen_counts_from_the_attachment_or_the_last_sign_of_life(
    server: Server, transport: ManualTransport
) -> None:
    before = time.monotonic()
    with transport.open() as inlet:
        wait_until(lambda: only(server).last_seen > 0.15, "it says nothing")
        assert only(server).last_seen <= time.monotonic() - before + 0.1
        inlet.send(numbered(0))
        assert only(server).last_seen <= 0.15 + time.monotonic() - before


def test_the_list_has_plain_values(server: Server, transport: ManualTransport) -> None:
    with transport.open():
        info = only(server)
        assert (info.pid, info.held, info.state) == (None, 0, "attached")
        with pytest.raises(AttributeError):
            info.pid = 7  # type: ignore[misc]


# ---------------------------------------------------------------- the end of a producer


def test_a_producer_that_hung_up_may_not_claim_and_is_still_listed(
    server: Server, transport: ManualTransport
) -> None:
    inlet = transport.open(1234)
    inlet.send(numbered(0))
    transport.ingress.producers.hang_up(only(server).id)
    assert only(server).state == "hung up"
    with pytest.raises(ConnectionClosedError, match="inlet is closed"):
        inlet.send(numbered(1))
    assert server.info().store_size == 1
    inlet.died()
    assert server.producers() == []


def test_hanging_up_twice_or_after_the_end_does_nothing(
    server: Server, transport: ManualTransport
) -> None:
    inlet = transport.open()
    owner, producers = only(server).id, transport.ingress.producers
    producers.hang_up(owner)
    producers.hang_up(owner)
    inlet.close()
    producers.hang_up(owner)
    with transport.open(), transport.open(), transport.open(), transport.open() as same_id:
        assert server.producers()[-1].id == owner
        same_id.send(numbered(0))  # the new owner is not touched by what came too late


def test_an_inlet_ends_once_however_it_is_closed(
    server: Server, transport: ManualTransport, caplog: pytest.LogCaptureFixture
) -> None:
    inlet = transport.open(99)
    inlet.close()
    inlet.close()
    inlet.died()
    for call in (inlet.send, inlet.send_batch):
        with pytest.raises(ConnectionClosedError, match="this inlet is closed"):
            call(numbered(0) if call == inlet.send else stacked([0]))
    assert caplog.records == []
    assert server.info().active_connections == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "producer pid 4321 was ended by SIGKILL without closing"),
        (None, "producer pid 4321 ended without closing"),
        (99, "producer pid 4321 was ended by signal 99 without closing"),
    ],
)
def test_a_death_is_logged_once_with_its_pid_and_its_signal(
    server: Server,
    transport: ManualTransport,
    number: Any,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    inlet = transport.open(4321)
    inlet.died(number)
    inlet.died(number)
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "shm_echo")
    assert record.getMessage() == words


def test_a_dead_producer_keeps_its_sent_samples_and_frees_its_claims(
    server: Server, transport: ManualTransport
) -> None:
    inlet = transport.open(1)
    inlet.send_batch(stacked([0, 1]))
    owner = only(server).id
    sender = transport.ingress.ring.sender(owner, lambda *_: None)
    claim = sender.reserve(0)  # at the third place
    with transport.open(2) as other:
        other.send(numbered(3))
        assert [info.held for info in server.producers()] == [1, 0]
        inlet.died()
        other.send(numbered(2))  # goes into the hole
        del claim  # its slot was released by the close
        assert take(server) == [0, 1, 2, 3]


def test_closing_releases_claims(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        client = ShmClient(name, EXAMPLE)
        slot = client.reserve()
        client.close()
        assert only(server).held == 1  # it may yet be committed
        slot.abort()
        wait_until(lambda: not server.producers(), "it has left")
        server.submit(numbered(0))
        server.submit(numbered(1))
        assert take(server) == [0, 1]


def test_the_server_closes_its_transport(transport: ManualTransport) -> None:
    with Server(EXAMPLE, 4, transport) as server:
        inlet = transport.open()
        assert not transport.closed
    assert transport.closed
    assert server.producers() == []
    with pytest.raises(ConnectionClosedError, match="the server has closed the ring"):
        inlet.send(numbered(0))
