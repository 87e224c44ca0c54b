"""Every draw gives NumPy's numbers for the same seed, and costs its size."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS
from tests.mechestim.backend_mode import same_class
from tests.mechestim.random.draws import Call, calls

OWNERS = ("module", "RandomState", "Generator")
EACH = [(owner, name) for owner in OWNERS for name in sorted({call[0] for call in calls(owner)})]
PREFIX = {
    "module": "random.",
    "RandomState": "random.RandomState.",
    "Generator": "random.Generator.",
}


def pair(owner: str, seed: int = 11) -> tuple[Any, Any]:
    """Return a counted generator and NumPy's, with the same seed."""
    if owner == "Generator":
        return me.random.default_rng(seed), np.random.default_rng(seed)
    if owner == "RandomState":
        return me.random.RandomState(seed), np.random.RandomState(seed)
    me.random.seed(seed)
    return me.random, np.random.RandomState(seed)


def numpy_method(theirs: Any, name: str) -> Any:
    return getattr(theirs, {"ranf": "random_sample", "sample": "random_sample"}.get(name, name))


def calls_of(owner: str, name: str) -> list[Call]:
    return [call for call in calls(owner) if call[0] == name]


@pytest.mark.parametrize(("owner", "name"), EACH)
def test_a_draw_gives_numpys_numbers_and_costs_its_size(owner: str, name: str) -> None:
    for _, args, kwargs, flops in calls_of(owner, name):
        ours, theirs = pair(owner)
        own_kwargs = copy.deepcopy(kwargs)
        expected = numpy_method(theirs, name)(*args, **copy.deepcopy(kwargs))
        with me.BudgetContext(10**9, quiet=True) as budget:
            got = getattr(ours, name)(*args, **own_kwargs)
        assert budget.flops_used == flops, (args, kwargs)
        assert list(budget.summary_dict()["operations"]) == [OPS[PREFIX[owner] + name].book_name]
        if isinstance(expected, (np.ndarray, np.number)):
            assert isinstance(got, me.ndarray) or got is own_kwargs.get("out")
            np.testing.assert_array_equal(np.asarray(got), np.asarray(expected), strict=True)
        else:
            assert type(got) is type(expected)
            assert got == expected
        follow = numpy_method(theirs, "standard_normal")(3)
        np.testing.assert_array_equal(np.asarray(ours.standard_normal(3)), follow)


@pytest.mark.parametrize(("owner", "name"), EACH)
def test_counted_parameters_cost_and_give_the_same(owner: str, name: str) -> None:
    for _, args, kwargs, flops in calls_of(owner, name):
        ours, theirs = pair(owner)
        counted = [me.array(a) if isinstance(a, np.ndarray) else a for a in args]
        expected = numpy_method(theirs, name)(*args, **copy.deepcopy(kwargs))
        with me.BudgetContext(10**9, quiet=True) as budget:
            got = getattr(ours, name)(*counted, **copy.deepcopy(kwargs))
        assert budget.flops_used == flops, (args, kwargs)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected), strict=True)


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@pytest.mark.parametrize("owner", OWNERS)
@settings(deadline=None)
@given(loc=shapes, scale=shapes, size=st.none() | st.integers(0, 4) | shapes)
def test_the_price_of_any_shapes_is_the_size_of_the_result(
    owner: str, loc: Any, scale: Any, size: Any
) -> None:
    rule = OPS[f"{PREFIX[owner]}normal"].cost
    assert rule is not None
    operands = np.zeros(loc), np.ones(scale), size
    try:
        result = pair(owner)[1].normal(*operands)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            rule(*operands)
    else:
        assert rule(*operands) == np.size(result)


@settings(deadline=None)
@given(trials=shapes, chances=shapes, size=st.none() | shapes)
def test_the_price_of_vector_draws_is_the_size_of_the_result(
    trials: Any, chances: Any, size: Any
) -> None:
    rule = OPS["random.Generator.multinomial"].cost
    assert rule is not None
    operands = np.full(trials, 3), np.full((*chances, 2), 0.5), size
    try:
        result = np.random.default_rng(1).multinomial(*operands)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            rule(*operands)
    else:
        assert rule(*operands) == result.size


@pytest.mark.parametrize("owner", OWNERS)
def test_every_drawing_operation_is_called_here(owner: str) -> None:
    prefix = PREFIX[owner]
    drawing = {
        name.removeprefix(prefix)
        for name, op in OPS.items()
        if op.counted and name.startswith(prefix) and "." not in name.removeprefix(prefix)
    }
    elsewhere = {"shuffle", "random_integers"}
    assert drawing - elsewhere == {name for name, *_ in calls(owner)}


@pytest.mark.parametrize("owner", OWNERS)
def test_results_fit_into_the_predicted_bytes(owner: str) -> None:
    _, theirs = pair(owner)
    for name, args, kwargs, _ in calls(owner):
        op = OPS[PREFIX[owner] + name]
        assert op.result_bytes is not None
        assert op.scratch_bytes is not None
        result = numpy_method(theirs, name)(*args, **copy.deepcopy(kwargs))
        size = len(result) if isinstance(result, bytes) else np.asarray(result).nbytes
        if "out" in kwargs:
            size = 0
        assert size <= op.result_bytes(*args, **kwargs)
        assert op.scratch_bytes(*args, **kwargs) >= 0


def test_the_predicted_bytes_of_an_urn_that_is_counted_include_its_balls() -> None:
    scratch = OPS["random.Generator.multivariate_hypergeometric"].scratch_bytes
    assert scratch is not None
    assert scratch(np.array([10**9, 5]), 3, method="count") >= 8 * 10**9
    assert scratch([10**9, 5], 3) < 100


