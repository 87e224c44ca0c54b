"""The pool: one thread leads, and another takes over before the leader blocks."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from shm_echo.mechestim.accounting.account import Account
from shm_echo.mechestim.accounting.active_account import active_view, threads_inherit
from shm_echo.mechestim.service.scheduling import leader_followers
from tests.support.fake_sessions import FakeSession, Pause, PoolHarness
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


def test_one_thread_serves_all_sessions_with_short_requests(harness: PoolHarness) -> None:
    sessions = [harness.add() for _ in range(20)]
    for number in range(100):
        assert sessions[number % 20].ask(b"%c" % number) == b"%c" % number
    assert len(harness.threads()) == 1


def test_another_thread_leads_while_a_session_waits_for_its_client(harness: PoolHarness) -> None:
    pause = Pause()
    waiting, other = harness.add(pause), harness.add()
    waiting.client.sendall(b"a")
    assert pause.reached.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert waiting.threads[-1] is not other.threads[-1]
    pause.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_a_session_added_while_the_only_thread_is_busy_is_served(harness: PoolHarness) -> None:
    pause = Pause()
    waiting = harness.add(pause)
    waiting.client.sendall(b"a")
    assert pause.reached.wait(WATCHDOG)
    assert harness.add().ask() == b"x"
    pause.may_go_on.set()
    assert waiting.client.recv(1) == b"a"
    assert waiting.ask(b"b") == b"b"


def test_a_single_session_keeps_its_thread(harness: PoolHarness) -> None:
    alone = harness.add(lambda session, byte: session.slot.promote_to_long())
    for _ in range(20):
        assert alone.ask() == b"x"
    assert len(harness.threads()) == 1


@pytest.mark.parametrize("before", [2, 5, 20, 21])
def test_a_session_with_its_own_thread_is_served_by_no_other_thread(
    harness: PoolHarness, before: int
) -> None:
    pause = Pause()
    begun, all_is_there = threading.Event(), threading.Event()
    served: list[bytes] = []

    def work(session: FakeSession, byte: bytes) -> None:
        served.append(byte)
        if byte == b"1":
            begun.set()
            assert all_is_there.wait(WATCHDOG)
        if byte == b"w":
            pause(session, byte)

    busy, other = harness.add(work), harness.add()
    first, then = b"1" + b"2" * (before - 1) + b"w34", b"567"
    busy.client.sendall(first)
    assert begun.wait(WATCHDOG)
    busy.client.sendall(then)  # makes its socket readable while earlier bytes are buffered
    all_is_there.set()
    assert pause.reached.wait(WATCHDOG)
    for _ in range(5):
        assert other.ask() == b"x"
    assert served[-1] == b"w"
    pause.may_go_on.set()
    assert busy.receive(len(first + then)) == first + then


def test_requests_received_together_with_a_long_one_are_answered_after_it(
    harness: PoolHarness,
) -> None:
    def work(session: FakeSession, byte: bytes) -> None:
        if byte == b"l":
            session.slot.promote_to_long()

    session = harness.add(work)
    session.client.sendall(b"labc")
    assert session.receive(4) == b"labc"


def test_a_follower_leads_before_a_new_thread_is_started(harness: PoolHarness) -> None:
    first, second = Pause(), Pause()
    one, other = harness.add(first), harness.add(second)
    idle = harness.add()
    one.client.sendall(b"a")
    assert first.reached.wait(WATCHDOG)
    assert idle.ask() == b"x"
    first.may_go_on.set()
    assert one.client.recv(1) == b"a"
    wait_until(lambda: harness.pool._followers, "its thread waits as a follower")
    other.client.sendall(b"b")
    assert second.reached.wait(WATCHDOG)
    assert idle.ask() == b"x"
    assert idle.threads[-1] is one.threads[-1]
    second.may_go_on.set()
    assert other.client.recv(1) == b"b"


def test_surplus_threads_end(harness: PoolHarness) -> None:
    pauses = [Pause() for _ in range(20)]
    sessions = [harness.add(pause) for pause in pauses]
    for session, pause in zip(sessions, pauses, strict=True):
        session.client.sendall(b"a")
        assert pause.reached.wait(WATCHDOG)
    assert len({session.threads[-1] for session in sessions}) == 20
    for session, pause in zip(sessions, pauses, strict=True):
        pause.may_go_on.set()
        assert session.client.recv(1) == b"a"
    most = leader_followers._MAX_FOLLOWERS + 1
    wait_until(
        lambda: sum(thread.is_alive() for thread in harness.threads()) <= most, "the others end"
    )


def test_a_waiting_thread_keeps_no_ended_session_alive(harness: PoolHarness) -> None:
    pause = Pause()
    waiting = harness.add(pause)
    waiting.client.sendall(b"a")
    assert pause.reached.wait(WATCHDOG)
    gone = harness.add()
    assert gone.ask() == b"x"
    gone.hang_up()
    harness.sessions.remove(gone)
    left = weakref.ref(gone)
    del gone
    wait_until(lambda: gc.collect() >= 0 and left() is None, "its memory is free")
    pause.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_a_thread_started_during_a_charge_does_not_inherit_the_account(
    harness: PoolHarness,
) -> None:
    threads_inherit()  # from now on a thread inherits the account of the thread that starts it
    view = Account(100).view(None)
    pause = Pause()

    def spend_and_wait(session: FakeSession, byte: bytes) -> None:
        charged = active_view.set(view)
        pause(session, byte)
        active_view.reset(charged)

    waiting, other = harness.add(spend_and_wait), harness.add()
    waiting.client.sendall(b"a")
    assert pause.reached.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert other.threads[-1] is not waiting.threads[-1]
    assert getattr(other.threads[-1], "_mechestim_view", None) is None
    pause.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_long_operations_run_beside_each_other_and_beside_short_ones(harness: PoolHarness) -> None:
    together = threading.Barrier(3)

    def compute(session: FakeSession, byte: bytes) -> None:
        session.slot.promote_to_long()
        together.wait(WATCHDOG)
        session.slot.demote()

    long_ones = [harness.add(compute) for _ in range(2)]
    short = harness.add()
    for session in long_ones:
        session.client.sendall(b"a")
    wait_until(lambda: together.n_waiting == 2, "both run")
    assert short.ask() == b"x"
    together.wait(WATCHDOG)
    assert [session.client.recv(1) for session in long_ones] == [b"a", b"a"]


def test_a_burst_of_requests_does_not_starve_other_sessions(
    harness: PoolHarness,
) -> None:
    order: list[bytes] = []
    come = threading.Event()

    def note(session: FakeSession, byte: bytes) -> None:
        if byte == b"1":
            assert come.wait(WATCHDOG)
        order.append(byte)

    crowd, other = harness.add(note), harness.add(note)
    crowd.client.sendall(b"1" + b"2" * 50)
    other.client.sendall(b"o")
    come.set()
    assert other.client.recv(1) == b"o"
    assert crowd.receive(51) == b"1" + b"2" * 50
    assert order.index(b"o") <= 3


def test_short_requests_after_a_long_one_alternate_with_those_of_other_sessions(
    harness: PoolHarness,
) -> None:
    order: list[bytes] = []
    is_short_again = threading.Event()

    def work(session: FakeSession, byte: bytes) -> None:
        if byte == b"l":
            session.slot.promote_to_long()
            session.slot.demote()
            is_short_again.set()
        if byte in b"l1":
            wait_until(lambda: harness.scheduler.short.waiters or b"p" in order, "the other asks")
        order.append(byte)

    crowd, other = harness.add(work), harness.add(work)
    crowd.client.sendall(b"l1" + b"2" * 50)
    assert is_short_again.wait(WATCHDOG)
    other.client.sendall(b"op")
    assert crowd.receive(52) == b"l1" + b"2" * 50
    assert other.receive(2) == b"op"
    assert order.index(b"o") == 1
    assert order.index(b"p") <= 3


def test_a_session_can_end_while_the_pool_closes() -> None:
    harness = PoolHarness()
    pause = Pause()
    session = harness.add(pause)
    session.client.sendall(b"a")
    assert pause.reached.wait(WATCHDOG)
    harness.close()
    pause.may_go_on.set()
    assert session.client.recv(1) == b"a"
    session.hang_up()
    wait_until(lambda: harness.pool._poll.closed, "its descriptor is closed")
    wait_until(
        lambda: not any(thread.is_alive() for thread in harness.threads()), "its threads end"
    )


class Lingering(FakeSession):
    """A session whose thread is still busy after its end."""

    def __init__(self, harness: PoolHarness) -> None:
        super().__init__(harness.scheduler)
        self.may_go_on = threading.Event()

    def finish(self) -> None:
        super().finish()
        assert self.may_go_on.wait(WATCHDOG)


def test_closing_the_pool_waits_for_its_threads() -> None:
    harness = PoolHarness()
    session = Lingering(harness)
    harness.add_session(session)
    assert session.ask() == b"x"
    session.hang_up()

    def close() -> list[threading.Thread]:
        harness.pool.close()
        return [thread for thread in harness.threads() if thread.is_alive()]

    closing = Worker(close)
    closing.wait_until_asleep()  # or until it is done, which the assertion below detects
    session.may_go_on.set()
    assert closing.result() == []
    assert harness.pool._poll.closed
