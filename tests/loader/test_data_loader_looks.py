"""What a DataLoader says about itself: repr, statistics, the hint."""

from __future__ import annotations

import copy
import logging
import os
import re
import time
from typing import Any

import pytest

from shm_echo import DataLoader
from shm_echo.loader.items import ItemSpec
from shm_echo.loader.stats import LoopMeter, cpu_share
from shm_echo.loader.worker_ring import WorkerRing
from shm_echo.ring.loader_ring import LoaderSizes
from tests.support.loop_datasets import Numbers
from tests.support.waiting import wait_until


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stats_count_batches_and_items(num_workers: int) -> None:
    with DataLoader(Numbers(10), 4, num_workers=num_workers) as loader:
        assert loader.stats().items_per_second == loader.stats().wait_share == 0
        assert loader.stats().worker_cpu_shares == (0.0,) * num_workers
        for _ in range(2):
            list(loader)
        stats = loader.stats()
    assert (stats.batches, stats.items) == (6, 20)
    assert 0 < stats.wait_seconds <= stats.seconds
    assert 0 < stats.wait_share <= 1
    assert stats.items_per_second == stats.items / stats.seconds
    assert len(stats.worker_cpu_shares) == num_workers
    assert (stats.nbytes > 10) == (num_workers > 0)
    assert stats.worker_deaths == stats.runs_redone == 0


def test_the_repr_has_the_bytes_of_the_ring() -> None:
    with DataLoader(Numbers(10), 4, num_workers=1, seed=3) as loader:
        assert "made with the first batch" in repr(loader)
        list(loader)
        assert f"{loader.stats().nbytes:,} bytes" in repr(loader)
        assert "num_workers=1" in repr(loader)
        assert "seed=3" in repr(loader)


def test_an_example_fixes_the_size_before_the_first_loop() -> None:
    loader = DataLoader(Numbers(10), 4, num_workers=1, example=Numbers(1)[0])
    assert loader.stats().nbytes > 10
    assert f"{loader.stats().nbytes:,} bytes" in repr(loader)
    with pytest.raises(ValueError, match="max_bytes is 100"):
        DataLoader(Numbers(10), 4, num_workers=1, example=Numbers(1)[0], max_bytes=100)


def test_a_ring_above_max_bytes_is_refused() -> None:
    with (
        DataLoader(Numbers(10), 4, num_workers=1, max_bytes=100) as loader,
        pytest.raises(ValueError, match="max_bytes is 100"),
    ):
        next(iter(loader))


def test_a_loader_cannot_be_copied() -> None:
    with pytest.raises(TypeError, match="DataLoader can be neither copied nor pickled"):
        copy.copy(DataLoader(Numbers(1)))


ADVICE = [
    (0, 4, "num_workers=0 it makes them itself, and num_workers=1 or more would help"),
    (1, 4, r"more than num_workers=1 may help \(this process may use 4 CPUs\)"),
    (3, 4, "more than num_workers=3 may help"),
    (4, 4, "num_workers=4 is not enough .* 4 CPUs: cheaper items or more CPUs would help"),
    (9, 4, "num_workers=9 is not enough"),
]


@pytest.mark.parametrize(("num_workers", "cpus", "advice"), ADVICE)
def test_a_loop_that_waits_too_much_is_told_so_once(
    num_workers: int,
    cpus: int,
    advice: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    meter = LoopMeter(num_workers)
    with caplog.at_level(logging.WARNING, "shm_echo"):
        before = None
        for second in range(0, 60, 2):  # half of the time
            meter.waited(float(second), second + 1.0, before, 1)
            before = second + 1.0
    assert len(caplog.messages) == 1
    assert "has waited for batches" in caplog.messages[0]
    assert re.search(advice, caplog.messages[0])


def test_a_loop_that_waits_little_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    meter = LoopMeter(1)
    for second in range(0, 60, 2):
        meter.waited(float(second), second + 0.1, second - 1.9, 1)
    assert caplog.messages == []


def test_processes_that_have_ended_have_no_share_of_a_cpu() -> None:
    assert cpu_share(2**22 + 1) == 0


def test_a_worker_that_waits_for_the_loop_is_less_and_less_busy() -> None:
    with DataLoader(Numbers(100), 2, num_workers=2) as loader:
        assert loader.stats().worker_busy_shares == (0, 0)
        loop = iter(loader)
        next(loop)
        wait_until(lambda: loader.stats().ready_batches == 3, "all that may be made is made")
        wait_until(lambda: max(loader.stats().worker_busy_shares) < 0.5, "they have waited longer")
        shares = loader.stats().worker_busy_shares
    assert len(shares) == 2
    assert all(0 <= share <= 1 for share in shares)


def test_a_busy_share_counts_from_the_start_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waited = 1000, 600

    class Ring:
        sizes = LoaderSizes(1, 1, 1, 1)

        def admit(self, owner: int) -> None:
            pass

        def waited_ns(self, owner: int) -> int:
            return waited

    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    ring: Any = Ring()
    workers = WorkerRing(ring, ItemSpec.from_item(1), lambda row: None, lambda row: 0)
    assert workers.busy_share(1) == 0
    workers.admit(1)
    now, waited = 1100, 625
    assert workers.busy_share(1) == 0.75
    now, waited = 1200, 900
    assert workers.busy_share(1) == 0
    workers.admit(1)  # one that replaces it
    now = 1300
    assert workers.busy_share(1) == 1
