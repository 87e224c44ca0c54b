"""The pool when something is short: threads, memory, what the kernel can watch; or goes wrong."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable

import pytest

from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from tests.support.fake_sessions import Company, Session, Wait, no_thread
from tests.support.waiting import WATCHDOG, wait_until


def test_an_error_inside_ends_that_session_alone(
    company: Company, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Session, byte: bytes) -> None:
        raise SystemExit(3)

    failing, other = company.add(fail), company.add()
    failing.client.sendall(b"a")
    assert failing.client.recv(1) == b""
    assert failing.over.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert "internal error in a mechestim session" in caplog.text


class Failing:
    """Fails where the leader looks for what has come, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __get__(
        self, pool: LeaderFollowersPool, owner: type[LeaderFollowersPool]
    ) -> Callable[[], None]:
        self._monkeypatch.undo()
        raise MemoryError


def test_a_leader_that_fails_is_replaced(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = company.add()
    assert session.ask() == b"x"

    monkeypatch.setattr(LeaderFollowersPool, "_wait_for_messages", Failing(monkeypatch))
    assert session.ask(b"b") == b"b"  # with this it looks for the next one
    assert session.ask(b"c") == b"c"
    assert "a thread that serves mechestim sessions has ended" in caplog.text
    assert len(company.threads()) == 2


def test_a_leader_that_cannot_be_replaced_at_once_is_replaced_later(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = company.add()
    assert session.ask() == b"x"
    failing = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        failing.setattr(LeaderFollowersPool, "_wait_for_messages", Failing(failing))
        session.client.sendall(b"b")
        wait_until(lambda: "cannot start a thread" in caplog.text, "it has failed")
    company.pool.on_tick()
    assert session.hear(1) == b"b"
    assert session.ask(b"c") == b"c"


def memory_is_short(self: threading.Thread) -> None:
    """Stands for ``Thread.start``, too."""
    raise MemoryError("no room for a thread")


@pytest.mark.parametrize("start", [no_thread, memory_is_short])
def test_without_a_thread_for_it_a_session_is_refused(
    company: Company,
    start: Callable[[threading.Thread], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session(company.scheduler)
    with monkeypatch.context() as patch, pytest.raises((RuntimeError, MemoryError), match="thread"):
        patch.setattr(threading.Thread, "start", start)
        company.take_in(session)
    company.take_in(session)
    assert session.ask() == b"x"


def test_without_a_thread_to_lead_the_others_wait_for_the_one_there_is(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wait = Wait()
    waiting, other = company.add(wait), company.add()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(threading.Thread, "start", no_thread)
        waiting.client.sendall(b"a")
        assert wait.waits.wait(WATCHDOG)
        other.client.sendall(b"o")
        wait.may_go_on.set()
        assert waiting.client.recv(1) == b"a"
        assert other.client.recv(1) == b"o"
    assert "cannot start a thread for mechestim sessions" in caplog.text
    assert len(company.threads()) == 1


def test_those_who_wait_for_a_thread_are_served_as_soon_as_there_can_be_one(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = Wait()
    waiting, other = company.add(wait), company.add()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        waiting.client.sendall(b"a")
        assert wait.waits.wait(WATCHDOG)
        other.client.sendall(b"o")
        company.pool.on_tick()
    company.pool.on_tick()
    assert other.client.recv(1) == b"o"
    company.pool.on_tick()  # with a leader there is nothing to be done
    wait.may_go_on.set()
    assert waiting.client.recv(1) == b"a"
    assert len(company.threads()) == 2


def test_a_session_that_cannot_be_watched_is_refused() -> None:
    company = Company()
    refused = Session(company.scheduler)
    with tempfile.TemporaryFile() as file:
        refused.watched = file.fileno()  # the kernel watches no files
        with pytest.raises(PermissionError):
            company.take_in(refused)
    refused.finish()
    refused.client.close()

    session = company.add()
    assert session.ask() == b"x"
    session.leave()
    company.close()  # a thread that waited for the other one would not end
    assert company.pool._poll.closed


@pytest.mark.parametrize("kind", ["file", "closed"])
def test_a_session_that_can_be_watched_no_more_ends_and_hears_why(
    company: Company, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work(session: Session, byte: bytes) -> None:
        session.slot.promote_to_long()
        session.watched = cannot_be_watched

    with tempfile.TemporaryFile() as file:
        cannot_be_watched = file.fileno() if kind == "file" else -1
        session, other = company.add(work), company.add()
        assert session.ask(b"a") == b"a"
        assert session.hear(1000).startswith(b"the server cannot watch the connection: ")
        assert session.over.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert "cannot go on with a mechestim session" in caplog.text


def test_a_crew_that_was_closed_takes_no_more_sessions() -> None:
    company = Company()
    company.close()
    late = Session(company.scheduler)
    with pytest.raises(RuntimeError, match="the pool was closed"):
        company.take_in(late)
    late.finish()
    late.client.close()
