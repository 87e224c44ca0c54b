"""`fft`: prices, values, sizes and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS

ONE_AXIS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
REAL_INPUT = ("rfft", "ihfft", "rfft2", "rfftn")
SEVERAL = ("fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn")
lengths = st.integers(1, 40)


def charged(name: str, *args: Any, **kwargs: Any) -> int:
    with me.BudgetContext(10**9, quiet=True) as budget:
        getattr(me.fft, name)(*args, **kwargs)
    return budget.flops_used


def operand(name: str, *shape: int) -> Any:
    values = np.random.default_rng(1).normal(size=shape)
    return values if name in REAL_INPUT else values + 1j


WORKED = [
    ("fft", (1024,), {}, 51200),
    ("ifft", (1024,), {}, 51200),
    ("rfft", (1024,), {}, 25600),
    ("irfft", (513,), {}, 25600),
    ("hfft", (9,), {}, 5 * 16 * 4),
    ("ihfft", (16,), {}, 5 * 16 * 4),
    ("fft", (3, 5), {}, 225),
    ("fft", (3, 5), {"axis": 0}, 5 * 3 * 2 * 5),
    ("fft", (3, 5), {"n": 8}, 3 * 5 * 8 * 3),
    ("fft", (1,), {}, 5),
    ("rfft", (1,), {}, 1),
    ("irfft", (3, 5), {"n": 7}, 3 * 5 * 3 * 3),
    ("fft2", (5, 6), {}, 750),
    ("ifft2", (5, 6), {}, 750),
    ("rfft2", (5, 6), {}, 375),
    ("irfft2", (5, 4), {}, 375),
    ("fftn", (2, 3, 4), {}, 5 * 24 * 5),
    ("fftn", (2, 3, 4), {"axes": (0, 2)}, 3 * 5 * 8 * 3),
    ("fftn", (2, 3, 4), {"s": (8, -1), "axes": (0, 1)}, 4 * 5 * 24 * 5),
    ("ifftn", (5, 6), {}, 750),
    ("rfftn", (5, 6), {}, 375),
    ("irfftn", (2, 3, 4), {"s": (3, 7), "axes": (1, 2)}, 2 * 5 * 10 * 5),
    ("fftn", (2, 3), {"axes": ()}, 1),
    ("fftn", (), {}, 1),
    ("fft", (0, 4), {}, 1),
    ("fftfreq", 8, {}, 0),
    ("rfftfreq", 8, {"d": 0.5}, 0),
    ("fftshift", (3, 4), {}, 0),
    ("ifftshift", (3, 4), {"axes": 0}, 0),
]


@pytest.mark.parametrize(("name", "shape", "kwargs", "flops"), WORKED)
def test_a_call_costs_the_price_of_the_table_and_gives_numpys_values(
    name: str, shape: Any, kwargs: dict[str, Any], flops: int
) -> None:
    a = operand(name, *shape) if isinstance(shape, tuple) else shape
    assert charged(name, a, **kwargs) == flops
    counted = me.array(a) if isinstance(shape, tuple) else a
    ours, theirs = getattr(me.fft, name)(counted, **kwargs), getattr(np.fft, name)(a, **kwargs)
    np.testing.assert_array_equal(np.asarray(ours), theirs, strict=True)
    assert isinstance(ours, me.ndarray)
    if isinstance(shape, tuple):
        with me.BudgetContext(10**9, quiet=True) as budget:
            getattr(np.fft, name)(counted, **kwargs)
        assert budget.flops_used == flops


def test_every_operation_of_this_family_is_called_here() -> None:
    from shm_echo.mechestim.registry import fft

    assert {f"fft.{name}" for name, *_ in WORKED} == {op.name for op in fft.OPS}


@pytest.mark.parametrize("name", ONE_AXIS)
@settings(deadline=None, max_examples=40)
@given(batch=st.integers(1, 4), n=st.integers(2, 20), length=st.none() | lengths)
def test_a_batch_costs_as_much_as_its_transforms(
    name: str, batch: int, n: int, length: int | None
) -> None:
    rule = OPS[f"fft.{name}"].cost
    assert rule is not None
    one = rule(np.ones(n), length)
    assert rule(np.ones((batch, n)), length) == batch * one
    assert rule(np.ones((n, batch)), length, axis=0) == batch * one
    assert getattr(np.fft, name)(np.ones(n), length).size > 0  # so NumPy takes it too


@pytest.mark.parametrize("name", SEVERAL)
@settings(deadline=None, max_examples=40)
@given(shape=st.lists(st.integers(2, 6), min_size=2, max_size=2), batch=st.integers(1, 3))
def test_a_batch_of_planes_costs_as_much_as_its_planes(
    name: str, shape: list[int], batch: int
) -> None:
    rule = OPS[f"fft.{name}"].cost
    assert rule is not None
    one = rule(np.ones(shape), axes=(0, 1))
    assert rule(np.ones((batch, *shape)), axes=(1, 2)) == batch * one
    assert rule(np.ones((*shape, batch)), axes=(0, 1)) == batch * one


@pytest.mark.parametrize("name", [*ONE_AXIS, *SEVERAL])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.complex64, np.complex128])
@pytest.mark.parametrize("longer", [False, True])
def test_results_fit_into_the_predicted_bytes(name: str, dtype: Any, longer: bool) -> None:
    if name in REAL_INPUT and np.dtype(dtype).kind == "c":
        return
    op = OPS[f"fft.{name}"]
    assert op.result_bytes is not None
    assert op.scratch_bytes is not None
    a = np.ones((3, 5)).astype(dtype)
    kwargs: dict[str, Any] = {}
    if longer:
        kwargs = {"n": 11} if name in ONE_AXIS else {"s": (2, 11), "axes": (0, 1)}
    result = getattr(np.fft, name)(a, **kwargs)
    assert result.nbytes <= op.result_bytes(a, **kwargs) <= 8 * result.nbytes
    assert op.scratch_bytes(a, **kwargs) > 0


def test_out_receives_the_result_at_the_same_price() -> None:
    a, out = me.ones(8), me.zeros(8, dtype=complex)
    with me.BudgetContext(10**6, quiet=True) as budget:
        assert me.fft.fft(a, out=out) is out
    assert budget.flops_used == 5 * 8 * 3
    np.testing.assert_array_equal(np.asarray(out), np.fft.fft(np.ones(8)))
    result_bytes = OPS["fft.fft"].result_bytes
    assert result_bytes is not None
    assert result_bytes(a, out=out) == 0


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("fft", [np.ones(3), 0], {}),
        ("fft", [np.ones(3), -1], {}),
        ("fft", [np.ones(3), 2.0], {}),
        ("fft", [np.float64(3)], {}),
        ("fft", [np.ones(3)], {"axis": 1}),
        ("fft", [np.ones(0)], {}),
        ("hfft", [np.ones(1)], {}),
        ("ifft", [np.ones(3)], {"norm": "spam"}),
        ("rfftn", [np.ones((2, 2))], {"axes": ()}),
        ("irfftn", [np.ones((2, 2))], {"axes": ()}),
        ("fftn", [np.ones((2, 2))], {"axes": (0, 2)}),
        ("fftn", [np.ones((2, 2))], {"s": (2,), "axes": (0, 1)}),
        ("fft2", [np.ones(3)], {}),
    ],
)
def test_a_call_that_numpy_refuses_is_not_charged(
    name: str, args: Any, kwargs: dict[str, Any]
) -> None:
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises(Exception, match=".") as ours:
            getattr(me.fft, name)(*args, **kwargs)
    with pytest.raises(Exception, match=".") as theirs:
        getattr(np.fft, name)(*args, **kwargs)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))
    assert budget.flops_used == 0


@pytest.mark.parametrize("name", SEVERAL)
@settings(deadline=None, max_examples=40)
@given(
    shape=st.lists(st.integers(0, 3), max_size=3).map(tuple),
    s=st.none() | st.lists(st.integers(-1, 4), max_size=3),
    axes=st.none() | st.lists(st.integers(-3, 2), max_size=3),
)
@pytest.mark.filterwarnings("ignore:`axes` should not be:DeprecationWarning")
def test_a_rule_refuses_the_calls_that_numpy_refuses_and_predicts_the_others(
    name: str, shape: Any, s: Any, axes: Any
) -> None:
    op = OPS[f"fft.{name}"]
    assert op.cost is not None
    assert op.result_bytes is not None
    a = np.ones(shape)
    try:
        result = getattr(np.fft, name)(a, s, axes)
    except (ValueError, IndexError, TypeError):
        with pytest.raises((ValueError, IndexError, TypeError)):
            op.cost(a, s, axes)
    else:
        assert op.cost(a, s, axes) >= 0
        assert result.nbytes <= op.result_bytes(a, s, axes)
