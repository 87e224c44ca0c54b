"""Prices are functions of shapes, never of values; a batch of n costs n times one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mechestim as me
from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.call_forms import call_forms
from tests.mechestim.parity.cases import CASES, FAMILIES, some
from tests.mechestim.parity.outcomes import observed
from tests.mechestim.parity.specs import A, Case, build

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Shaped:
    """An array that has a shape and a dtype and nothing else."""

    symmetry_info = None

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self.ndim, self.size, self.itemsize = array.ndim, array.size, array.itemsize
        self.nbytes = array.nbytes

    def __len__(self) -> int:
        return int(self.shape[0])


def shapes_only(value: Any, known: dict[int, Shaped]) -> Any:
    """Return `value` with a `Shaped` for every array, the same one for the same array."""
    if isinstance(value, np.ndarray):
        return known.setdefault(id(value), Shaped(value))
    if isinstance(value, (list, tuple)):
        return type(value)([shapes_only(item, known) for item in value])
    return value


def rule_arguments(case: Case, xp: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments for the price rule of `case`, without a leading generator."""
    args, kwargs = build(case, xp)
    owned = case.op.startswith("random.") and case.op.count(".") == 2
    return (args[1:] if owned else args), kwargs


def answer(rule: Any, args: Any, kwargs: Any) -> Any:
    """Return the price by a rule, or the error that it raises."""
    try:
        return rule(*args, **kwargs)
    except Exception:
        return "refused"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_price_depends_on_shapes_types_and_plain_arguments_only(family: str) -> None:
    for name in FAMILIES[family]:
        rule = OPS[name].cost
        for case in CASES[name] if rule else ():
            args, kwargs = rule_arguments(case, np)
            known: dict[int, Shaped] = {}
            bare = [shapes_only(value, known) for value in args]
            bare_kwargs = {key: shapes_only(value, known) for key, value in kwargs.items()}
            assert answer(rule, bare, bare_kwargs) == answer(rule, args, kwargs), str(case)


def other_data(value: Any) -> Any:
    """Return arguments of the same shapes and types with other values."""
    if isinstance(value, A) and value.fill in (
        "mixed",
        "positive",
        "unit",
        "few",
        "definite",
        "odd",
    ):
        return replace(value, seed=value.seed + 5)
    if isinstance(value, (list, tuple)):
        return type(value)([other_data(item) for item in value])
    return value


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_charges_do_not_depend_on_values(family: str) -> None:
    for name in FAMILIES[family]:
        for case in some(name, 5) if OPS[name].counted else ():
            kwargs = {key: other_data(value) for key, value in case.kwargs.items()}
            again = replace(case, args=other_data(case.args), kwargs=kwargs)
            if again == case:
                continue
            for form, call in call_forms(case):
                one, other = observed(case, call), observed(again, call)
                if one.error is None and other.error is None:
                    assert other.charges == one.charges, f"{case} by {form}"


# Batches ----

_MATRICES = [
    "cholesky",
    "qr",
    "svd",
    "svdvals",
    "eig",
    "eigvals",
    "eigh",
    "eigvalsh",
    "inv",
    "det",
    "slogdet",
    "pinv",
    "matrix_norm",
    "cond",
    "matrix_rank",
]
_LAST_AXIS = [
    "fft.fft",
    "fft.ifft",
    "fft.rfft",
    "fft.irfft",
    "fft.hfft",
    "fft.ihfft",
    "sort",
    "argsort",
]
_TWO_AXES = ["fft.fft2", "fft.ifft2", "fft.rfft2", "fft.irfft2"]
_ELEMENTS = [
    "exp",
    "sqrt",
    "negative",
    "absolute",
    "around",
    "clip",
    "sum",
    "mean",
    "std",
    "cumsum",
    "diff",
]


def shaped(*shape: int) -> Any:
    """Return an array of `shape` that takes no memory."""
    return np.broadcast_to(np.float64(1.0), shape)


def price(name: str, *args: Any, **kwargs: Any) -> int:
    rule = OPS[name].cost
    assert rule is not None
    return rule(*args, **kwargs)


_BATCH = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@quick
@given(name=st.sampled_from(_MATRICES), batch=_BATCH, n=st.integers(1, 40))
def test_a_stack_of_matrices_costs_as_many_matrices(
    name: str, batch: tuple[int, ...], n: int
) -> None:
    op = f"linalg.{name}"
    assert price(op, shaped(*batch, n, n)) == int(np.prod(batch)) * price(op, shaped(n, n))


