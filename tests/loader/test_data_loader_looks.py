"""What a DataLoader says about itself: repr, statistics, the hint."""

from __future__ import annotations

import copy
import logging

import pytest

from shm_echo import DataLoader
from shm_echo.loader.stats import LoopMeter, cpu_share
from tests.support.loop_datasets import Numbers


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
    assert "bytes" in repr(loader)
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


@pytest.mark.parametrize(("num_workers", "advice"), [(0, "num_workers=1 or more"), (1, "")])
def test_a_loop_that_waits_too_much_is_told_so_once(
    num_workers: int, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    meter = LoopMeter(num_workers)
    with caplog.at_level(logging.WARNING, "shm_echo"):
        before = None
        for second in range(0, 60, 2):  # half of the time
            meter.waited(float(second), second + 1.0, before, 1)
            before = second + 1.0
    assert len(caplog.messages) == 1
    assert "has waited for batches" in caplog.messages[0]
    assert advice in caplog.messages[0]


def test_a_loop_that_waits_little_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    meter = LoopMeter(1)
    for second in range(0, 60, 2):
        meter.waited(float(second), second + 0.1, second - 1.9, 1)
    assert caplog.messages == []


def test_processes_that_have_ended_have_no_share_of_a_cpu() -> None:
    assert cpu_share(2**22 + 1) == 0
