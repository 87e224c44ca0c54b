"""SampleInfo: every field, exact, in situations with a known number."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from shm_echo import HistSnapshot, SampleInfo, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, stacked
from tests.support.threads import Worker
from tests.support.waiting import wait_until


def counts(info: SampleInfo, *fields: str) -> tuple[Any, ...]:
    return tuple(getattr(info, field) for field in fields)


def take(server: Server, **options: Any) -> SampleInfo:
    sample = server.sample(timeout=60, **options)
    assert sample is not None
    return sample.info


def test_it_has_the_fields_of_echo_in_echos_order() -> None:
    assert SampleInfo._fields == (
        "store_size",
        "active_connections",
        "queue_depth_sum",
        "queue_depth_max",
        "push_blocked_count",
        "samples_inserted_total",
        "notify_count",
        "cas_success_total",
        "cas_failure_total",
        "reservation_retries_total",
        "drain_round",
        "memcpy",
        "queue_dwell",
        "copied_total",  # ours, after echo's
        "lent",
    )


def test_of_a_new_server_everything_is_zero() -> None:
    with Server(EXAMPLE, 2, detailed_metrics=True) as server:
        empty = HistSnapshot()
        assert server.info() == SampleInfo(*[0] * 10, empty, empty, empty)


def test_it_cannot_be_changed_and_survives_pickling() -> None:
    with Server(EXAMPLE, 2) as server:
        server.submit(numbered(0))
        info = server.info()
    with pytest.raises(AttributeError):
        info.store_size = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(info)) == info


# ---------------------------------------------------------------- samples


def test_store_size_is_what_was_committed_and_not_handed_out(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        sizes = []
        for i in range(7):
            client.send(numbered(i))
            sizes.append(server.info().store_size)
        assert sizes == [1, 2, 3, 4, 5, 6, 7]
        assert take(server).store_size == 3  # the batch itself is handed out
        slot = client.reserve()
        assert server.info().store_size == 3  # claimed, not committed
        slot.commit()
        assert server.info().store_size == 4
        client.reserve().abort()
        assert take(server).store_size == 0


def test_samples_inserted_total_counts_what_producers_committed_for_ever(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        total = 0
        for lap in range(10):
            with ShmClient(name, EXAMPLE) as client:  # a new one each time: ids are used again
                client.send(numbered(lap))
                total += client.send_batch(stacked(range(3))) + 1
                assert server.info().samples_inserted_total == total
                assert take(server).samples_inserted_total == total
            assert take(server).samples_inserted_total == total


def test_samples_inserted_total_leaves_out_those_of_submit(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        for i in range(20):
            server.submit(numbered(2 * i))
            client.send(numbered(2 * i + 1))
            info = server.info()
            assert counts(info, "store_size", "samples_inserted_total") == (2, i + 1)
            assert take(server).samples_inserted_total == i + 1


def test_samples_inserted_total_leaves_them_out_at_every_moment() -> None:
    """Also while one thread submits and the other takes batches."""
    with Server(EXAMPLE, 16) as server:
        learner = Worker(lambda: {take(server).samples_inserted_total for _ in range(3000)})
        for i in range(3000 * 16):
            server.submit(numbered(i))
        assert learner.result() == {0}


def test_given_up_reservations_are_never_counted(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        for _ in range(5):
            client.reserve().abort()
        client.send(numbered(0))
        fields = ("store_size", "samples_inserted_total", "notify_count")
        assert counts(server.info(), *fields) == (1, 1, 0)


def test_notify_count_is_the_number_of_batches_that_were_completed(name: str) -> None:
    with Server(EXAMPLE, 3, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        seen = []
        for i in range(9):
            client.send(numbered(i))
            seen.append(server.info().notify_count)
        assert seen == [0, 0, 1, 1, 1, 2, 2, 2, 3]
        assert [take(server).notify_count for _ in range(3)] == [3, 3, 3]
        client.send(numbered(9))
        assert take(server, partial=True).notify_count == 3  # ended, not completed
        client.send_batch(stacked(range(3)))
        assert server.info().notify_count == 4


# ---------------------------------------------------------------- producers


def test_active_connections_is_how_many_producers_are_attached(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        clients = []
        for n in range(1, 5):
            clients.append(ShmClient(name, EXAMPLE))
            assert server.info().active_connections == n
        for n in (3, 2, 1, 0):
            clients.pop().close()
            wait_until(lambda n=n: server.info().active_connections == n, "one less")


def test_push_blocked_count_grows_by_one_with_each_wait_however_long(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked([0, 1]))
        assert server.info().push_blocked_count == 0
        producer = Worker(client.send, numbered(2))
        wait_until(lambda: server.info().push_blocked_count == 1, "it waits")
        with pytest.raises(TimeoutError):  # several slices of a wait
            client.send(numbered(9), timeout=0.35)
        assert server.info().push_blocked_count == 2
        take(server)
        take(server)  # which gives the first batch back
        producer.result()
        assert server.info().push_blocked_count == 2


def test_a_send_that_does_not_wait_for_room_is_not_counted_as_a_wait(name: str) -> None:
    with (
        Server(EXAMPLE, 1, ShmTransport(name), num_buffers=2) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked([0, 1]))
        with pytest.raises(TimeoutError):
            client.send(numbered(2), timeout=0)
        assert server.info().push_blocked_count == 0


def test_a_submit_that_waits_is_counted_once_too() -> None:
    with Server(EXAMPLE, 1, num_buffers=2, lease=False) as server:
        server.submit(numbered(0))
        go_on = threading.Event()
        learner = Worker(lambda: [take(server), go_on.wait(60), take(server), take(server)])
        wait_until(lambda: server.info().store_size == 0, "the first one is taken")
        server.submit(numbered(1))
        with pytest.raises(TimeoutError):
            server.submit(numbered(2), timeout=0.35)
        assert server.info().push_blocked_count == 1
        go_on.set()
        server.submit(numbered(2))
        learner.result()


# ---------------------------------------------------------------- details


def test_detailed_metrics_are_zero_unless_enabled(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name)) as server, ShmClient(name, EXAMPLE) as client:
        client.send_batch(stacked(range(4)))
        info = take(server)
        fields = ("cas_success_total", "cas_failure_total", "reservation_retries_total")
        assert counts(info, *fields) == (0, 0, 0)
        assert info.memcpy == info.queue_dwell == info.drain_round == HistSnapshot()
        server.reset_histograms()  # without an effect


def test_cas_success_total_counts_the_slots_that_were_claimed_holes_among_them(name: str) -> None:
    with (
        Server(EXAMPLE, 4, ShmTransport(name), detailed_metrics=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send(numbered(0))
        client.send_batch(stacked([1, 2]))
        slot = client.reserve()
        server.submit(numbered(4))
        fields = ("cas_success_total", "cas_failure_total", "reservation_retries_total")
        assert counts(server.info(), *fields) == (5, 0, 0)
        slot.abort()
        client.send(numbered(3))  # into the hole
        assert server.info().cas_success_total == 6
        client.send(numbered(5))
        assert server.info().cas_success_total == 7


def test_claims_are_counted_when_a_sealed_batch_is_skipped(name: str) -> None:
    with (
        Server(EXAMPLE, 4, ShmTransport(name), detailed_metrics=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send(numbered(0))
        take(server, partial=True)
        client.send(numbered(1))
        info = server.info()
        assert info.cas_success_total == 2
        assert info.cas_failure_total == 0


def test_fields_without_meaning_for_this_transport_are_zero(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(name), detailed_metrics=True) as server,
        ShmClient(name, EXAMPLE) as client,
    ):
        client.send_batch(stacked(range(5)))
        info = take(server)
        assert counts(info, "queue_depth_sum", "queue_depth_max") == (0, 0)
        assert info.drain_round == HistSnapshot()