@quick
@given(batch=_BATCH, m=st.integers(1, 20), k=st.integers(1, 20), n=st.integers(1, 20))
def test_a_stack_of_products_costs_as_many_products(
    batch: tuple[int, ...], m: int, k: int, n: int
) -> None:
    count = int(np.prod(batch))
    single = price("matmul", shaped(m, k), shaped(k, n))
    assert single == 2 * m * k * n
    assert price("matmul", shaped(*batch, m, k), shaped(k, n)) == count * single
    assert price("matmul", shaped(m, k), shaped(*batch, k, n)) == count * single
    assert price("matmul", shaped(*batch, m, k), shaped(*batch, k, n)) == count * single
    assert price("linalg.solve", shaped(*batch, m, m), shaped(*batch, m, n)) == count * price(
        "linalg.solve", shaped(m, m), shaped(m, n)
    )


@quick
@given(name=st.sampled_from(_LAST_AXIS), batch=_BATCH, n=st.integers(2, 70))
def test_many_vectors_cost_as_many_vectors(name: str, batch: tuple[int, ...], n: int) -> None:
    assert price(name, shaped(*batch, n)) == int(np.prod(batch)) * price(name, shaped(n))


@quick
@given(name=st.sampled_from(_TWO_AXES), batch=_BATCH, m=st.integers(2, 9), n=st.integers(2, 9))
def test_many_images_cost_as_many_images(name: str, batch: tuple[int, ...], m: int, n: int) -> None:
    assert price(name, shaped(*batch, m, n)) == int(np.prod(batch)) * price(name, shaped(m, n))


@quick
@given(name=st.sampled_from(_ELEMENTS), shape=_BATCH, batch=_BATCH)
def test_prices_grow_in_proportion_to_the_elements(
    name: str, shape: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    assert price(name, shaped(*batch, *shape)) == int(np.prod(batch)) * price(name, shaped(*shape))


# Sums ----

_STEPS = {
    "x + y": lambda x, y: x + y,
    "x * 2": lambda x, y: x * 2.0,
    "x / y": lambda x, y: x / (y * y + 1.0),
    "np.exp": lambda x, y: np.exp(-x * x),
    "sum": lambda x, y: x - x.sum(axis=0),
    "np.sort": lambda x, y: np.sort(x, axis=0),
    "x @ x.T": lambda x, y: x @ x.T @ x,
    "x += y": lambda x, y: x.__iadd__(y),
    "view": lambda x, y: x[::-1].reshape(x.shape),
    "maximum": lambda x, y: np.maximum(x, 0.5),
    "mean": lambda x, y: x - np.mean(x),
    "clip": lambda x, y: x.clip(-1, 1),
    "x[0] = 0": lambda x, y: x.__setitem__(0, 0.0) or x,
    "where": lambda x, y: np.where(x > y, x, y),
}


@quick
@given(
    steps=st.lists(st.sampled_from(sorted(_STEPS)), max_size=12),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
)
def test_a_program_costs_the_sum_of_its_parts_and_computes_what_numpy_computes(
    steps: list[str], rows: int, columns: int
) -> None:
    data = np.linspace(-1.0, 1.0, rows * columns).reshape(rows, columns)
    plain, other = data.copy(), data[::-1].copy()
    x, y = me.array(data), me.array(other)
    parts = 0
    with me.BudgetContext(10**9, quiet=True) as books:
        for step in steps:
            before = books.flops_used
            with np.errstate(all="ignore"), me.errstate(all="ignore"):
                x = _STEPS[step](x, y)
                parts += books.flops_used - before
                plain = _STEPS[step](plain, other)
            assert isinstance(x, me.ndarray)
        total = books.summary_dict()
    assert np.array_equal(np.asarray(x), np.asarray(plain), equal_nan=True)
    assert total["flops_used"] == parts == sum(e["flop_cost"] for e in total["operations"].values())
    assert total["flops_used"] + total["flops_remaining"] == total["flop_budget"] == 10**9
    with me.BudgetContext(max(1, parts), quiet=True) as exact:  # the whole of a budget may be spent
        x = me.array(data)
        y = me.array(data[::-1].copy())
        for step in steps:
            with me.errstate(all="ignore"):
                x = _STEPS[step](x, y)
        assert exact.flops_used == parts
        assert exact.flops_remaining == max(1, parts) - parts


@quick
@given(budget=st.integers(1, 200), sizes=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_a_budget_never_goes_below_zero(budget: int, sizes: list[int]) -> None:
    with me.BudgetContext(budget, quiet=True) as books:
        left = budget
        for size in sizes:
            x = me.ones(size)
            if max(1, size) > left:
                with pytest.raises(me.BudgetExhaustedError):
                    x + x
            else:
                x + x
                left -= max(1, size)
            assert books.flops_remaining == left >= 0
