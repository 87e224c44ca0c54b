"""The loader's own order: batches, ranks, epochs and stored positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.loader.order import OwnOrder, make_order


class Sized:
    """A dataset of which only the length matters."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def make(length: int, **arguments: Any) -> OwnOrder:
    return OwnOrder(Sized(length), **{"batch_size": 4, "seed": 0, **arguments})


def flat(order: OwnOrder, epoch: int = 0, start: int = 0) -> list[int]:
    return [int(i) for batch in order.batches(epoch, start) for i in batch.indices]


KINDS = {
    "sequential": {},
    "shuffled": {"shuffle": True},
    "weighted": {"weights": True},
}
SIZES = st.fixed_dictionaries(
    {
        "length": st.one_of(st.integers(0, 50), st.integers(16_380, 16_400)),
        "batch_size": st.one_of(st.integers(1, 12), st.integers(16_000, 40_000)),
        "drop_last": st.booleans(),
        "seed": st.integers(0, 2**64 - 1),
    }
)


def made(kind: str, sizes: dict[str, Any], **more: Any) -> OwnOrder:
    arguments = {**sizes, **KINDS[kind], **more}
    if arguments.get("weights"):
        arguments["weights"] = np.arange(1, arguments["length"] + 1)
    return make(**arguments)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, epoch=st.integers(0, 5))
def test_batches_have_the_rows_that_they_should(
    kind: str, sizes: dict[str, Any], epoch: int
) -> None:
    if kind == "weighted" and not sizes["length"]:
        sizes["length"] = 1
    order = made(kind, sizes)
    length, size = sizes["length"], sizes["batch_size"]
    batches = list(order.batches(epoch))
    assert len(order) == len(batches)
    wanted = length - length % size if sizes["drop_last"] else length
    counts = [len(batch.indices) for batch in batches]
    assert sum(counts) == wanted == order.rows()
    assert all(count == size for count in counts[:-1])
    assert all(0 < count <= size for count in counts)
    assert [batch.first_row for batch in batches] == list(range(0, wanted, size))
    assert {batch.epoch for batch in batches} <= {epoch}
    for batch in batches:
        assert batch.indices.dtype == np.int64
        assert not batch.indices.flags.writeable
        assert ((batch.indices >= 0) & (batch.indices < length)).all()
    if kind == "sequential":
        assert flat(order, epoch) == list(range(wanted))
    elif kind == "shuffled":
        assert len(set(flat(order, epoch))) == wanted


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, start=st.integers(0, 20), epoch=st.integers(0, 3))
def test_an_epoch_that_begins_later_is_the_rest_of_it(
    kind: str, sizes: dict[str, Any], start: int, epoch: int
) -> None:
    sizes["length"] = max(1, sizes["length"])
    order = made(kind, sizes)
    whole, rest = list(order.batches(epoch)), list(order.batches(epoch, start))
    assert len(rest) == max(0, len(whole) - start)
    for left, right in zip(whole[start:], rest, strict=True):
        assert left.first_row == right.first_row
        assert left.indices.tolist() == right.indices.tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, other_size=st.integers(1, 12))
def test_the_sequence_of_items_does_not_depend_on_the_batch_size(
    kind: str, sizes: dict[str, Any], other_size: int
) -> None:
    sizes = {**sizes, "length": max(1, sizes["length"]), "drop_last": False}
    same = {**sizes, "batch_size": other_size}
    assert flat(made(kind, sizes)) == flat(made(kind, same))


@pytest.mark.parametrize("kind", ["shuffled", "weighted"])
@pytest.mark.parametrize("length", [60, 17_000])
def test_epochs_and_seeds_differ_and_each_repeats(kind: str, length: int) -> None:
    sizes = {"length": length, "batch_size": 7}
    orders = {
        (seed, epoch): flat(made(kind, sizes, seed=seed), epoch)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(items) for items in orders.values()}) == 4
    for (seed, epoch), items in orders.items():
        assert flat(made(kind, sizes, seed=seed), epoch) == items


def test_sequential_epochs_are_the_same() -> None:
    order = make(9)
    assert flat(order, 0) == flat(order, 7) == list(range(9))


