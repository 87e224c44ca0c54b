"""The batches of a DataLoader: the same for any number of workers."""

from __future__ import annotations

import random
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo import DataLoader
from shm_echo.errors import SpecMismatchError
from tests.support.loop_datasets import Augmented, Failing, Numbers, as_lists

WORKERS = [0, 1, 2, 5]
Point = namedtuple("Point", "x y")


def epochs(dataset: Any, count: int = 2, **options: Any) -> list[list[Any]]:
    with DataLoader(dataset, **options) as loader:
        return [[as_lists(batch) for batch in loader] for _ in range(count)]


# ---------------------------------------------------------------- equal batches


@pytest.mark.parametrize("num_workers", WORKERS[1:])
@pytest.mark.parametrize("rows_per_claim", [None, 1, 3, 16])
def test_batches_do_not_depend_on_the_number_of_workers(
    num_workers: int, rows_per_claim: int | None
) -> None:
    options: dict[str, Any] = {
        "batch_size": 16,
        "shuffle": True,
        "seed": 7,
        "rows_per_claim": rows_per_claim,
    }
    expected = epochs(Augmented(70), **options)
    assert epochs(Augmented(70), num_workers=num_workers, **options) == expected
    assert expected[0] != expected[1]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_batches_do_not_depend_on_the_start_method(method: Any) -> None:
    options: dict[str, Any] = {"batch_size": 8, "shuffle": True, "seed": 1}
    found = epochs(Augmented(20), num_workers=2, start_method=method, **options)
    assert found == epochs(Augmented(20), **options)


@settings(max_examples=25)
@given(
    length=st.integers(0, 40),
    batch_size=st.integers(1, 12),
    rows=st.integers(1, 13),
    num_workers=st.integers(0, 3),
    prefetch=st.integers(1, 4),
    drop_last=st.booleans(),
    reuse=st.booleans(),
)
def test_every_item_comes_once_and_in_order(
    length: int,
    batch_size: int,
    rows: int,
    num_workers: int,
    prefetch: int,
    drop_last: bool,
    reuse: bool,
) -> None:
    loader = DataLoader(
        Numbers(length),
        batch_size,
        num_workers=num_workers,
        rows_per_claim=rows,
        prefetch_batches=prefetch,
        drop_last=drop_last,
        reuse=reuse,
    )
    expected = [
        list(range(first, min(first + batch_size, length)))
        for first in range(0, length, batch_size)
        if not drop_last or first + batch_size <= length
    ]
    with loader:
        for _ in range(2):
            found = []
            for batch in loader:
                assert (batch == batch[:, :1]).all()
                found.append(batch[:, 0].tolist())
            assert found == expected
            assert len(loader) == len(expected)


