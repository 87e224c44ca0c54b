"""CPU migration: when a thread moves, and that it may use the same CPUs afterwards."""

from __future__ import annotations

import os
from typing import Any

import pytest

from shm_echo.mechestim.service.scheduling import cpu_affinity
from shm_echo.mechestim.service.scheduling.cpu_affinity import CpuMigrator, migrate_to_idle_cpu
from tests.support.threads import Worker

SHORT, LONG = 20e-6, 1e-3


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Replaces migrations by one more item of a list each."""
    found: list[None] = []

    def moved() -> bool:
        found.append(None)
        return True

    monkeypatch.setattr(cpu_affinity, "migrate_to_idle_cpu", moved)
    return found


def test_consecutive_short_waits_move_the_thread_once(
    moves: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_affinity, "_clock", lambda: 100.0)
    migrator = CpuMigrator()
    answers = [migrator.record_wait(SHORT) for _ in range(20)]
    assert answers.count(True) == len(moves) == 1
    assert not any(answers[:7])


def test_the_thread_moves_again_after_the_cooldown(
    moves: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(cpu_affinity, "_clock", lambda: now)
    migrator = CpuMigrator()
    for _ in range(100):
        migrator.record_wait(SHORT)
    assert len(moves) == 1
    now += 1.0
    for _ in range(100):
        migrator.record_wait(SHORT)
    assert len(moves) == 2


def test_long_waits_in_between_prevent_a_move(moves: list[None]) -> None:
    migrator = CpuMigrator()
    for _ in range(100):
        for seconds in (SHORT, SHORT, SHORT, LONG):
            assert not migrator.record_wait(seconds)
    assert moves == []


def on_a_thread(work: Any) -> Any:
    """Run `work` on a thread of its own, so that the tests' thread keeps its affinity."""
    return Worker(work).result()


def test_the_thread_may_use_the_same_cpus_afterwards() -> None:
    def work() -> tuple[bool, set[int], set[int]]:
        before = os.sched_getaffinity(0)
        return migrate_to_idle_cpu(), before, os.sched_getaffinity(0)

    moved, before, after = on_a_thread(work)
    assert moved == (len(before) > 1 and affinity_can_be_set())
    assert after == before


def affinity_can_be_set() -> bool:
    try:
        os.sched_setaffinity(0, os.sched_getaffinity(0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not affinity_can_be_set(), reason="affinity cannot be set here")
def test_a_thread_with_one_allowed_cpu_stays() -> None:
    def work() -> bool:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return migrate_to_idle_cpu()

    assert on_a_thread(work) is False


def test_a_thread_stays_where_setting_affinity_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(pid: int, cpus: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert migrate_to_idle_cpu() is False
