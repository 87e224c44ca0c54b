"""Rules and NumPy over generated calls: what one accepts, the other accepts.

A rule that rejects a call that NumPy runs would leave it uncharged; a rule that accepts a call that
NumPy rejects would charge for work that is not done.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shm_echo.mechestim.registry import OPS

Draw = Callable[[st.SearchStrategy[Any]], Any]

LENGTHS = st.sampled_from([0, 1, 1, 2, 3, 3])
SHAPES = st.lists(LENGTHS, max_size=3).map(tuple)
AXES = st.none() | st.integers(-4, 4) | st.lists(st.integers(-3, 3), max_size=3).map(tuple)
FLAGS = st.sampled_from([True, False])


def array(draw: Draw, dtype: str = "f8") -> Any:
    shape = draw(SHAPES)
    return (np.arange(np.prod(shape)) % 5).reshape(shape).astype(dtype)


def optional(draw: Draw, kwargs: dict[str, Any], **strategies: Any) -> None:
    """Adds each keyword in every other call."""
    for name, value in strategies.items():
        if draw(FLAGS):
            kwargs[name] = value() if callable(value) else draw(value)


def compare(name: str, *args: Any, **kwargs: Any) -> None:
    """NumPy and the rules agree that the call is good, and on how large its result may be."""
    op = OPS[name]
    cost, bytes_, scratch = op.cost, op.result_bytes, op.scratch_bytes
    if not hasattr(np, op.numpy):
        pytest.skip(f"NumPy {np.__version__} has no {op.numpy}")
    assert bytes_ is not None
    assert scratch is not None
    shown = [getattr(x, "shape", x) for x in (*args, *(v for item in kwargs.items() for v in item))]
    price: Any = None
    try:
        price = cost(*args, **kwargs) if cost is not None else 0
        bound, beside = bytes_(*args, **kwargs), scratch(*args, **kwargs)
    except (ValueError, TypeError, IndexError) as error:
        bound, beside = error, 0  # type: ignore[assignment]
    given_arrays = [x for x in (*args, *kwargs.values()) if isinstance(x, np.ndarray)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            result = getattr(np, op.numpy)(*args, **kwargs)
        except ZeroDivisionError:
            return
        except (ValueError, TypeError, IndexError) as error:
            by_value = any(text in str(error) for text in ("zero-size", "empty", "size 0"))
            if cost is not None and not by_value:
                assert price is None, f"{name}{shown} is charged {price}, but refused: {error}"
            return
    assert price is not None, f"{name}{shown} is good, but refused: {bound}"
    assert type(bound) is int, f"{name}{shown} has no bound: {bound}"
    assert beside >= 0
    results = result if isinstance(result, (tuple, list)) else [result]
    new = sum(
        r.nbytes
        for r in results
        if isinstance(r, np.ndarray) and not any(np.shares_memory(r, x) for x in given_arrays)
    )
    assert new <= bound, f"{name}{shown} takes {new} bytes, not {bound}"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_ufuncs_of_one_operand(data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, out=lambda: array(draw), where=lambda: array(draw, "?"))
    compare(
        draw(st.sampled_from(["exp", "negative", "logical_not", "isnan"])), array(draw), **kwargs
    )


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.data())
def test_ufuncs_of_two_operands(data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, out=lambda: array(draw), where=lambda: array(draw, "?"))
    second = array(draw) if draw(FLAGS) else draw(st.sampled_from([2, 2.5, [1, 2, 3]]))
    compare(draw(st.sampled_from(["add", "divide", "less"])), array(draw), second, **kwargs)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_functions_of_several_operands_that_broadcast(data: Any) -> None:
    draw: Draw = data.draw
    one, two, three = array(draw), array(draw), array(draw)
    compare("clip", one, two, three)
    compare("clip", one, two, draw(st.sampled_from([None, 3])))
    compare("isclose", one, two)
    compare("allclose", one, two)
    compare("where", one > 1, two, three)
    compare("array_equiv", one, two)
    compare("copyto", one.copy(), two, where=three > 1)
    compare("histogram", one, weights=two)
    compare("select", [one > 1, two > 1], [one, two])


REDUCTIONS = (
    "sum", "prod", "max", "any", "mean", "std", "var", "nansum", "nanmean", "nanstd", "median",
    "ptp", "count_nonzero", "average", "argmax", "cumsum", "nanmedian", "nanmax", "nanvar", "all",
    "nancumsum", "nanargmin", "cumulative_sum",
)  # fmt: skip
WITHOUT_KEEPDIMS = ("cumsum", "nancumsum", "cumulative_sum")
WITH_WHERE = ("sum", "prod", "any", "all", "mean", "std", "var", "nansum", "nanmean", "nanstd")


@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_reductions(name: str, data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, axis=AXES)
    if name not in WITHOUT_KEEPDIMS:
        optional(draw, kwargs, keepdims=FLAGS)
    if name in WITH_WHERE:
        optional(draw, kwargs, where=lambda: array(draw, "?"))
    elif name in ("max", "nanmax"):
        kwargs["initial"] = 0
    compare(name, array(draw), **kwargs)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_reductions_into_an_array(data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {"out": array(draw)}
    optional(draw, kwargs, axis=AXES)
    compare(draw(st.sampled_from(["sum", "mean", "std", "prod", "nansum"])), array(draw), **kwargs)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_quantiles(data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, axis=AXES, keepdims=FLAGS)
    q = draw(st.sampled_from([50, [25, 75], [[1, 2], [3, 4]]]))
    compare(draw(st.sampled_from(["percentile", "nanpercentile"])), array(draw), q, **kwargs)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_sorting_and_searching(data: Any) -> None:
    draw: Draw = data.draw
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, axis=st.none() | st.integers(-4, 4))
    one, two = array(draw), array(draw)
    compare("sort", one, **kwargs)
    compare("argsort", one, **kwargs)
    kth = draw(st.integers(-4, 4))
    compare("partition", one, kth, **kwargs)
    compare("argpartition", one, kth, **kwargs)
    compare("unique", one, return_index=True, return_inverse=True, return_counts=True)
    compare("searchsorted", one, two)
    compare("digitize", two, one)
    compare("union1d", one, two)
    compare("intersect1d", one, two, return_indices=True)
    compare("isin", one, two)
    if kwargs.get("axis", 0) is not None:
        compare("lexsort", one, **kwargs)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_differences_and_products(data: Any) -> None:
    draw: Draw = data.draw
    axis = draw(st.integers(-4, 4))
    one, two = array(draw), array(draw)
    compare("diff", one, draw(st.integers(-1, 3)), axis)
    compare("trapezoid", one, axis=axis)
    compare("unwrap", one, axis=axis)
    compare("ediff1d", one)
    compare("gradient", one, axis=draw(AXES))
    compare("convolve", one, two)
    compare("interp", array(draw), one, two)
    compare("cross", one, two)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_cross_products_along_any_axes(data: Any) -> None:
    draw: Draw = data.draw
    shape = draw(st.lists(st.sampled_from([1, 2, 3]), max_size=3).map(tuple))
    other = draw(st.lists(st.sampled_from([1, 2, 3]), max_size=3).map(tuple))
    kwargs: dict[str, Any] = {}
    optional(draw, kwargs, axisa=st.integers(-3, 3), axisb=st.integers(-3, 3))
    compare("cross", np.ones(shape), np.ones(other), **kwargs)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_polynomials_and_statistics(data: Any) -> None:
    draw: Draw = data.draw
    one, two = array(draw) + 1, array(draw) + 1
    compare("polyadd", one, two)
    compare("polymul", one, two)
    if one.ndim < 2:
        compare("polyder", one)
    compare("polyint", one)
    compare("polyval", one, two)
    compare("roots", one)
    compare("poly", one)
    compare("vander", one, draw(st.integers(-1, 4)))
    compare("cov", one, two, draw(FLAGS))
    compare("corrcoef", one, rowvar=draw(FLAGS))
    compare("bincount", one.astype(int), draw(st.sampled_from([None, two])))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_writes(data: Any) -> None:
    draw: Draw = data.draw
    one, two = array(draw), array(draw)
    compare("fill_diagonal", one.copy(), 1, draw(FLAGS))
    compare("place", one.copy(), two > 1, [1])
    compare("putmask", one.copy(), two > 1, 1)
    compare("put_along_axis", one.copy(), np.zeros(two.shape, int), 1, draw(st.integers(-4, 4)))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_free_operations_take_no_more_memory_than_their_bounds(data: Any) -> None:
    draw: Draw = data.draw
    one, two = array(draw), array(draw, draw(st.sampled_from(["f4", "c8", "i2", "?"])))
    axis = draw(st.none() | st.integers(-3, 3))
    compare("concatenate", (one, two), axis)
    compare("append", one, two, axis)
    compare("stack", (one, one), axis or 0)
    compare("hstack", (one, two))
    compare("vstack", (one, two))
    compare("take", one, np.zeros(two.shape, int), axis)
    compare("repeat", one, draw(st.integers(0, 3)), axis)
    compare("tile", one, draw(st.lists(st.integers(0, 3), max_size=3)))
    compare("insert", one, 0, 5.0, axis)
    compare("resize", one, two.shape)
    compare("pad", one, draw(st.sampled_from([0, 2, (1, 2)])))
    compare("meshgrid", one, two, sparse=draw(FLAGS))
    compare("diag", one, draw(st.integers(-2, 2)))
    compare("diagflat", one, draw(st.integers(-2, 2)))
    compare("tril", one)
    compare("nonzero", one)
    compare("argwhere", two)
    compare("roll", one, 1, axis)
    compare("linspace", one, 1.0, draw(st.integers(0, 4)))
    compare("choose", np.zeros(one.shape, int), [one, two])