@pytest.mark.parametrize("num_workers", WORKERS)
def test_samplers_decide_the_order(num_workers: int) -> None:
    lists = [[4, 4, 1], [0], [3, 2]]
    loader = DataLoader(Numbers(5), batch_sampler=lists, num_workers=num_workers)
    with loader:
        assert [batch[:, 0].tolist() for batch in loader] == lists
    with DataLoader(Numbers(5), 2, sampler=[3, 1, 2], num_workers=num_workers) as loader:
        assert [batch[:, 0].tolist() for batch in loader] == [[3, 1], [2]]
        assert [batch[:, 0].tolist() for batch in loader] == [[3, 1], [2]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_of_the_sampler_comes_after_the_batches_before_it(num_workers: int) -> None:
    def indices() -> Any:
        yield from range(4)
        raise OSError("no more")

    class Sampler:
        def __iter__(self) -> Any:
            return indices()

    with DataLoader(Numbers(9), 2, sampler=Sampler(), num_workers=num_workers) as loader:
        loop = iter(loader)
        assert [next(loop)[0, 0], next(loop)[0, 0]] == [0, 2]
        with pytest.raises(OSError, match="no more"):
            next(loop)
        with pytest.raises(StopIteration):
            next(loop)


def test_the_callers_generators_are_left_alone() -> None:
    states = random.getstate(), np.random.get_state(legacy=False)
    epochs(Augmented(10), batch_size=4)
    assert random.getstate() == states[0]
    assert str(np.random.get_state(legacy=False)) == str(states[1])


def test_ranks_share_the_items() -> None:
    found = [
        item
        for rank in range(3)
        for batch in epochs(Numbers(12), 1, batch_size=2, rank=rank, world_size=3, shuffle=True,
                            seed=0, num_workers=rank)[0]
        for item in batch
    ]  # fmt: skip
    assert sorted(item[0] for item in found) == list(range(12))


# ---------------------------------------------------------------- trees


class Trees(Numbers):
    def __getitem__(self, index: int) -> Any:
        return Point({"b": np.full((2, 2), index, ">i2"), "a": bool(index % 2)}, (index, 0.5, None))


@pytest.mark.parametrize("num_workers", WORKERS)
def test_a_batch_is_a_tree_like_an_item(num_workers: int) -> None:
    with DataLoader(Trees(5), 3, num_workers=num_workers) as loader:
        first, second = loader
    assert type(first) is Point
    assert first.x["b"].shape == (3, 2, 2)
    assert first.x["b"].dtype == np.dtype(">i2")
    assert first.x["a"].tolist() == [False, True, False]
    assert second.y[0].tolist() == [3, 4]
    assert second.y[1].tolist() == [0.5, 0.5]
    assert second.y[2] is None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_lists_and_arrays_are_datasets(num_workers: int) -> None:
    with DataLoader(np.arange(10.0).reshape(5, 2), 2, num_workers=num_workers) as loader:
        assert np.concatenate(list(loader)).tolist() == np.arange(10.0).reshape(5, 2).tolist()


class InPlace(Numbers):
    def load_into(self, index: int, out: Any) -> None:
        out[:] = index


class Together(Numbers):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class TogetherInPlace(Numbers):
    def __getitems__(self, indices: list[int], out: Any) -> None:
        out[:] = np.array(indices)[:, None]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", [InPlace, Together, TogetherInPlace])
def test_the_faster_methods_of_a_dataset_are_used(kind: type[Numbers], num_workers: int) -> None:
    found = epochs(kind(23), batch_size=5, num_workers=num_workers)
    assert found == epochs(Numbers(23), batch_size=5)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("num_workers", WORKERS)
@pytest.mark.parametrize("bad", [0, 5, 19])
def test_an_error_comes_with_its_batch_and_the_loop_goes_on(num_workers: int, bad: int) -> None:
    with DataLoader(Failing(20, bad), 4, num_workers=num_workers) as loader:
        loop = iter(loader)
        found, failed = [], []
        for number in range(5):
            try:
                found.append((number, next(loop)[:, 0].tolist()))
            except KeyError as error:
                failed.append((number, error.args))
        with pytest.raises(StopIteration):
            next(loop)
    assert failed == [(bad // 4, (f"no item {bad}",))]
    assert found == [
        (number, list(range(4 * number, 4 * number + 4))) for number in range(5)
        if number != bad // 4
    ]  # fmt: skip


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataset_whose_items_all_fail_has_an_error_for_each_batch(num_workers: int) -> None:
    with DataLoader(Failing(6, *range(6)), 2, num_workers=num_workers) as loader:
        loop = iter(loader)
        for _ in range(3):
            with pytest.raises(KeyError, match="no item"):
                next(loop)
        with pytest.raises(StopIteration):
            next(loop)


class Uneven(Numbers):
    def __getitem__(self, index: int) -> Any:
        return {"x": np.zeros(4 if index == 7 else 3)}


@pytest.mark.parametrize("num_workers", WORKERS)
def test_an_item_that_differs_from_others_of_its_batch_is_named(num_workers: int) -> None:
    with (
        DataLoader(Uneven(9), 3, num_workers=num_workers) as loader,
        pytest.raises(SpecMismatchError, match=r"item 7 .*\['x'\]: expected float64 \(3,\), got"),
    ):
        list(loader)
