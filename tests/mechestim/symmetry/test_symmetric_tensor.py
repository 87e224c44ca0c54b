"""SymmetricTensor: declared, charged, kept and lost."""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.symmetry.info import SymmetryInfo


def matrix(n: int = 6, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).random((n, n)) + 0.5
    return values + values.T


def cube(n: int = 3) -> np.ndarray:
    values = np.random.default_rng(0).random((n, n, n))
    return sum(values.transpose(order) for order in itertools.permutations(range(3)))  # type: ignore[return-value]


@pytest.fixture
def budget() -> Iterator[Any]:
    with me.BudgetContext(10**9, quiet=True) as found:
        yield found


def cost(budget: Any, call: Any) -> int:
    used = budget.flops_used
    call()
    return int(budget.flops_used - used)


@pytest.fixture
def s() -> Any:
    return me.as_symmetric(matrix(), (0, 1))


@pytest.fixture
def silent() -> Iterator[None]:
    me.configure(symmetry_warnings=False)
    yield
    me.configure(symmetry_warnings=True)


# -------------------------------------------------------------------------------------- declaration


def test_a_tensor_has_its_symmetry_as_attributes(s: Any) -> None:
    assert isinstance(s, me.SymmetricTensor)
    assert isinstance(s, me.ndarray)
    assert s.symmetric_axes == [(0, 1)]
    assert s.symmetry_info == SymmetryInfo(((0, 1),), (6, 6))
    assert s.is_symmetric()
    assert s.is_symmetric((0, 1))


def test_declaring_a_symmetry_is_free_and_copies(budget: Any) -> None:
    data = me.array(matrix())
    s = me.as_symmetric(data, [(0, 1)])
    data[0, 1] = 99
    assert budget.flops_used == 1
    assert s[0, 1] == s[1, 0] != 99


def test_data_that_is_not_symmetric_is_refused_with_the_largest_deviation() -> None:
    data = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 7.0], [3.5, 2.0, 1.0]])
    with pytest.raises(me.SymmetryError, match=r"\(0, 1\).*largest deviation is 5") as refused:
        me.as_symmetric(data, (0, 1))
    assert refused.value.axes == (0, 1)
    assert refused.value.max_deviation == 5


def test_a_deviation_within_the_tolerance_is_accepted() -> None:
    data = matrix()
    data[0, 1] += 1e-7
    assert me.as_symmetric(data, (0, 1)).is_symmetric()
    assert not me.is_symmetric(data, (0, 1), atol=0, rtol=1e-12)


def test_integers_are_compared_exactly() -> None:
    data = np.array([[0, 10**9], [10**9 + 1, 0]])
    assert not me.is_symmetric(data, (0, 1))
    with pytest.raises(me.SymmetryError) as refused:
        me.as_symmetric(data, (0, 1))
    assert refused.value.max_deviation == 1
    extreme = np.array([[0, -(2**63)], [2**63 - 1, 0]])
    with pytest.raises(me.SymmetryError) as refused:
        me.as_symmetric(extreme, (0, 1))
    assert refused.value.max_deviation == 2.0**64


def test_nan_and_infinity_may_be_symmetric_too() -> None:
    data = np.array([[np.nan, np.inf], [np.inf, np.nan]])
    assert me.is_symmetric(data, (0, 1))
    assert not me.is_symmetric(np.array([[0, np.inf], [-np.inf, 0]]), (0, 1))
    assert not me.is_symmetric(np.array([[0, np.nan], [0, 0]]), (0, 1))


