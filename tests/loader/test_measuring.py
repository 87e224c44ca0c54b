"""rows_per_claim="measure": chosen once by a clock, then kept."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import numpy as np
import pytest

from shm_echo import DataLoader
from shm_echo.loader.measuring import chosen_rows, measured_rows
from shm_echo.spec import TreeSpec
from tests.support.loop_datasets import Augmented, Failing, as_lists

SPEC = TreeSpec.from_example(np.zeros(3, np.int32))


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 1.0, 4: 1.0}, 1),
        ({1: 1.2, 2: 1.05, 4: 1.0}, 2),
        ({1: 8.0, 2: 4.0, 4: 2.0, 8: 1.0}, 8),
        ({1: 8.0, 2: 1.0, 4: 3.0}, 2),
    ],
)
def test_the_smallest_of_the_good_sizes_is_chosen(seconds: dict[int, float], rows: int) -> None:
    assert chosen_rows(seconds) == rows


class Clock:
    """A clock that only the work moves."""

    def __init__(self, per_run: float, per_item: float) -> None:
        self.now = 0.0
        self.per_run, self.per_item = per_run, per_item
        self.runs: list[int] = []

    def fill(self, run: Any) -> None:
        assert run.indices == tuple(range(len(run.indices)))
        assert run.tree.shape == (len(run.indices), 3)
        self.runs.append(len(run.indices))
        self.now += self.per_run + self.per_item * len(run.indices)


@pytest.mark.parametrize(
    ("per_run", "per_item", "batch", "rows"),
    [
        (40e-6, 1e-6, 256, 128),  # as much as possible
        (40e-6, 1e-6, 16, 8),  # at most half a batch
        (40e-6, 100e-6, 256, 8),
        (40e-6, 2e-3, 256, 1),
        (40e-6, 1.0, 256, 1),
        (40e-6, 1e-6, 1, 1),
    ],
)
def test_runs_are_as_large_as_their_cost_asks_for(
    per_run: float, per_item: float, batch: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(per_run, per_item)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    assert measured_rows(clock.fill, SPEC, range(batch), 0, 7) == rows
    assert clock.now < max(2.0, 1.5 * per_item)


def test_large_items_have_small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1e-3, 0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    spec = TreeSpec.from_example(np.zeros(2**20, np.uint8))

    def fill(run: Any) -> None:
        clock.now += 1e-3

    assert measured_rows(fill, spec, range(256), 0, 0) == 4


def test_an_item_that_raises_ends_the_measurement() -> None:
    def fill(run: Any) -> None:
        raise KeyError("no item")

    assert measured_rows(fill, SPEC, range(9), 0, 0) == 0


# ---------------------------------------------------------------- in a loader


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_number_is_kept_by_later_epochs_and_by_another_job(
    num_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    def make(workers: int) -> DataLoader:
        return DataLoader(
            Augmented(60), 12, True, num_workers=workers, rows_per_claim="measure", seed=1
        )

    with caplog.at_level(logging.INFO, "shm_echo"), make(num_workers) as loader:
        assert loader.state_dict()["rows_per_claim"] == {"given": "measure", "used": None}
        loop = iter(loader)
        next(loop)
        state = json.loads(json.dumps(loader.state_dict()))
        rows = state["rows_per_claim"]["used"]
        assert 1 <= rows <= 6
        if num_workers:
            assert f"{rows} rows a claim" in repr(loader)
        rest = [as_lists(batch) for batch in loop]
        then = [as_lists(batch) for batch in loader]
    assert caplog.messages == [f"a DataLoader has measured rows_per_claim={rows}, and keeps it"]
    for other in (0, 2, 3):
        state["rows_per_claim"]["used"] = rows
        with make(other) as loader:
            loader.load_state_dict(state)
            assert [as_lists(batch) for batch in loader] == rest
            assert [as_lists(batch) for batch in loader] == then
            assert loader.state_dict()["rows_per_claim"]["used"] == rows
    # A number fits if it is that one.
    DataLoader(Augmented(60), 12, True, rows_per_claim=rows, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match=f"rows_per_claim was {rows} and is 11"):
        DataLoader(Augmented(60), 12, True, rows_per_claim=11, seed=1).load_state_dict(state)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_batch_is_the_same_as_with_the_measured_number_given(num_workers: int) -> None:
    with DataLoader(
        Augmented(60), 12, num_workers=num_workers, rows_per_claim="measure", seed=1
    ) as loader:
        found = [as_lists(batch) for batch in loader]
        rows = loader.state_dict()["rows_per_claim"]["used"]
    with DataLoader(Augmented(60), 12, rows_per_claim=rows, seed=1) as loader:
        assert [as_lists(batch) for batch in loader] == found


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_item_that_fails_in_the_measurement_fails_once_where_it_is_due(num_workers: int) -> None:
    with DataLoader(
        Failing(12, 1, 2), 4, num_workers=num_workers, rows_per_claim="measure"
    ) as loader:
        loop = iter(loader)
        with pytest.raises(KeyError):
            next(loop)
        assert [int(batch[0, 0]) for batch in loop] == [4, 8]
