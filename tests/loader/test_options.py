"""The arguments of a loader: what is refused, what follows from them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shm_echo.loader.options import (
    RingShape,
    check_max_bytes,
    check_options,
    default_rows_per_claim,
)

DATA = list(range(10))


class Stream:
    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class Endless:
    """A dataset without a length."""

    def __getitem__(self, index: int) -> int:
        return index


def test_the_defaults() -> None:
    options = check_options(DATA)
    assert (options.batch_size, options.num_workers, options.prefetch_batches) == (1, 0, 3)
    assert (options.rank, options.world_size) == (0, 1)
    assert (options.timeout, options.rows_per_claim, options.max_bytes) == (None, None, None)
    assert (options.shuffle, options.drop_last, options.reuse, options.progress) == (False,) * 4
    assert (options.on_hang, options.start_method, options.item_spec) == ("raise", None, None)


def test_a_seed_is_drawn_once_if_there_is_none() -> None:
    seeds = {check_options(DATA).seed for _ in range(10)}
    assert len(seeds) == 10
    assert check_options(DATA, seed=np.int64(7)).seed == 7


def test_numbers_are_python_numbers_afterwards() -> None:
    options = check_options(
        DATA,
        np.int64(4),
        num_workers=np.int8(2),
        timeout=np.float32(1.5),
        seed=np.uint64(2**64 - 1),
    )
    values = (options.batch_size, options.num_workers, options.timeout, options.seed)
    assert [type(value) for value in values] == [int, int, float, int]
    assert options.seed == 2**64 - 1


def test_none_is_false_for_shuffle_as_in_torch() -> None:
    assert check_options(DATA, 1, None).shuffle is False


def test_an_example_fixes_the_spec_of_an_item() -> None:
    options = check_options(DATA, example=(np.zeros(3), 1))
    assert options.item_spec is not None
    assert options.item_spec.nbytes == 32


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an int"),
        ({"num_workers": -1}, ValueError, "num_workers must be at least 0"),
        ({"num_workers": True}, TypeError, "num_workers must be an int"),
        ({"num_workers": 10**6}, ValueError, "num_workers must be at most 4096"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 2**64}, ValueError, "seed must be at most"),
        ({"seed": "a"}, TypeError, "seed must be an int"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False, not 1"),
        ({"drop_last": "no"}, TypeError, "drop_last must be True or False"),
        ({"reuse": "copy"}, TypeError, "reuse must be True or False"),
        ({"progress": 2}, TypeError, "progress must be True or False"),
        ({"world_size": 0}, ValueError, "world_size must be at least 1"),
        ({"rank": 2, "world_size": 2}, ValueError, "rank must be less than world_size=2, not 2"),
        ({"rank": 1}, ValueError, "rank must be less than world_size=1"),
        ({"rank": -1}, ValueError, "rank must be at least 0"),
        ({"prefetch_batches": 0}, ValueError, "prefetch_batches must be at least 1"),
        ({"rows_per_claim": 0}, ValueError, "rows_per_claim must be at least 1"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be at least 1"),
        ({"timeout": -1}, ValueError, "timeout must be"),
        ({"timeout": "1"}, TypeError, "timeout must be"),
        ({"on_hang": "kill"}, ValueError, "on_hang must be one of 'raise', 'restart'"),
        ({"start_method": "thread"}, ValueError, "start_method must be one of 'fork'"),
        ({"worker_init_fn": 3}, TypeError, "worker_init_fn must be a function"),
        ({"example": "text"}, TypeError, "the example: .*str"),
        ({"sampler": 3}, TypeError, "sampler must be an iterable, not 3"),
        ({"batch_sampler": 3}, TypeError, "batch_sampler must be an iterable, not 3"),
        # ---- two orders at once
        ({"sampler": DATA, "shuffle": True}, ValueError, "sampler= can't .* shuffle=:"),
        ({"sampler": DATA, "weights": [1]}, ValueError, "sampler= can't .* weights="),
        ({"sampler": DATA, "world_size": 2}, ValueError, "sampler= can't .* world_size="),
        ({"weights": [1], "shuffle": True}, ValueError, "weights= can't .* shuffle="),
        ({"batch_sampler": [DATA], "batch_size": 2}, ValueError, "batch_sampler= .* batch_size="),
        ({"batch_sampler": [DATA], "shuffle": True}, ValueError, "batch_sampler= .* shuffle="),
        ({"batch_sampler": [DATA], "drop_last": True}, ValueError, "batch_sampler= .* drop_last="),
        ({"batch_sampler": [DATA], "sampler": DATA}, ValueError, "batch_sampler= .* sampler="),
        ({"batch_sampler": [DATA], "weights": [1]}, ValueError, "batch_sampler= .* weights="),
        ({"batch_sampler": [DATA], "world_size": 2}, ValueError, "batch_sampler= .* world_size="),
        ({"collate_fn": 3}, TypeError, "collate_fn must be a function"),
        ({"collate_fn": list, "example": 3}, ValueError, "example= .* collate_fn="),
        ({"batch_size": None, "example": 3}, ValueError, "example= .* batch_size=None"),
        (
            {"batch_size": None, "drop_last": True},
            ValueError,
            "batch_size=None can't .* drop_last=",
        ),
        (
            {"batch_size": None, "batch_sampler": [DATA]},
            ValueError,
            "batch_sampler= .* batch_size=",
        ),
        ({"rows_per_claim": "auto"}, ValueError, "a number, None or 'measure', not 'auto'"),
        ({"rows_per_claim": "measure", "example": 3}, ValueError, "combined with example="),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        check_options(DATA, **arguments)


@pytest.mark.parametrize(
    ("dataset", "error", "text"),
    [
        (3, TypeError, "must have __getitem__ or __iter__, and int has neither"),
        (Endless(), TypeError, r"must have a length \(__len__\), and Endless has none"),
    ],
    ids=str,
)
def test_a_dataset_needs_items_and_a_length(
    dataset: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        check_options(dataset)


def test_torch_s_iterable_datasets_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    class IterableDataset:
        def __iter__(self) -> Iterator[int]:
            return iter(DATA)

        def __getitem__(self, index: int) -> int:
            raise NotImplementedError

        def __len__(self) -> int:
            return 10

    module: Any = SimpleNamespace(IterableDataset=IterableDataset)
    monkeypatch.setitem(sys.modules, "torch.utils.data", module)
    assert check_options(IterableDataset()).stream


@pytest.mark.parametrize("dataset", [Stream(), (i for i in DATA)], ids=["class", "generator"])
def test_an_iterable_decides_alone_about_its_order(dataset: Any) -> None:
    assert check_options(dataset).stream
    for name, value in {
        "shuffle": True,
        "sampler": DATA,
        "batch_sampler": [DATA],
        "weights": [1],
        "world_size": 2,
    }.items():
        with pytest.raises(ValueError, match=f"{name}= can't be combined with a dataset that can"):
            check_options(dataset, **{name: value})


def test_a_sampler_may_be_a_sequence_in_the_old_way() -> None:
    check_options(DATA, sampler=Endless())


@pytest.mark.parametrize("argument", ["sampler", "batch_sampler"])
def test_a_dataset_needs_no_length_if_the_order_is_given(argument: str) -> None:
    drawn: list[int] = []

    def keys() -> Iterator[Any]:
        drawn.append(1)
        yield [0]

    check_options(Endless(), **{argument: keys()})
    assert drawn == []


def test_a_sampler_decides_the_order_and_not_the_batches() -> None:
    options = check_options(DATA, 4, sampler=DATA, drop_last=True)
    assert (options.batch_size, options.drop_last) == (4, True)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("batch_size", "item_bytes", "rows"),
    [
        (1, 8, 1),
        (8, 8, 1),
        (11, 8, 1),
        (12, 8, 2),
        (16, 8, 2),
        (32, 8, 4),
        (64, 8, 8),
        (128, 8, 16),
        (256, 8, 32),
        (10**6, 8, 32),
        (256, 3_076, 32),
        (256, 150_528, 16),
        (256, 602_112, 4),
        (256, 2**40, 1),
        (256, 0, 32),
    ],
)
def test_rows_per_claim(batch_size: int, item_bytes: int, rows: int) -> None:
    assert default_rows_per_claim(batch_size, item_bytes) == rows


@given(st.integers(1, 300))
def test_rows_per_claim_is_the_power_of_two_nearest_to_an_eighth(batch_size: int) -> None:
    rows = default_rows_per_claim(batch_size, 1)
    distances = {p: abs(p - batch_size / 8) for p in (1, 2, 4, 8, 16, 32)}
    assert distances[rows] == min(distances.values())


@given(
    batch_size=st.integers(1, 1000),
    rows=st.one_of(st.none(), st.integers(1, 2000)),
    prefetch=st.integers(1, 9),
    item_bytes=st.integers(1, 10**7),
)
def test_a_ring_has_room_for_every_row(
    batch_size: int, rows: int | None, prefetch: int, item_bytes: int
) -> None:
    options = check_options(DATA, rows_per_claim=rows, prefetch_batches=prefetch)
    shape = RingShape.of(options, item_bytes, batch_size)
    assert 1 <= shape.run_rows <= batch_size
    assert rows is None or shape.run_rows == min(rows, batch_size)
    assert (shape.slots - 1) * shape.run_rows < batch_size <= shape.slots * shape.run_rows
    assert shape.num_buffers == prefetch + 2
    assert shape.data_bytes(item_bytes) >= shape.num_buffers * batch_size * item_bytes


def test_a_ring_larger_than_max_bytes_is_refused_by_number() -> None:
    options = check_options(DATA, prefetch_batches=4)
    shape = RingShape.of(options, 1_000, 64)
    check_max_bytes(400_000, None, shape, 1_000)
    check_max_bytes(400_000, 400_000, shape, 1_000)
    with pytest.raises(ValueError, match="400,000 bytes") as caught:
        check_max_bytes(400_000, 399_999, shape, 1_000)
    text = str(caught.value)
    assert "6 batches of 64 items of 1,000 bytes" in text
    assert "max_bytes is 399,999" in text
    assert "prefetch_batches, which is 4" in text
