"""The crew: one thread leads, others take over when it has something of its own to do."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from shm_echo.control.listener import ControlServer
from shm_echo.mechestim.service import crew as crews
from shm_echo.mechestim.service.crew import Crew
from shm_echo.mechestim.service.gate import Gate, Turn
from shm_echo.mechestim.service.service import MechestimService
from tests.support.metering import RawClient, dialled, handle_of
from tests.support.waiting import WATCHDOG, wait_until


class Session:
    """What a crew serves: answers each byte with the same byte.

    Args:
        gate: of the crew.
        does: called with each byte before the answer.
    """

    def __init__(self, gate: Gate, does: Callable[[Session, bytes], None] | None = None) -> None:
        self.turn = Turn(gate)
        self.threads: list[threading.Thread] = []
        self.over = threading.Event()
        self._does = does
        self._read = b""
        self._ours, self.client = socket.socketpair()
        self.client.settimeout(WATCHDOG)

    def fileno(self) -> int:
        return self._ours.fileno()

    @property
    def pending(self) -> bool:
        return bool(self._read)

    def step(self) -> bool:
        self.threads.append(threading.current_thread())
        if not self._read:
            self._read = self._ours.recv(1000)
            if not self._read:
                return False
        self.turn.begin()
        byte, self._read = self._read[:1], self._read[1:]
        if self._does is not None:
            self._does(self, byte)
        self._ours.send(byte)
        return True

    def finish(self) -> None:
        self._ours.close()
        self.over.set()

    def ask(self, byte: bytes = b"x") -> bytes:
        self.client.sendall(byte)
        return self.client.recv(1)

    def leave(self) -> None:
        self.client.close()
        assert self.over.wait(WATCHDOG)


class Company:
    """A crew and its sessions."""

    def __init__(self) -> None:
        self.gate = Gate(kernels=2)
        self.crew = Crew(self.gate)
        self.sessions: list[Session] = []

    def add(self, does: Callable[[Session, bytes], None] | None = None) -> Session:
        session = Session(self.gate, does)
        self.sessions.append(session)
        self.crew.add(session)
        return session

    def threads(self) -> set[threading.Thread]:
        return {thread for session in self.sessions for thread in session.threads}


@pytest.fixture
def company() -> Iterator[Company]:
    one = Company()
    yield one
    for session in one.sessions:
        session.leave()
    threads = one.threads()
    one.crew.close()
    wait_until(lambda: not any(one.is_alive() for one in threads), "its threads have ended")
    assert (one.gate.short.free, one.gate.long.free) == (1, 2)


class Wait:
    """What a session does: ends its turn, and waits until it may go on."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, session: Session, byte: bytes) -> None:
        session.turn.end()
        self.waits.set()
        assert self.may_go_on.wait(WATCHDOG)
        session.turn.begin()


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
    alone = company.add(lambda session, byte: session.turn.heavy())
    for _ in range(20):
        assert alone.ask() == b"x"
    assert len(company.threads()) == 1


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
    most = crews._KEPT + 1
    wait_until(
        lambda: sum(thread.is_alive() for thread in company.threads()) <= most, "the others end"
    )


def test_long_operations_run_beside_each_other_and_beside_short_ones(company: Company) -> None:
    together = threading.Barrier(3)

    def compute(session: Session, byte: bytes) -> None:
        session.turn.heavy()
        together.wait(WATCHDOG)
        session.turn.light()

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
    received = b""
    while len(received) < 51:
        received += crowd.client.recv(100)
    assert order.index(b"o") <= 3


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


def test_a_leader_that_fails_is_replaced(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = company.add()
    assert session.ask() == b"x"

    class Failing:
        def __get__(self, crew: Crew, owner: type[Crew]) -> Callable[[], None]:
            monkeypatch.undo()
            raise MemoryError

    monkeypatch.setattr(Crew, "_arrivals", Failing())
    assert session.ask(b"b") == b"b"  # with this it looks for the next one
    assert session.ask(b"c") == b"c"
    assert "a thread that serves mechestim sessions has ended" in caplog.text
    assert len(company.threads()) == 2


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_a_thread_for_it_a_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    company = Company()
    session = Session(company.gate)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="start new thread"):
        patch.setattr(threading.Thread, "start", no_thread)
        company.crew.add(session)
    company.crew.add(session)
    assert session.ask() == b"x"
    session.leave()
    company.crew.close()


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


def test_a_session_can_end_while_the_crew_closes() -> None:
    company = Company()
    wait = Wait()
    session = company.add(wait)
    session.client.sendall(b"a")
    assert wait.waits.wait(WATCHDOG)
    company.crew.close()
    wait.may_go_on.set()
    assert session.client.recv(1) == b"a"
    session.leave()
    wait_until(lambda: company.crew._poll.closed, "its descriptor is closed")
    wait_until(
        lambda: not any(thread.is_alive() for thread in company.threads()), "its threads end"
    )


# ---------------------------------------------------------------- what a session takes along


@pytest.fixture
def address(folder: Path) -> Iterator[Path]:
    service = MechestimService(isolation="threads")
    with ControlServer(f"ipc://{folder}/crew.sock", {"mechestim": service}):
        yield folder / "crew.sock"
        service.close()


def test_settings_and_budgets_follow_a_session_from_thread_to_thread(address: Path) -> None:
    with RawClient(address) as strict, RawClient(address) as plain:
        strict.result("session.seterr", k={"divide": "raise"})
        budget = strict.result("budget.open", 10**9)
        large = handle_of(strict.result("ones", [1000, 1000]))
        zero = handle_of(strict.result("zeros", [3]))
        before = strict.result("budget.read", budget)["used"]
        for _ in range(10):
            strict.result("add", large, large, budget=budget)  # a long one
            assert plain.result("add", 1.0, 2.0) is not None
            assert strict.error("divide", 1.0, zero, budget=budget)[0] == "FloatingPointError"
            assert "r" in plain.ask("divide", 1.0, handle_of(plain.result("zeros", [3])))
        used = strict.result("budget.read", budget)["used"]
        assert used - before == 10 * (10**6 + 3)
    assert np.geterr()["divide"] == "warn"


def test_a_server_without_sessions_has_no_threads_for_them(address: Path) -> None:
    def members() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name == "mechestim-crew"}

    others = members()  # of services of earlier tests
    with dialled(f"ipc://{address}") as one, dialled(f"ipc://{address}") as other:
        for channel in (one, other):
            x = channel.request("ones", ([1000, 1000],))
            channel.request("add", (x, x))
        assert members() - others
    wait_until(lambda: not members() - others, "they have ended")
