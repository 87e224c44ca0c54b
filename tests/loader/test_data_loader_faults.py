"""DataLoader when workers die or hang: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo import DataLoader
from shm_echo.loader import ItemError, LoaderTimeoutError, WorkerDiedError, worker_info
from tests.support.loop_datasets import Augmented, Numbers, Pids, Stuck, as_lists
from tests.support.waiting import process_state, wait_until


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: process_state(pid) in ("", "Z"), "the killed worker has ended")


# ---------------------------------------------------------------- deaths


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("num_workers", [1, 3])
def test_kills_at_random_moments_lose_and_double_nothing(num_workers: int, seed: int) -> None:
    draw = random.Random(seed)
    kills = 0
    with DataLoader(
        Pids(300), 10, shuffle=True, seed=seed, num_workers=num_workers, rows_per_claim=3
    ) as loader:
        expected = [
            as_lists(batch["index"]) for batch in DataLoader(Pids(300), 10, shuffle=True, seed=seed)
        ]
        found = []
        for batch in loader:
            found.append(as_lists(batch["index"]))
            if draw.random() < 0.3:
                kill(draw.choice(batch["pid"].tolist()))
                kills += 1
        assert found == expected
        wait_until(lambda: loader.stats().worker_deaths > 0, "a death was noticed")
        # The workers that replaced them make the next epoch.
        assert sorted(i for batch in loader for i in as_lists(batch["index"])) == list(range(300))
    assert kills > 5


def test_augmentation_is_the_same_after_deaths(tmp_path: Path) -> None:
    expected = [as_lists(b) for b in DataLoader(Augmented(60), 8, shuffle=True, seed=5)]
    dataset = DyingOnce(60, str(tmp_path))
    with DataLoader(dataset, 8, shuffle=True, seed=5, num_workers=2) as loader:
        assert [as_lists(batch) for batch in loader] == expected
        stats = loader.stats()
    assert stats.worker_deaths == 3
    assert stats.runs_redone >= 2  # the first item may have been made before there were runs


def test_the_items_of_the_runs_that_are_made_again_are_counted(tmp_path: Path) -> None:
    dataset = DyingOnce(60, str(tmp_path))
    with DataLoader(dataset, 8, seed=5, num_workers=2, rows_per_claim=3) as loader:
        list(loader)
        stats = loader.stats()
    # Runs of 3, 3 and 2 rows.
    assert 2 * stats.runs_redone <= stats.items_redone <= 3 * stats.runs_redone
    assert stats.runs_redone >= 2


class DyingOnce(Augmented):
    """Kills its worker at items 0, 20 and 40, the first time."""

    def __init__(self, length: int, folder: str) -> None:
        super().__init__(length)
        self.folder = folder

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        if index % 20 == 0 and worker_info() is not None:
            mark = os.path.join(self.folder, str(index))
            if not os.path.exists(mark):
                open(mark, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        return item


class Deadly(Numbers):
    def __getitem__(self, index: int) -> Any:
        if index == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_an_item_that_kills_three_workers_ends_the_loop() -> None:
    with DataLoader(Deadly(40), 4, num_workers=2) as loader:
        loop = iter(loader)
        assert [next(loop)[0, 0], next(loop)[0, 0]] == [0, 4]
        with pytest.raises(WorkerDiedError, match="SIGKILL") as caught:
            next(loop)
        assert caught.value.index == 11
        with pytest.raises(WorkerDiedError):
            next(loop)
        # Another loop starts workers again.
        assert next(iter(loader))[0, 0] == 0


def test_idle_workers_that_are_killed_are_replaced() -> None:
    with DataLoader(Pids(40), 4, num_workers=2, prefetch_batches=2) as loader:
        loop = iter(loader)
        found = [next(loop)["index"].tolist()]
        wait_until(lambda: loader.stats().ready_batches == 2, "the workers have nothing to do")
        for pid in loader.worker_pids():
            kill(pid)
        wait_until(lambda: loader.stats().worker_deaths == 2, "both deaths are noticed")
        found += [batch["index"].tolist() for batch in loop]
    assert [i for batch in found for i in batch] == list(range(40))


def test_workers_that_are_killed_while_others_work_do_not_end_the_loop() -> None:
    """Each is killed as soon as it is there: most have not got the ring."""
    with DataLoader(Pids(10**6), 4, num_workers=2) as loader:
        loop = iter(loader)
        found = [next(loop)["index"].tolist()]
        for deaths in range(20):
            kill(loader.worker_pids()[1])
            wait_until(lambda n=deaths: loader.stats().worker_deaths > n, "it is noticed")  # type: ignore[misc]
            found += [next(loop)["index"].tolist() for _ in range(4)]  # all that are ahead, and one
        found += [next(loop)["index"].tolist() for _ in range(5)]
    assert [i for batch in found for i in batch] == list(range(4 * len(found)))


# ---------------------------------------------------------------- hangs


@pytest.fixture
def blocker(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "blocker"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("index", [0, 9])
def test_a_timeout_names_worker_item_and_stack(blocker: Path, index: int) -> None:
    with DataLoader(Stuck(16, index, str(blocker)), 4, num_workers=2, timeout=0.5) as loader:
        loop = iter(loader)
        found = [next(loop)[0, 0] for _ in range(index // 4)]
        with pytest.raises(LoaderTimeoutError, match=rf"item {index}\b") as caught:
            next(loop)
        assert caught.value.index == index
        assert caught.value.pid in loader.worker_pids()
        assert "__getitem__" in caught.value.stack
        blocker.unlink()
        # The loop goes on, with the batch that was late.
        found += [batch[0, 0] for batch in loop]
    assert found == [0, 4, 8, 12]


def test_a_stopped_worker_is_replaced_where_the_caller_asks_for_it() -> None:
    with DataLoader(
        Pids(60, 0.002), 4, num_workers=2, timeout=0.3, on_hang="restart", prefetch_batches=1
    ) as loader:
        found, stopped = [], set()
        for batch in loader:
            found += batch["index"].tolist()
            pid = int(batch["pid"][-1])
            if len(stopped) < 2 and pid not in stopped:
                stopped.add(pid)
                os.kill(pid, signal.SIGSTOP)
        deaths = loader.stats().worker_deaths
    assert found == list(range(60))
    assert deaths >= 1


def test_an_item_that_hangs_again_and_again_is_an_error(blocker: Path) -> None:
    with DataLoader(
        Stuck(8, 5, str(blocker)), 2, num_workers=1, timeout=0.2, on_hang="restart"
    ) as loader:
        loop = iter(loader)
        assert [next(loop)[0, 0], next(loop)[0, 0]] == [0, 2]
        with pytest.raises(WorkerDiedError) as caught:
            next(loop)
    assert caught.value.index == 5


# ---------------------------------------------------------------- starts


def failing_start(worker: int) -> None:
    raise LookupError(f"worker {worker} has no data")


class Stopping:
    """Items raise StopIteration, as `next` of an empty iterator does."""

    def __init__(self, *indices: int) -> None:
        self.indices = indices

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        return next(iter(())) if index in self.indices else index


def stop_at(*indices: int) -> Callable[[list[int]], list[int]]:
    dataset = Stopping(*indices)
    return lambda items: [dataset[index] for index in items]


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("way", ["item", "collate_fn"])
@pytest.mark.parametrize("index", [0, 5])
def test_a_stop_iteration_of_the_program_is_no_end_of_the_loop(
    num_workers: int, way: str, index: int
) -> None:
    dataset = Stopping(index) if way == "item" else Stopping()
    collate_fn = stop_at(index) if way == "collate_fn" else None
    with DataLoader(dataset, 4, num_workers=num_workers, collate_fn=collate_fn) as loader:
        loop = iter(loader)
        found = []
        for _ in range(3):
            try:
                found += list(next(loop))
            except RuntimeError as error:
                assert "StopIteration" in str(error)
        assert found == [i for i in range(12) if i // 4 != index // 4]
        assert next(loop, None) is None


def test_an_exception_of_worker_init_fn_comes_out_of_the_loop() -> None:
    with (
        DataLoader(Numbers(4), num_workers=2, worker_init_fn=failing_start) as loader,
        pytest.raises(LookupError, match="has no data") as caught,
    ):
        next(iter(loader))
    assert isinstance(caught.value.__cause__, ItemError)


def test_a_dataset_that_cannot_be_pickled_is_named_before_a_worker_starts() -> None:
    dataset = Numbers(4)
    dataset.lock = threading.Lock()  # type: ignore[attr-defined]
    loader = DataLoader(dataset, num_workers=1, start_method="spawn")
    with pytest.raises(RuntimeError, match="dataset"):
        iter(loader)