@pytest.mark.parametrize(
    ("axes", "words"),
    [((0, 2), "out of bounds"), ((0,), "two axes or more"), ((0, 0), "twice"), ([], "two axes")],
)
def test_invalid_axes_are_refused(axes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        me.as_symmetric(matrix(), axes)


def test_axes_of_different_lengths_are_refused_and_never_symmetric() -> None:
    with pytest.raises(ValueError, match="lengths"):
        me.as_symmetric(np.ones((3, 4)), (0, 1))
    assert not me.is_symmetric(np.ones((3, 4)), (0, 1))


def test_groups_of_three_axes_need_every_exchange() -> None:
    half = np.random.default_rng(1).random((3, 3, 3))
    half = half + half.swapaxes(0, 1)
    assert me.is_symmetric(half, (0, 1))
    assert not me.is_symmetric(half, (0, 1, 2))
    assert me.is_symmetric(cube(), (0, 1, 2))
    assert me.as_symmetric([[1, 2], [2, 3]], (0, 1)).symmetric_axes == [(0, 1)]


# ---------------------------------------------------------------------------------------- charges


def test_prices_of_worked_examples(budget: Any, s: Any) -> None:
    dense = me.ones((6, 6))
    me.configure(symmetry_warnings=False)
    try:
        budgeted = [
            (lambda: me.exp(me.as_symmetric(matrix(10), (0, 1))), 55),
            (lambda: s + s, 21),
            (lambda: s + dense, 36),
            (lambda: s * 2, 21),
            (lambda: s.sum(), 21),
            (lambda: me.sum(s, axis=0), 21),
            (lambda: s.mean(axis=0), 21),
            (lambda: me.std(s), 42),
            (lambda: me.sort(s), 108),
            (lambda: me.linalg.inv(s), 72 + 108),
            (lambda: me.linalg.det(s), 72),
            (lambda: me.linalg.solve(s, me.ones(6)), 72 + 6),
            (lambda: s @ dense, 432),
            (lambda: s @ s, 252),
            (lambda: me.einsum("ij,j->i", s, dense[0]), 72),
            (lambda: np.exp(s), 21),
            (lambda: np.add(s, s), 21),
            (lambda: -s, 21),
            (lambda: me.clip(s, 0, 1), 21),
            (lambda: np.exp(s, where=dense > 2, out=me.zeros((6, 6))), 36 + 36),
            (lambda: s.T, 0),
            (lambda: s.copy(), 0),
        ]
        for number, (call, expected) in enumerate(budgeted):
            # ones() of an operand costs nothing; it is created inside, where it is not shared
            assert cost(budget, call) == expected, number
    finally:
        me.configure(symmetry_warnings=True)


def test_a_tensor_pays_for_the_elements_that_differ(budget: Any) -> None:
    t = me.as_symmetric(cube(), (0, 1, 2))
    different = len(np.unique(np.round(np.asarray(t), 9)))
    assert cost(budget, lambda: me.exp(t)) == different == 10
    assert cost(budget, lambda: t.sum(axis=1)) == 10
    assert cost(budget, lambda: me.exp(t.sum(axis=1))) == 10 + 6


# -------------------------------------------------------------------------------- what keeps it

KEPT = [
    ("exp", lambda s: me.exp(s), ((0, 1),)),
    ("negative", lambda s: -s, ((0, 1),)),
    ("sum of two", lambda s: s + s, ((0, 1),)),
    ("scalar", lambda s: 2 - s * 3.0, ((0, 1),)),
    ("one element", lambda s: s + np.ones((1, 1)), ((0, 1),)),
    ("comparison", lambda s: s > 1, ((0, 1),)),
    ("numpy ufunc", lambda s: np.maximum(s, 0), ((0, 1),)),
    ("where", lambda s: me.where(s > 1, s, 0), ((0, 1),)),
    ("clip", lambda s: me.clip(s, 0, 1), ((0, 1),)),
    ("round", lambda s: s.round(2), ((0, 1),)),
    ("T", lambda s: s.T, ((0, 1),)),
    ("mT", lambda s: s.mT, ((0, 1),)),
    ("transpose", lambda s: s.transpose(1, 0), ((0, 1),)),
    ("transpose of a tuple", lambda s: s.transpose((1, 0)), ((0, 1),)),
    ("me.transpose", lambda s: me.transpose(s), ((0, 1),)),
    ("swapaxes", lambda s: s.swapaxes(0, 1), ((0, 1),)),
    ("moveaxis", lambda s: np.moveaxis(s, 0, 1), ((0, 1),)),
    ("copy", lambda s: s.copy(), ((0, 1),)),
    ("me.copy", lambda s: me.copy(s), ((0, 1),)),
    ("copy.copy", copy.copy, ((0, 1),)),
    ("deepcopy", copy.deepcopy, ((0, 1),)),
    ("pickle", lambda s: pickle.loads(pickle.dumps(s)), ((0, 1),)),
    ("astype", lambda s: s.astype("f4"), ((0, 1),)),
    ("whole slice", lambda s: s[:], ((0, 1),)),
    ("new axis", lambda s: s[None], ((1, 2),)),
    ("expand_dims", lambda s: me.expand_dims(s, 1), ((0, 2),)),
    ("squeeze", lambda s: s[:, None].squeeze(), ((0, 1),)),
    ("reshape to itself", lambda s: s.reshape(6, 6), ((0, 1),)),
    ("inv", lambda s: me.linalg.inv(s), ((0, 1),)),
]  # fmt: skip
LOST = [
    ("dense operand", lambda s: s + np.ones((6, 6)), True),
    ("vector", lambda s: s * np.ones(6), True),
    ("slice", lambda s: s[:3], True),
    ("reversed", lambda s: s[::-1], True),
    ("index array", lambda s: s[[0, 1]], True),
    ("mask", lambda s: s[np.asarray(s) > 1], True),
    ("reshape", lambda s: s.reshape(36), True),
    ("cumsum", lambda s: me.cumsum(s, axis=0), True),
    ("row", lambda s: s[0], False),
    ("element", lambda s: s[0, 1], False),
    ("reduction", lambda s: s.sum(axis=0), False),
    ("full reduction", lambda s: s.sum(), False),
    ("matmul", lambda s: s @ s, False),
    ("sort", lambda s: me.sort(s), False),
    ("cholesky", lambda s: me.linalg.eigvalsh(s), False),
    ("einsum", lambda s: me.einsum("ij,jk", s, s), False),
    ("array", lambda s: me.array(s), False),
    ("out", lambda s: np.exp(s, out=me.zeros((6, 6))), False),
    ("ravel", lambda s: s.ravel(), False),
    ("view", lambda s: s.view(), False),
]


@pytest.mark.parametrize(("operation", "axes"), [x[1:] for x in KEPT], ids=[x[0] for x in KEPT])
def test_an_operation_that_keeps_symmetry_keeps_it_without_a_warning(
    s: Any, operation: Any, axes: Any
) -> None:
    plain = operation(me.array(matrix()))
    result = operation(s)
    assert isinstance(result, me.SymmetricTensor)
    assert result.symmetric_axes == list(axes)
    assert result.is_symmetric()
    np.testing.assert_array_equal(np.asarray(result), np.asarray(plain))
    assert result.dtype == plain.dtype


@pytest.mark.parametrize(("operation", "warned"), [x[1:] for x in LOST], ids=[x[0] for x in LOST])
def test_an_operation_that_loses_symmetry_warns(s: Any, operation: Any, warned: bool) -> None:
    plain = operation(me.array(matrix()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = operation(s)
    assert getattr(result, "symmetry_info", None) is None
    assert not isinstance(result, me.SymmetricTensor)
    np.testing.assert_allclose(np.asarray(result), np.asarray(plain))
    assert [w.category for w in caught] == [me.SymmetryLossWarning] * warned
    assert all(w.filename == __file__ for w in caught)


def test_functions_with_two_results_keep_the_symmetry_in_both(s: Any) -> None:
    whole, rest = me.divmod(s, 2)
    fraction, integral = me.modf(s)
    for part in (whole, rest, fraction, integral):
        assert part.symmetric_axes == [(0, 1)]


def test_a_tensor_of_more_axes_keeps_the_remaining_groups() -> None:
    t = me.as_symmetric(cube(), (0, 1, 2))
    assert t[0].symmetric_axes == [(0, 1)]
    assert t.sum(axis=0).symmetric_axes == [(0, 1)]
    assert t.max(axis=1, keepdims=True).symmetric_axes == [(0, 2)]
    assert np.add.reduce(t, axis=0).symmetry_info is None or t.sum(0).is_symmetric()
    with pytest.warns(me.SymmetryLossWarning, match=r"axes \(0, 1, 2\)"):
        assert t[:2].symmetric_axes == [(1, 2)]


def test_the_inverse_of_a_batch_keeps_the_symmetry_of_the_batch() -> None:
    values = matrix(3) + 9 * np.eye(3)
    batch = np.array([[values, values * 2], [values * 2, values * 3]])
    s = me.as_symmetric(batch, [(0, 1), (2, 3)])
    assert me.linalg.inv(s).symmetric_axes == [(0, 1), (2, 3)]


def test_the_warning_can_be_switched_off(s: Any, silent: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s + np.ones((6, 6))
        s[0, 1] = 3


@pytest.mark.local_only("warnings")
def test_a_warning_that_is_an_error_leaves_the_budget_whole(budget: Any, s: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(me.SymmetryLossWarning):
            s[0, 1] = 3
    assert budget.flops_used == 0
    assert budget.flops_remaining == 10**9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([x[1] for x in KEPT if x[0] not in ("new axis", "inv")]), max_size=4)
)
def test_a_symmetry_kept_through_a_chain_of_operations_holds_for_the_values(
    chain: list[Any],
) -> None:
    x: Any = me.as_symmetric(matrix(4), (0, 1))
    plain: Any = me.array(matrix(4))
    with me.errstate(all="ignore"):
        for operation in chain:
            if x.shape != (4, 4):
                break
            if plain.dtype == bool:
                return
            try:
                plain = operation(plain)
            except ValueError:  # reshape to 6 x 6
                return
            x = operation(x)
    assert x.symmetric_axes
    assert x.is_symmetric()
    np.testing.assert_array_equal(np.asarray(x), np.asarray(plain))
