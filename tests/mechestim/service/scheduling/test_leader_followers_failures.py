"""The pool when threads, memory or watched descriptors run out, and when its threads fail."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable

import pytest

from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from tests.support.fake_sessions import FakeSession, Pause, PoolHarness, refuse_to_start
from tests.support.waiting import WATCHDOG, wait_until


def test_an_internal_error_ends_only_its_session(
    harness: PoolHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: FakeSession, byte: bytes) -> None:
        raise SystemExit(3)

    failing, other = harness.add(fail), harness.add()
    failing.client.sendall(b"a")
    assert failing.client.recv(1) == b""
    assert failing.finished.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert "internal error in a mechestim session" in caplog.text


class Failing:
    """Replaces the leader's wait for messages by a failure, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __get__(
        self, pool: LeaderFollowersPool, owner: type[LeaderFollowersPool]
    ) -> Callable[[], None]:
        self._monkeypatch.undo()
        raise MemoryError


def test_a_leader_that_fails_is_replaced(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = harness.add()
    assert session.ask() == b"x"

    monkeypatch.setattr(LeaderFollowersPool, "_wait_for_messages", Failing(monkeypatch))
    assert session.ask(b"b") == b"b"  # the leader serves this and fails at its next wait
    assert session.ask(b"c") == b"c"
    assert "a thread that serves mechestim sessions has ended" in caplog.text
    assert len(harness.threads()) == 2


def test_a_leader_that_cannot_be_replaced_at_once_is_replaced_later(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = harness.add()
    assert session.ask() == b"x"
    failing = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        failing.setattr(LeaderFollowersPool, "_wait_for_messages", Failing(failing))
        session.client.sendall(b"b")
        wait_until(lambda: "cannot start a thread" in caplog.text, "it has failed")
    harness.pool.on_tick()
    assert session.receive(1) == b"b"
    assert session.ask(b"c") == b"c"


def memory_is_short(self: threading.Thread) -> None:
    """Replaces `Thread.start`, as if there were no memory for a thread."""
    raise MemoryError("no room for a thread")


@pytest.mark.parametrize("start", [refuse_to_start, memory_is_short])
def test_a_session_is_refused_if_no_thread_can_be_started(
    harness: PoolHarness,
    start: Callable[[threading.Thread], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = FakeSession(harness.scheduler)
    with monkeypatch.context() as patch, pytest.raises((RuntimeError, MemoryError), match="thread"):
        patch.setattr(threading.Thread, "start", start)
        harness.add_session(session)
    harness.add_session(session)
    assert session.ask() == b"x"


def test_without_a_second_thread_the_only_thread_serves_all_sessions_later(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pause = Pause()
    waiting, other = harness.add(pause), harness.add()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(threading.Thread, "start", refuse_to_start)
        waiting.client.sendall(b"a")
        assert pause.reached.wait(WATCHDOG)
        other.client.sendall(b"o")
        pause.may_go_on.set()
        assert waiting.client.recv(1) == b"a"
        assert other.client.recv(1) == b"o"
    assert "cannot start a thread for mechestim sessions" in caplog.text
    assert len(harness.threads()) == 1


def test_waiting_sessions_are_served_once_a_thread_can_be_started(
    harness: PoolHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause()
    waiting, other = harness.add(pause), harness.add()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        waiting.client.sendall(b"a")
        assert pause.reached.wait(WATCHDOG)
        other.client.sendall(b"o")
        harness.pool.on_tick()
    harness.pool.on_tick()
    assert other.client.recv(1) == b"o"
    harness.pool.on_tick()  # does nothing while there is a leader
    pause.may_go_on.set()
    assert waiting.client.recv(1) == b"a"
    assert len(harness.threads()) == 2


def test_a_session_that_cannot_be_watched_is_refused() -> None:
    harness = PoolHarness()
    refused = FakeSession(harness.scheduler)
    with tempfile.TemporaryFile() as file:
        refused.watched = file.fileno()  # epoll refuses regular files
        with pytest.raises(PermissionError):
            harness.add_session(refused)
    refused.finish()
    refused.client.close()

    session = harness.add()
    assert session.ask() == b"x"
    session.hang_up()
    harness.close()  # waits for the threads: one that waited for the refused session would not end
    assert harness.pool._poll.closed


@pytest.mark.parametrize("kind", ["file", "closed"])
def test_a_session_that_cannot_be_watched_any_more_ends_and_receives_the_reason(
    harness: PoolHarness, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def work(session: FakeSession, byte: bytes) -> None:
        session.slot.promote_to_long()
        session.watched = cannot_be_watched

    with tempfile.TemporaryFile() as file:
        cannot_be_watched = file.fileno() if kind == "file" else -1
        session, other = harness.add(work), harness.add()
        assert session.ask(b"a") == b"a"
        assert session.receive(1000).startswith(b"the server cannot watch the connection: ")
        assert session.finished.wait(WATCHDOG)
    assert other.ask() == b"x"
    assert "cannot continue a mechestim session" in caplog.text


def test_a_closed_pool_refuses_sessions() -> None:
    harness = PoolHarness()
    harness.close()
    late = FakeSession(harness.scheduler)
    with pytest.raises(RuntimeError, match="the pool was closed"):
        harness.add_session(late)
    late.finish()
    late.client.close()
