"""The ceiling: exact between threads and processes; a death restores no FLOPs."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling, SessionLedger
from shm_echo.mechestim.service.metering.shared_memory import FileLock, reopened, sealed_memory
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from tests.support.processes import start
from tests.support.threads import Worker


def ledger(ceiling: Ceiling, **weights: float) -> tuple[SessionLedger, StatsPage]:
    stats = StatsPage()
    return SessionLedger(ceiling, stats, weights, SchedulerSlot()), stats


def test_a_reservation_beyond_the_ceiling_fails_and_changes_nothing() -> None:
    ceiling = Ceiling(100)
    one, stats = ledger(ceiling)
    one.reserve("add", 60)
    with pytest.raises(BudgetExhaustedError) as refused:
        one.reserve("matmul", 41)
    assert (refused.value.op_name, refused.value.flop_cost) == ("matmul", 41)
    assert refused.value.flops_remaining == 40
    one.commit()
    assert (ceiling.spent, ceiling.reserved) == (60, 0)
    assert stats.tallies() == {"add": (60, 1)}


def test_a_released_reservation_is_available_again() -> None:
    ceiling = Ceiling(100)
    one, stats = ledger(ceiling)
    one.reserve("add", 60)
    one.release("add", 60)
    one.commit()
    assert (ceiling.spent, ceiling.reserved, stats.flops) == (0, 0, 0)


def test_a_committed_reservation_cannot_be_released() -> None:
    ceiling = Ceiling(100)
    one, stats = ledger(ceiling)
    one.reserve("add", 60)
    one.commit()
    one.release("add", 60)
    assert ceiling.spent == stats.flops == 60


def test_the_spent_count_never_decreases() -> None:
    ceiling = Ceiling(100)
    one, _ = ledger(ceiling)
    seen = [ceiling.spent]
    for refused in (True, False, True, False):
        one.reserve("add", 10)
        seen.append(ceiling.spent)
        if refused:
            one.release("add", 10)
            seen.append(ceiling.spent)
        one.commit()
        seen.append(ceiling.spent)
    assert seen == sorted(seen)
    assert ceiling.spent == 20


def test_the_weights_of_the_server_apply() -> None:
    ceiling = Ceiling(100)
    one, stats = ledger(ceiling, exp=2.5)
    one.reserve("exp", 10)
    one.reserve("add", 10)
    one.commit()
    assert ceiling.spent == 35
    assert stats.tallies() == {"exp": (25, 1), "add": (10, 1)}


def test_sessions_of_one_principal_share_the_ceiling() -> None:
    ceiling = Ceiling(100)
    one, two = ledger(ceiling)[0], ledger(ceiling)[0]
    one.reserve("add", 60)
    with pytest.raises(BudgetExhaustedError):
        two.reserve("add", 60)


def test_exactly_one_of_sixty_four_threads_reserves_the_last_flops() -> None:
    ceiling = Ceiling(100)

    def attempt() -> bool:
        try:
            ledger(ceiling)[0].reserve("add", 100)
        except BudgetExhaustedError:
            return False
        return True

    assert sum(worker.result() for worker in [Worker(attempt) for _ in range(64)]) == 1


def test_a_ceiling_without_a_limit_counts() -> None:
    ceiling = Ceiling(None)
    one, _ = ledger(ceiling)
    one.reserve("add", 2**62)
    one.commit()
    assert ceiling.spent == 2**62


# ---------------------------------------------------------------- between processes


def spend_in_child(pipe: Any, page: int, limit: int, calls: int) -> None:
    ceiling = Ceiling(limit, page)
    one, stats = ledger(ceiling)
    pipe.send("ready")
    pipe.recv()
    for _ in range(calls):
        try:
            one.reserve("add", 3)
        except BudgetExhaustedError:
            continue
        one.commit()
    pipe.send(stats.flops)


def test_processes_together_never_exceed_the_ceiling() -> None:
    limit = 3 * 700 + 2
    ceiling = Ceiling(limit)
    pages = [ceiling.share() for _ in range(3)]
    children = [start(spend_in_child, page, limit, 400) for page in pages]
    try:
        for child in children:
            child.expect("ready")
        for child in children:
            child.say("go")
        assert sum(child.hear() for child in children) == 3 * 700 == ceiling.spent
        assert ceiling.reserved == 0
    finally:
        for child, page in zip(children, pages, strict=True):
            child.end()
            os.close(page)


def reserve_and_wait(pipe: Any, page: int, stats: int) -> None:
    counters = StatsPage(stats)
    one = SessionLedger(Ceiling(100, page), counters, {}, SchedulerSlot())
    counters.begin_request()
    one.reserve("add", 60)
    pipe.send("reserved")
    pipe.recv()


def test_the_reservation_of_a_killed_process_stays_and_can_be_charged() -> None:
    ceiling, shared = Ceiling(100), sealed_memory("test-stats", StatsPage.SIZE)
    page = ceiling.share()
    child = start(reserve_and_wait, page, shared)
    try:
        child.expect("reserved")
        assert child.end() == -signal.SIGKILL
        assert (ceiling.spent, ceiling.reserved) == (0, 60)
        with pytest.raises(BudgetExhaustedError):
            ceiling.reserve("add", 41)
        stats = StatsPage(shared)
        assert stats.reserved == 60
        assert stats.running_s is not None
        stats.mark_killed()
        assert stats.tallies() == {"add": (60, 1)}
    finally:
        child.end()
        os.close(page)
        os.close(shared)


def hold(pipe: Any, page: int) -> None:
    FileLock(page).acquire()
    pipe.send("held")
    pipe.recv()


def test_the_lock_of_a_dead_process_is_free() -> None:
    ceiling = Ceiling(100)
    page = ceiling.share()
    child = start(hold, page)
    try:
        child.expect("held")
        os.close(page)  # now only the child has the open file description
        waiting = Worker(ceiling.reserve, "add", 10)
        waiting.wait_until_asleep()
        assert waiting.thread.is_alive()
        child.end()
        waiting.result()
        assert ceiling.reserved == 10
    finally:
        child.end()


def test_the_size_of_the_page_is_fixed() -> None:
    fd = sealed_memory("test", 4096)
    again = reopened(fd)
    try:
        for wanted in (0, 4097):
            with pytest.raises(PermissionError):
                os.ftruncate(again, wanted)
    finally:
        os.close(fd)
        os.close(again)
