"""The distributions of `stats`: reference values, properties, edge cases, prices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.local import normal_distribution
from shm_echo.mechestim.local import stats as plain_stats
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.registry.stats import PER_POINT

FUNCTIONS = ("pdf", "cdf", "ppf")
SHAPES: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("norm", "uniform", "expon", "cauchy", "logistic", "laplace"), ()),
    "lognorm": (0.75,),
    "truncnorm": (-1.0, 2.0),
}
EACH = [(name, function) for name in SHAPES for function in FUNCTIONS]


def table() -> list[tuple[str, str, float, tuple[float, ...], float]]:
    rows = []
    for line in (Path(__file__).parent / "reference.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, function, point, shapes, value = line.split("\t")
        rows.append((name, function, float(point), tuple(map(float, shapes.split())), float(value)))
    return rows


TABLE = table()


def of(name: str, function: str) -> Any:
    return getattr(getattr(plain_stats, name), function)


@pytest.mark.parametrize(("name", "function"), EACH)
def test_values_are_those_of_the_reference_table(name: str, function: str) -> None:
    rows = [row[2:] for row in TABLE if row[:2] == (name, function)]
    assert len(rows) >= 4
    for point, shapes, value in rows:
        got = of(name, function)(point, *shapes)
        assert got == pytest.approx(value, rel=1e-13, abs=0 if value else 1e-21), (point, shapes)


@pytest.mark.parametrize(("name", "function"), EACH)
def test_location_and_scale_move_the_standard_form(name: str, function: str) -> None:
    shapes, loc, scale = SHAPES[name], -3.0, 0.5
    points = np.linspace(0.0625, 0.9375, 8)
    at = points if function == "ppf" else points * scale + loc
    standard = of(name, function)(points, *shapes)
    moved = of(name, function)(at, *shapes, loc, scale)
    expected = {"pdf": standard / scale, "cdf": standard, "ppf": standard * scale + loc}[function]
    np.testing.assert_allclose(moved, expected, rtol=1e-15)
    names = {"lognorm": ["s"], "truncnorm": ["a", "b"]}.get(name, [])
    keywords = dict(zip(names, shapes, strict=True), loc=loc, scale=scale)
    np.testing.assert_array_equal(of(name, function)(at, **keywords), moved)


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(q=st.floats(1e-12, 1 - 1e-12))
def test_the_quantile_inverts_the_distribution_function(name: str, q: float) -> None:
    shapes = SHAPES[name]
    assert of(name, "cdf")(of(name, "ppf")(q, *shapes), *shapes) == pytest.approx(q, rel=1e-10)


@pytest.mark.parametrize("name", SHAPES)
def test_the_density_integrates_to_the_distribution_function(name: str) -> None:
    shapes = SHAPES[name]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for part in (0.25, 0.5):  # apart, for the Laplace density has a kink in the middle
        low, high = (of(name, "ppf")(q, *shapes) for q in (part, part + 0.25))
        x = (high - low) / 2 * nodes + (high + low) / 2
        integral = (high - low) / 2 * np.sum(weights * of(name, "pdf")(x, *shapes))
        assert integral == pytest.approx(0.25, rel=1e-12)


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None)
@given(x=st.floats(-50, 50), step=st.floats(0, 5))
def test_the_distribution_function_rises_from_0_to_1(name: str, x: float, step: float) -> None:
    low, high = (of(name, "cdf")(t, *SHAPES[name]) for t in (x, x + step))
    assert 0 <= low <= high + 1e-15 <= 1 + 1e-15
    assert of(name, "pdf")(x, *SHAPES[name]) >= 0


@settings(deadline=None)
@given(x=st.floats(0, 38))
def test_the_normal_tails_mirror_one_another(x: float) -> None:
    assert plain_stats.norm.cdf(-x) == pytest.approx(math.erfc(x / math.sqrt(2)) / 2, rel=2e-13)
    assert plain_stats.norm.pdf(x) == plain_stats.norm.pdf(-x)
    assert plain_stats.norm.cdf(x) == pytest.approx(1 - plain_stats.norm.cdf(-x), rel=3e-16)


@settings(deadline=None)
@given(a=st.floats(-40, 40), width=st.floats(1e-9, 3), part=st.floats(0, 1))
def test_a_truncated_quantile_lies_in_its_interval(a: float, width: float, part: float) -> None:
    b = a + width
    x = plain_stats.truncnorm.ppf(part, a, b)
    assert a <= x <= b
    fine = plain_stats.truncnorm.cdf(x, a, b)
    # An ulp of x is worth that much probability.
    slack = 4 * np.spacing(abs(x)) * plain_stats.truncnorm.pdf(x, a, b)
    assert fine == pytest.approx(part, rel=1e-12, abs=slack + 1e-300)


def test_the_far_tail_needs_no_truncation_within_reach_of_0() -> None:
    q = np.array([0.1, 0.5, 0.9])
    # Far out, the excess over a is exponential with rate a.
    for a in (1e3, 1e6):
        excess = plain_stats.truncnorm.ppf(q, a, np.inf) - a
        np.testing.assert_allclose(excess, -np.log1p(-q) / a, rtol=max(3 / a**2, 1e-3))
    assert plain_stats.truncnorm.pdf(1e6, 1e6, np.inf) == pytest.approx(1e6, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("norm", -np.inf, np.inf),
        ("uniform", 0.0, 1.0),
        ("expon", 0.0, np.inf),
        ("cauchy", -np.inf, np.inf),
        ("logistic", -np.inf, np.inf),
        ("laplace", -np.inf, np.inf),
        ("lognorm", 0.0, np.inf),
        ("truncnorm", -1.0, 2.0),
    ],
)
def test_the_ends_of_the_support_are_those_of_probability_0_and_1(
    name: str, low: float, high: float
) -> None:
    shapes = SHAPES[name]
    assert of(name, "ppf")([0.0, 1.0], *shapes).tolist() == [low, high]
    assert of(name, "cdf")([low, high], *shapes).tolist() == [0.0, 1.0]
    assert of(name, "cdf")([-np.inf, np.inf], *shapes).tolist() == [0.0, 1.0]
    assert of(name, "pdf")([-np.inf, np.inf], *shapes).tolist() == [0.0, 0.0]
    outside = [low - 1, high + 1]
    if np.isfinite(outside).all():
        assert of(name, "pdf")(outside, *shapes).tolist() == [0.0, 0.0]


def test_densities_at_an_end_of_the_support() -> None:
    assert plain_stats.uniform.pdf([0.0, 1.0]).tolist() == [1.0, 1.0]
    assert plain_stats.expon.pdf(0.0) == 1.0
    assert plain_stats.lognorm.pdf(0.0, 1.0) == 0.0
    assert (plain_stats.truncnorm.pdf([-1.0, 2.0], -1, 2) > 0).all()


@pytest.mark.parametrize(("name", "function"), EACH)
def test_invalid_arguments_give_nan_in_their_places_only(name: str, function: str) -> None:
    shapes, call = SHAPES[name], of(name, function)
    assert np.isnan(call([0.5, np.nan], *shapes)).tolist() == [False, True]
    scales = call(0.5, *shapes, 0, [1.0, 0.0, -1.0, np.nan])
    assert np.isnan(scales).tolist() == [False, True, True, True]
    assert np.isnan(call(0.5, *shapes, [np.nan, 0.0])).tolist() == [True, False]


@pytest.mark.parametrize("name", SHAPES)
def test_a_probability_outside_0_to_1_has_no_quantile(name: str) -> None:
    got = of(name, "ppf")([-0.1, -0.0, 0.5, 1.0, 1.1, np.inf, -np.inf], *SHAPES[name])
    assert np.isnan(got).tolist() == [True, False, False, False, True, True, True]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_invalid_shape_parameters_give_nan(function: str) -> None:
    assert np.isnan(of("lognorm", function)(0.5, [0.0, -1.0, np.nan, 1.0])).tolist() == [
        True, True, True, False,
    ]  # fmt: skip
    got = of("truncnorm", function)(0.5, [0.0, 2.0, np.nan, 0.0], [1.0, 1.0, 1.0, 0.0])
    assert np.isnan(got).tolist() == [False, True, True, True]


@pytest.mark.parametrize(("name", "function"), EACH)
def test_arguments_broadcast_and_the_result_is_float64(name: str, function: str) -> None:
    shapes, call = SHAPES[name], of(name, function)
    got = call(np.full((2, 1), 0.5, np.float32), *shapes, 0, np.ones(3, int))
    assert (got.shape, got.dtype) == ((2, 3), np.float64)
    assert np.all(got == call(0.5, *shapes))
    assert call([], *shapes).shape == (0,)
    assert type(call(0.5, *shapes)) is np.float64
    assert type(call(1, *shapes)) is np.float64
    with pytest.raises(TypeError):
        call(0.5 + 0j, *shapes)
    with pytest.raises(ValueError, match="shape"):
        call(np.ones(2), *shapes, np.ones(3))


@pytest.mark.parametrize(("name", "function"), EACH)
def test_values_are_computed_without_a_warning(name: str, function: str) -> None:
    points = [0.0, -1.0, 1.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 5e-324, 0.5]
    with np.errstate(all="raise"):
        of(name, function)(points, *SHAPES[name], [[0.0], [1e308]], [[1.0], [1e-308]])


@pytest.mark.parametrize(("name", "function"), EACH)
def test_a_call_costs_its_points_and_gives_counted_arrays(name: str, function: str) -> None:
    shapes, per_point = SHAPES[name], PER_POINT[name][function]
    call = getattr(getattr(me.stats, name), function)
    x = me.array(np.full((2, 3), 0.5))
    with me.BudgetContext(10**6, quiet=True) as budget:
        assert isinstance(call(x, *shapes), me.ndarray)
        call(x, *shapes, scale=np.ones((4, 1, 1)))
        call(0.5, *shapes)
        call([], *shapes)
    assert budget.flops_used == per_point * (6 + 24 + 1) + 1
    assert list(budget.summary_dict()["operations"]) == [f"stats.{name}.{function}"]
    np.testing.assert_array_equal(np.asarray(call(x, *shapes)), of(name, function)(0.5, *shapes))


def test_prices_are_those_of_the_table() -> None:
    assert {name: tuple(prices.values()) for name, prices in PER_POINT.items()} == {
        "norm": (10, 20, 40),
        "uniform": (3, 3, 3),
        "expon": (5, 5, 5),
        "cauchy": (6, 5, 5),
        "logistic": (8, 5, 5),
        "laplace": (5, 5, 5),
        "lognorm": (15, 25, 45),
        "truncnorm": (30, 30, 50),
    }


@pytest.mark.parametrize(("name", "function"), EACH)
def test_an_invalid_call_is_not_charged(name: str, function: str) -> None:
    shapes, call = SHAPES[name], getattr(getattr(me.stats, name), function)
    with me.BudgetContext(10**6, quiet=True) as budget:
        for args, kwargs in (
            ((), {}),
            ((0.5, *shapes, 0, 1, 2), {}),
            ((0.5, *shapes), {"spam": 1}),
            ((np.ones(2), *shapes, np.ones(3)), {}),
        ):
            with pytest.raises((TypeError, ValueError)):
                call(*args, **kwargs)
        if shapes:
            with pytest.raises(TypeError):
                call(0.5)
    assert budget.flops_used == 0


@pytest.mark.parametrize(("name", "function"), EACH)
def test_results_fit_into_the_predicted_bytes(name: str, function: str) -> None:
    op = OPS[f"stats.{name}.{function}"]
    assert op.result_bytes is not None
    assert op.scratch_bytes is not None
    x = np.full((2, 3), 0.5)
    assert op.result_bytes(x, *SHAPES[name], scale=np.ones((4, 1, 1))) == 24 * 8
    assert op.scratch_bytes(x, *SHAPES[name]) > 0


def test_the_quadrature_is_gauss_legendre_with_ten_points() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(10)
    np.testing.assert_allclose(normal_distribution._NODES, nodes[5:], rtol=1e-15)
    np.testing.assert_allclose(normal_distribution._WEIGHTS, weights[5:], rtol=1e-14)
