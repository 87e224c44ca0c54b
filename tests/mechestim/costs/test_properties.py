"""Properties of prices that hold for all shapes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.costs.shaped import Shaped, shaped, symmetric

SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)
LENGTHS = st.integers(0, 300)
BATCHES = st.integers(1, 5)


def named(category: Category) -> Any:
    return st.sampled_from([op for op in OPS.values() if op.category is category])


@given(named(Category.UNARY), SHAPES)
def test_a_unary_price_is_the_number_of_elements(op: Any, shape: tuple[int, ...]) -> None:
    if op.name in ("isclose", "iscomplexobj", "isrealobj"):
        return
    cost = op.cost(Shaped(shape))
    assert type(cost) is int
    assert cost == shaped_size(shape)


def shaped_size(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


@given(named(Category.BINARY), SHAPES, st.integers(0, 4))
def test_a_binary_price_does_not_depend_on_the_order_of_operands(
    op: Any, shape: tuple[int, ...], dropped: int
) -> None:
    whole, part = Shaped(shape), Shaped(shape[dropped:])
    assert op.cost(whole, part) == op.cost(part, whole) == shaped_size(shape)


@given(named(Category.REDUCTION), SHAPES, st.data())
def test_a_reduction_costs_the_same_along_every_axis(
    op: Any, shape: tuple[int, ...], data: Any
) -> None:
    if not shape:
        return
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    args = (Shaped(shape), 50) if op.name.endswith(("tile",)) else (Shaped(shape),)
    passes = 2 if op.formula.startswith("2") else 1
    assert op.cost(*args, axis=axis) == passes * shaped_size(shape)


@given(st.sampled_from(["sort", "argsort", "partition", "argpartition"]), LENGTHS, BATCHES)
def test_a_batch_costs_batch_times_one(name: str, n: int, batch: int) -> None:
    cost = OPS[name].cost
    assert cost is not None
    extra = {"kth": 0} if "partition" in name and n else {"kth": ()} if "partition" in name else {}
    one = cost(shaped(n), **extra)
    assert cost(shaped(batch, n), **extra) == batch * one
    assert cost(shaped(n, batch), axis=0, **extra) == batch * one


@given(st.sampled_from(["cross", "polyfit", "geomspace", "logspace"]), st.integers(1, 30), BATCHES)
def test_a_batch_of_other_operations_costs_batch_times_one(name: str, n: int, batch: int) -> None:
    cost = OPS[name].cost
    assert cost is not None
    one: dict[str, tuple[Any, ...]] = {
        "cross": (shaped(3), shaped(3)),
        "polyfit": (shaped(n), shaped(n), 3),
        "geomspace": (1, 2, n),
        "logspace": (1, 2, n),
    }
    many: dict[str, tuple[Any, ...]] = {
        "cross": (shaped(batch, 3), shaped(3)),
        "polyfit": (shaped(n), shaped(n, batch), 3),
        "geomspace": (shaped(batch), 2, n),
        "logspace": (1, shaped(batch), n),
    }
    assert cost(*many[name]) == batch * cost(*one[name])


@given(
    st.sampled_from(["sort", "unique", "bincount", "ediff1d", "roots", "poly", "vander", "cov"]),
    LENGTHS,
)
def test_more_elements_never_cost_less(name: str, n: int) -> None:
    cost = OPS[name].cost
    assert cost is not None
    assert cost(shaped(n)) <= cost(shaped(n + 1))


@settings(max_examples=50)
@given(st.integers(1, 7), st.integers(1, 3))
def test_symmetry_makes_pointwise_work_and_reductions_cheaper_and_sorting_not(
    n: int, order: int
) -> None:
    tensor, dense = symmetric(*[n] * order), shaped(*[n] * order)
    unique = brute_force(n, order)
    for name in ("exp", "sum", "max", "cumsum", "nan_to_num", "real"):
        cost = OPS[name].cost
        assert cost is not None
        assert cost(tensor) == unique
        assert cost(dense) == n**order
    for name in ("sort", "unique", "diff"):
        cost = OPS[name].cost
        assert cost is not None
        assert cost(tensor) == cost(dense)


def brute_force(n: int, order: int) -> int:
    """Return the number of distinct elements: one for each sorted index."""
    from itertools import product

    return len({tuple(sorted(index)) for index in product(range(n), repeat=order)})


def test_prices_are_exact_beyond_64_bits() -> None:
    cost = OPS["cov"].cost
    assert cost is not None
    assert cost(shaped(2**30, 2**20)) == 2**80
    multiply = OPS["multiply"].cost
    assert multiply is not None
    assert multiply(shaped(2**40, 1), shaped(2**40)) == 2**80


@pytest.mark.parametrize(
    ("name", "args", "at_least"),
    [
        ("tile", (shaped(10), 10**9), 8 * 10**10),
        ("repeat", (shaped(10), 10**9), 8 * 10**10),
        ("pad", (shaped(2, 2), 10**5), 8 * 4 * 10**10),
        ("meshgrid", (shaped(10**5), shaped(10**5)), 16 * 10**10),
        ("indices", ((10**5, 10**5),), 16 * 10**10),
        ("eye", (10**5,), 8 * 10**10),
        ("tri", (10**5,), 8 * 10**10),
        ("identity", (10**5,), 8 * 10**10),
        ("zeros", ((10**5, 10**5),), 8 * 10**10),
        ("full", (10**10, 1.5), 8 * 10**10),
        ("vander", (shaped(10**5),), 8 * 10**10),
        ("resize", (shaped(2), (10**5, 10**5)), 8 * 10**10),
        ("linspace", (0, 1, 10**10), 8 * 10**10),
        ("arange", (10**10,), 8 * 10**10),
        ("logspace", (0, 1, 10**10), 8 * 10**10),
        ("geomspace", (1, 2, 10**10), 8 * 10**10),
        ("histogram", (shaped(3), 10**10), 8 * 10**10),
        ("histogramdd", (shaped(3, 5), 100), 8 * 10**10),
        ("histogram2d", (shaped(3), shaped(3), 10**5), 8 * 10**10),
        ("convolve", (shaped(10**9), shaped(10**9)), 8 * 2 * 10**9),
        ("diag", (shaped(10**5),), 8 * 10**10),
        ("diagflat", (shaped(10**5),), 8 * 10**10),
        ("add", (shaped(10**5, 1), shaped(10**5)), 8 * 10**10),
        ("tril_indices", (10**5,), 8 * 10**10),
        ("mask_indices", (10**5, abs), 8 * 10**10),
        ("kaiser", (10**10, 1.0), 8 * 10**10),
        ("unpackbits", (shaped(10),), 80),
        ("nonzero", (shaped(10**5, 10**5),), 16 * 10**10),
        ("cov", (shaped(10**5, 2),), 8 * 10**10),
        ("take", (shaped(10, 10**5), shaped(10**5)), 8 * 10**5),
        ("bincount", ([1, 10**10],), 8 * 10**10),
        ("bincount", ([1], None, 10**10), 8 * 10**10),
    ],
)  # fmt: skip
def test_the_memory_of_huge_results_is_bounded_before_they_exist(
    name: str, args: tuple[Any, ...], at_least: int
) -> None:
    rule = OPS[name].result_bytes
    assert rule is not None
    assert rule(*args) >= at_least
