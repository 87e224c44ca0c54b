"""Workers fill the runs of a ring: start methods, ways of a dataset, first item, generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.loader_datasets import (
    Dying,
    InPlace,
    Listing,
    Logged,
    Numbers,
    Stacking,
    note_worker,
)
from tests.support.loader_pools import METHODS, PoolLoop
from tests.support.waiting import WATCHDOG

WAYS: tuple[type[Dying], ...] = (Dying, InPlace, Listing, Stacking)


def all_rows(loop: PoolLoop) -> list[tuple[int, float]]:
    """Return item and random number of every row."""
    rows = []
    loop.open()
    assert loop.ring is not None
    while len(rows) < loop.length:
        tree = loop.ring.spec.unflatten(loop.next_batch().arrays)
        rows += list(zip(tree["i"].tolist(), tree["r"].tolist(), strict=True))
    return rows


@pytest.mark.parametrize("method", METHODS)
def test_every_item_comes_in_order(method: Any) -> None:
    with PoolLoop(Numbers(40), method=method) as loop:
        assert loop.open().items() == list(range(40))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_way_of_a_dataset_fills_the_rows(tmp_path: Path, way: Any, workers: int) -> None:
    dataset = way(20, tmp_path / "log", index=-1, times=0)
    with PoolLoop(dataset, workers) as loop:
        assert loop.open().items() == list(range(20))


def test_the_fastest_way_is_taken(tmp_path: Path) -> None:
    dataset = Listing(12, tmp_path / "log", index=-1, times=0)
    with PoolLoop(dataset) as loop:
        loop.open().items()
    first, *runs = dataset.calls()
    assert first == (0,)
    assert sorted(runs) == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_item_is_made_once_and_by_worker_0(tmp_path: Path, workers: int) -> None:
    dataset = Logged(30, tmp_path / "log")
    with PoolLoop(dataset, workers) as loop:
        assert loop.open().items() == list(range(30))
        worker_0 = loop.pool.pid_of(0)
    assert sorted(dataset.calls()) == [(index,) for index in range(30)]
    assert dataset.lines()[0] == f"{worker_0} 0"


def test_random_numbers_do_not_depend_on_the_number_of_workers() -> None:
    found = []
    for workers in (1, 3):
        with PoolLoop(Numbers(30), workers) as loop:
            found.append(all_rows(loop))
    assert found[0] == found[1]
    assert len({number for _, number in found[0]}) == 30


def test_random_numbers_are_the_same_after_a_death(tmp_path: Path) -> None:
    found = []
    for times in (0, 1):
        dataset = Dying(30, tmp_path / f"log{times}", index=7, times=times)
        with PoolLoop(dataset) as loop:
            found.append(all_rows(loop))
    assert found[0] == found[1]


# A fork server prints where it was started, which may have been another test.
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_workers_print_arrives(method: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with PoolLoop(Numbers(8), method=method, worker_init_fn=note_worker) as loop:
        loop.open().items()
        loop.close(grace=WATCHDOG)  # a worker may have begun to start just now
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "worker 0", "worker 1"]


def test_a_list_that_is_too_short_is_an_error_of_its_items() -> None:
    class Short(Numbers):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[index] for index in indices[1:]]

    with PoolLoop(Short(6), 1) as loop:
        batch = loop.open().next_batch()
        failure = loop.pool.failure(batch.failed[0].first_row)
        assert failure is not None
        with pytest.raises(TypeError, match=r"Short.__getitems__ returned list of 2 for 3 indices"):
            raise failure.exception()


def test_a_dataset_without_a_way_is_an_error() -> None:
    class Nothing:
        def __len__(self) -> int:
            return 3

    with PoolLoop(Nothing()) as loop:
        with pytest.raises(TypeError, match=r"\(Nothing\) has neither __getitem__ nor"):
            loop.open()
