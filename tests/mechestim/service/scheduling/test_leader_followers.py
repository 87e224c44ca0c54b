"""The pool: one thread leads, others take over when it has something of its own to do."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from shm_echo.mechestim.accounting.account import Account
from shm_echo.mechestim.accounting.active_account import frame_now, threads_inherit
from shm_echo.mechestim.service.scheduling import leader_followers
from tests.support.fake_sessions import Company, Session, Wait
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


def test_one_thread_serves_all_whose_requests_are_short(company: Company) -> None:
    sessions = [company.add() for _ in range(20)]
    for number in range(100):
        assert sessions[number % 20].ask(b"%c" % number) == b"%c" % number
    assert len(company.threads()) == 1


def test_while_one_waits_for_its_client_another_thread_leads(company: Company) -> None:
    wait = Wait()
    waiting, other = company.add(wait), company.add()
    waiting.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert waiting.threads[-1] is not other.threads[-1]
    wait.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_who_comes_while_the_only_thread_is_busy_is_served(company: Company) -> None:
    wait = Wait()
    waiting = company.add(wait)
    waiting.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    assert company.add().ask() == b"x"
    wait.may_go_on.set()
    assert waiting.client.recv(1) == b"a"
    assert waiting.ask(b"b") == b"b"


def test_a_session_that_is_alone_keeps_its_thread(company: Company) -> None:
    alone = company.add(lambda session, byte: session.slot.promote_to_long())
    for _ in range(20):
        assert alone.ask() == b"x"
    assert len(company.threads()) == 1


@pytest.mark.parametrize("before", [2, 5, 20, 21])
def test_a_session_that_has_a_thread_of_its_own_is_served_by_no_other(
    company: Company, before: int
) -> None:
    wait = Wait()
    begun, all_is_there = threading.Event(), threading.Event()
    served: list[bytes] = []

    def work(session: Session, byte: bytes) -> None:
        served.append(byte)
        if byte == b"1":
            begun.set()
            assert all_is_there.wait(WATCHDOG)
        if byte == b"w":
            wait(session, byte)

    busy, other = company.add(work), company.add()
    first, then = b"1" + b"2" * (before - 1) + b"w34", b"567"
    busy.client.sendall(first)
    assert begun.wait(WATCHDOG)
    busy.client.sendall(then)  # of which its descriptor tells, while there is more that was read
    all_is_there.set()
    assert wait.waits.wait(WATCHDOG)
    for _ in range(5):
        assert other.ask() == b"x"
    assert served[-1] == b"w"
    wait.may_go_on.set()
    assert busy.hear(len(first + then)) == first + then


def test_requests_that_came_with_a_long_one_are_answered_after_it(company: Company) -> None:
    def work(session: Session, byte: bytes) -> None:
        if byte == b"l":
            session.slot.promote_to_long()

    session = company.add(work)
    session.client.sendall(b"labc")
    assert session.hear(4) == b"labc"


def test_a_thread_that_has_become_free_is_needed_before_a_new_one(company: Company) -> None:
    first, second = Wait(), Wait()
    one, other = company.add(first), company.add(second)
    idle = company.add()
    one.client.sendall(b"a")
    assert first.waits.wait(WATCHDOG)
    assert idle.ask() == b"x"
    first.may_go_on.set()
    assert one.client.recv(1) == b"a"
    wait_until(lambda: company.pool._followers, "its thread waits until it is needed")
    other.client.sendall(b"b")
    assert second.waits.wait(WATCHDOG)
    assert idle.ask() == b"x"
    assert idle.threads[-1] is one.threads[-1]
    second.may_go_on.set()
    assert other.client.recv(1) == b"b"


def test_threads_that_are_needed_no_more_end(company: Company) -> None:
    waits = [Wait() for _ in range(20)]
    sessions = [company.add(wait) for wait in waits]
    for session, wait in zip(sessions, waits, strict=True):
        session.client.sendall(b"a")
        assert wait.waits.wait(WATCHDOG)
    assert len({session.threads[-1] for session in sessions}) == 20
    for session, wait in zip(sessions, waits, strict=True):
        wait.may_go_on.set()
        assert session.client.recv(1) == b"a"
    most = leader_followers._MAX_FOLLOWERS + 1
    wait_until(
        lambda: sum(thread.is_alive() for thread in company.threads()) <= most, "the others end"
    )


def test_a_thread_that_waits_holds_nothing_of_the_session_it_has_served(company: Company) -> None:
    wait = Wait()
    waiting = company.add(wait)
    waiting.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    gone = company.add()
    assert gone.ask() == b"x"
    gone.leave()
    company.sessions.remove(gone)
    left = weakref.ref(gone)
    del gone
    wait_until(lambda: gc.collect() >= 0 and left() is None, "its memory is free")
    wait.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_a_thread_that_a_session_needs_charges_nothing_to_it(company: Company) -> None:
    threads_inherit()  # what a thread that is started while something is charged does from then on
    frame = Account(100).frame(None)
    wait = Wait()

    def spend_and_wait(session: Session, byte: bytes) -> None:
        charged = frame_now.set(frame)
        wait(session, byte)
        frame_now.reset(charged)

    waiting, other = company.add(spend_and_wait), company.add()
    waiting.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert other.threads[-1] is not waiting.threads[-1]
    assert getattr(other.threads[-1], "_mechestim_frame", None) is None
    wait.may_go_on.set()
    assert waiting.client.recv(1) == b"a"


def test_long_operations_run_beside_each_other_and_beside_short_ones(company: Company) -> None:
    together = threading.Barrier(3)

    def compute(session: Session, byte: bytes) -> None:
        session.slot.promote_to_long()
        together.wait(WATCHDOG)
        session.slot.demote()

    long_ones = [company.add(compute) for _ in range(2)]
    short = company.add()
    for session in long_ones:
        session.client.sendall(b"a")
    wait_until(lambda: together.n_waiting == 2, "both run")
    assert short.ask() == b"x"
    together.wait(WATCHDOG)
    assert [session.client.recv(1) for session in long_ones] == [b"a", b"a"]


def test_who_sends_many_requests_at_once_does_not_keep_the_others_from_theirs(
    company: Company,
) -> None:
    order: list[bytes] = []
    come = threading.Event()

    def note(session: Session, byte: bytes) -> None:
        if byte == b"1":
            assert come.wait(WATCHDOG)
        order.append(byte)

    crowd, other = company.add(note), company.add(note)
    crowd.client.sendall(b"1" + b"2" * 50)
    other.client.sendall(b"o")
    come.set()
    assert other.client.recv(1) == b"o"
    assert crowd.hear(51) == b"1" + b"2" * 50
    assert order.index(b"o") <= 3


def test_short_requests_behind_a_long_one_make_room_for_others_after_each(company: Company) -> None:
    order: list[bytes] = []
    is_short_again = threading.Event()

    def work(session: Session, byte: bytes) -> None:
        if byte == b"l":
            session.slot.promote_to_long()
            session.slot.demote()
            is_short_again.set()
        if byte in b"l1":
            wait_until(lambda: company.scheduler.short.waiters or b"p" in order, "the other asks")
        order.append(byte)

    crowd, other = company.add(work), company.add(work)
    crowd.client.sendall(b"l1" + b"2" * 50)
    assert is_short_again.wait(WATCHDOG)
    other.client.sendall(b"op")
    assert crowd.hear(52) == b"l1" + b"2" * 50
    assert other.hear(2) == b"op"
    assert order.index(b"o") == 1
    assert order.index(b"p") <= 3


def test_a_session_can_end_while_the_crew_closes() -> None:
    company = Company()
    wait = Wait()
    session = company.add(wait)
    session.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    company.close()
    wait.may_go_on.set()
    assert session.client.recv(1) == b"a"
    session.leave()
    wait_until(lambda: company.pool._poll.closed, "its descriptor is closed")
    wait_until(
        lambda: not any(thread.is_alive() for thread in company.threads()), "its threads end"
    )


class Lingering(Session):
    """Its thread has something to do after its end."""

    def __init__(self, company: Company) -> None:
        super().__init__(company.scheduler)
        self.may_go_on = threading.Event()

    def finish(self) -> None:
        super().finish()
        assert self.may_go_on.wait(WATCHDOG)


def test_a_crew_that_closes_waits_for_its_threads() -> None:
    company = Company()
    session = Lingering(company)
    company.take_in(session)
    assert session.ask() == b"x"
    session.leave()

    def close() -> list[threading.Thread]:
        company.pool.close()
        return [thread for thread in company.threads() if thread.is_alive()]

    closing = Worker(close)
    closing.wait_until_asleep()  # or done, which would be too early
    session.may_go_on.set()
    assert closing.result() == []
    assert company.pool._poll.closed