@pytest.mark.parametrize("owner", ["module", "RandomState"])
def test_random_integers_draws_and_warns(owner: str) -> None:
    ours, theirs = pair(owner)
    with pytest.warns(DeprecationWarning, match="call randint"):
        expected = theirs.random_integers(3, 9, (2, 3))
    with me.BudgetContext(100, quiet=True) as budget:
        with pytest.warns(DeprecationWarning, match="call randint"):
            got = ours.random_integers(3, 9, (2, 3))
    assert budget.flops_used == 6
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("owner", OWNERS)
def test_shuffling_happens_in_place(owner: str) -> None:
    ours, theirs = pair(owner)
    plain, counted, rows = np.arange(16), me.arange(16), me.arange(12).reshape(6, 2)
    items = [me.array([i]) for i in range(5)]
    members = list(items)
    expected_items = list(range(5))
    with me.BudgetContext(1000, quiet=True) as budget:
        assert ours.shuffle(plain) is None
        ours.shuffle(counted)
        ours.shuffle(rows[::2])
        ours.shuffle(items)
    assert budget.flops_used == 64 + 64 + 3 * 2 + 5 * 3
    expected, again, third = np.arange(16), np.arange(16), np.arange(12).reshape(6, 2)
    theirs.shuffle(expected)
    theirs.shuffle(again)
    theirs.shuffle(third[::2])
    theirs.shuffle(expected_items)
    np.testing.assert_array_equal(plain, expected)
    np.testing.assert_array_equal(np.asarray(counted), again)
    np.testing.assert_array_equal(np.asarray(rows), third)
    assert all(item is members[i] for item, i in zip(items, expected_items, strict=True))


def test_a_generator_shuffles_along_an_axis() -> None:
    ours, theirs = pair("Generator")
    got, expected = me.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4)
    with me.BudgetContext(1000, quiet=True) as budget:
        ours.shuffle(got, axis=1)
    theirs.shuffle(expected, axis=1)
    assert budget.flops_used == 4 * 2
    np.testing.assert_array_equal(np.asarray(got), expected)


def test_out_is_filled_and_returned() -> None:
    ours, theirs = pair("Generator")
    out = me.zeros((2, 3))
    assert ours.standard_normal(out=out) is out
    np.testing.assert_array_equal(np.asarray(out), theirs.standard_normal((2, 3)))
    assert ours.permuted(out, axis=1, out=out) is out


def test_a_counted_scalar_stands_for_a_number() -> None:
    ours, theirs = pair("module")
    count = me.sum(me.array([2, 3]))
    np.testing.assert_array_equal(ours.permutation(count), theirs.permutation(5))
    np.testing.assert_array_equal(ours.randn(count), theirs.randn(5))
    np.testing.assert_array_equal(ours.choice(count, size=count), theirs.choice(5, size=5))
    np.testing.assert_array_equal(ours.normal(count, size=count), theirs.normal(5, size=5))


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("normal", (0, -1), {}),
        ("normal", (0, 1, -1), {}),
        ("normal", (0, 1, 2.5), {}),
        ("normal", ([0, 1, 2], 1, 2), {}),
        ("normal", ([0, 1], [1, 2, 3]), {}),
        ("normal", (0, 1, 2, 3), {}),
        ("normal", (), {"sigma": 1}),
        ("gamma", (), {}),
        ("dirichlet", (1.0,), {}),
        ("choice", (5, 6, False), {}),
        ("choice", (0, 1), {}),
        ("choice", (5, 2), {"p": [1.0]}),
        ("permutation", (-1.5,), {}),
        ("bytes", ("a",), {}),
        ("multivariate_normal", ([1.0, 2.0], np.eye(3)), {}),
        ("shuffle", (5,), {}),
    ],
)
def test_a_draw_that_numpy_refuses_is_not_charged_and_draws_nothing(
    owner: str, name: str, args: Any, kwargs: dict[str, Any]
) -> None:
    ours, theirs = pair(owner)
    with pytest.raises(Exception, match=".") as numpys:
        getattr(theirs, name)(*args, **kwargs)
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises(Exception, match=".") as got:
            getattr(ours, name)(*args, **kwargs)
    assert same_class(type(got.value), type(numpys.value))
    assert str(got.value) == str(numpys.value)
    assert budget.flops_used == 0
    np.testing.assert_array_equal(np.asarray(ours.standard_normal(3)), theirs.standard_normal(3))


@pytest.mark.parametrize("owner", OWNERS)
def test_a_parameter_refused_for_its_values_costs_but_draws_nothing(owner: str) -> None:
    ours, theirs = pair(owner)
    with me.BudgetContext(100, quiet=True) as budget:
        with pytest.raises(ValueError, match="scale < 0"):
            ours.normal(0.0, me.array([1.0, -1.0]))
    assert budget.flops_used == 2
    np.testing.assert_array_equal(np.asarray(ours.standard_normal(3)), theirs.standard_normal(3))


@pytest.mark.parametrize("owner", OWNERS)
def test_a_draw_that_exceeds_the_budget_leaves_the_generator_unchanged(owner: str) -> None:
    ours, theirs = pair(owner)
    with me.BudgetContext(9, quiet=True) as budget:
        with pytest.raises(me.BudgetExhaustedError, match="normal would cost 10 FLOPs"):
            ours.normal(size=10)
    assert budget.flops_used == 0
    np.testing.assert_array_equal(np.asarray(ours.standard_normal(3)), theirs.standard_normal(3))