def test_two_epochs_can_be_read_at_once() -> None:
    order = make(50, shuffle=True)
    now, ahead = order.batches(0), order.batches(1)
    items: dict[int, list[int]] = {0: [], 1: []}
    for one, other in zip(now, ahead, strict=True):
        items[0] += one.indices.tolist()
        items[1] += other.indices.tolist()
    assert items == {0: flat(order, 0), 1: flat(order, 1)}


# ---------------------------------------------------------------- ranks


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, world_size=st.integers(1, 7), epoch=st.integers(0, 3))
def test_ranks_are_equally_long_and_share_the_items(
    kind: str, sizes: dict[str, Any], world_size: int, epoch: int
) -> None:
    sizes["length"] = max(1, sizes["length"])
    orders = [made(kind, sizes, rank=r, world_size=world_size) for r in range(world_size)]
    shares = [flat(order, epoch) for order in orders]
    rows = len(shares[0])
    assert {len(share) for share in shares} == {rows}
    assert len({len(order) for order in orders}) == 1
    together = [item for row in zip(*shares, strict=True) for item in row]
    alone = flat(made(kind, {**sizes, "drop_last": False, "batch_size": 1}), epoch)
    if kind == "weighted":
        # The ranks' draws are one sequence, which goes on beyond the length.
        assert together[: len(alone)] == alone[: len(together)]
    else:
        wrapped = alone * (len(together) // len(alone) + 1)
        assert together == wrapped[: len(together)]
    if sizes["drop_last"]:
        assert rows == sizes["length"] // world_size // sizes["batch_size"] * sizes["batch_size"]
    else:
        assert rows == -(-sizes["length"] // world_size)


def test_ranks_are_disjoint_where_the_items_divide() -> None:
    orders = [make(60, shuffle=True, rank=r, world_size=4) for r in range(4)]
    shares = [set(flat(order)) for order in orders]
    assert sorted(i for share in shares for i in share) == list(range(60))


def test_drop_last_leaves_out_items_rather_than_repeating_them() -> None:
    orders = [make(10, batch_size=1, drop_last=True, rank=r, world_size=4) for r in range(4)]
    assert [flat(order) for order in orders] == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_more_ranks_than_items_repeat_them() -> None:
    orders = [make(2, rank=r, world_size=5) for r in range(5)]
    assert [flat(order) for order in orders] == [[0], [1], [0], [1], [0]]
    assert flat(make(2, rank=3, world_size=5, drop_last=True, batch_size=1)) == []


# ---------------------------------------------------------------- lengths


def test_an_empty_dataset_has_no_batches() -> None:
    for arguments in ({}, {"shuffle": True}, {"world_size": 3, "rank": 2}):
        order = make(0, **arguments)
        assert len(order) == 0
        assert flat(order) == []


def test_a_dataset_may_grow_between_epochs() -> None:
    dataset = Sized(4)
    order = OwnOrder(dataset, batch_size=2, seed=0)
    running = order.batches(0)
    dataset.length = 7
    assert [batch.indices.tolist() for batch in running] == [[0, 1], [2, 3]]
    assert len(order) == 4
    assert flat(order, 1) == list(range(7))


def test_a_dataset_that_grows_beyond_its_weights_is_an_error() -> None:
    dataset = Sized(4)
    order = OwnOrder(dataset, batch_size=2, seed=0, weights=np.ones(4))
    dataset.length = 5
    with pytest.raises(ValueError, match=r"5 items now, and weights has 4"):
        order.batches(0)


def test_a_billion_items_begin_anywhere_at_once() -> None:
    order = make(10**9, batch_size=256, shuffle=True)
    last = list(order.batches(2, start=len(order) - 1))
    assert len(order) == 3_906_250
    assert [(batch.first_row, len(batch.indices)) for batch in last] == [(999_999_744, 256)]


def test_make_order_makes_the_order_of_its_arguments() -> None:
    order = make_order(Sized(10), batch_size=3, seed=4, shuffle=True, rank=1, world_size=2)
    assert isinstance(order, OwnOrder)
    assert order.own
    assert order.batch_size == 3
    assert flat(order, 1) == flat(
        make(10, batch_size=3, seed=4, shuffle=True, rank=1, world_size=2), 1
    )
