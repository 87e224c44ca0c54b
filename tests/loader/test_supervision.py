"""What follows from deaths, without processes."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from shm_echo.loader.supervision import Death, Supervisor


def death(row: int | None = None, **facts: Any) -> Death:
    """Return a death by SIGKILL at a row, by a worker that had the ring."""
    plain: dict[str, Any] = {"code": -signal.SIGKILL, "productive": False, "attached": True}
    return Death(1, 77, row=row, index=row, **(plain | facts))


def test_the_third_death_at_a_row_is_an_error() -> None:
    supervisor = Supervisor()
    assert supervisor.on_death(death(5)).error is None
    assert supervisor.on_death(death(6, productive=True)).error is None
    assert supervisor.on_death(death(5, productive=True)).error is None
    error = supervisor.on_death(death(5)).error
    assert error is not None
    assert (error.index, error.deaths, error.signal) == (5, 3, signal.SIGKILL)
    assert supervisor.deaths == 4


def test_the_first_death_of_a_batched_run_counts_for_no_row() -> None:
    supervisor = Supervisor()
    assert supervisor.on_death(death(8, batched=True)).singly
    assert supervisor.singly == (8,)
    verdicts = [supervisor.on_death(death(8, batched=True)) for _ in range(3)]
    assert [verdict.singly for verdict in verdicts] == [False] * 3
    assert [verdict.error is not None for verdict in verdicts] == [False, False, True]


def test_three_deaths_in_a_row_at_no_row_are_an_error() -> None:
    supervisor = Supervisor()
    facts = {"code": 7, "attached": False}
    assert supervisor.on_death(death(**facts)).error is None
    assert supervisor.on_death(death(**facts)).error is None
    error = supervisor.on_death(death(**facts)).error
    assert error is not None
    assert (error.index, error.exit_status, error.signal) == (None, 7, None)


def test_work_between_deaths_forgives_them() -> None:
    supervisor = Supervisor()
    for _ in range(10):
        assert supervisor.on_death(death(code=7)).error is None
        assert supervisor.on_death(death(code=7, productive=True)).error is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_idle_workers_that_are_killed_say_nothing(number: int) -> None:
    supervisor = Supervisor()
    for _ in range(10):
        assert supervisor.on_death(death(code=-number)).error is None


def test_workers_that_crash_while_they_wait_for_work_are_an_error() -> None:
    supervisor = Supervisor()
    verdicts = [supervisor.on_death(death(code=-signal.SIGSEGV)) for _ in range(3)]
    assert verdicts[2].error is not None


def test_a_hang_gets_no_advice_about_memory() -> None:
    supervisor = Supervisor()
    verdicts = [supervisor.on_death(death(3, hung=True)) for _ in range(3)]
    assert "hung and was killed by the loader" in str(verdicts[2].error)
    assert "memory" not in str(verdicts[2].error)
