"""The prices of `linalg`: worked examples, stacks, symmetry, refusals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS
from shm_echo.mechestim.symmetry.info import SymmetryInfo
from tests.mechestim.backend_mode import same_class

sides = st.integers(0, 9)
stacks = st.lists(st.integers(0, 3), max_size=2).map(tuple)


def of(*shape: int, symmetric: bool = False) -> Any:
    """Return an operand that has a shape and nothing else."""
    last = len(shape) - 1
    info = SymmetryInfo(((last - 1, last),), shape) if symmetric else None
    return SimpleNamespace(shape=shape, dtype=np.dtype(float), symmetry_info=info)


def price(name: str, *args: Any, **kwargs: Any) -> int:
    rule = OPS[f"linalg.{name}"].cost
    assert rule is not None
    return rule(*args, **kwargs)


def charged(name: str, *args: Any, **kwargs: Any) -> int:
    with me.BudgetContext(10**9, quiet=True) as budget:
        getattr(me.linalg, name)(*args, **kwargs)
    return budget.flops_used


WORKED = [
    ("cholesky", [of(6, 6)], {}, 72),
    ("eigh", [of(6, 6)], {}, 288),
    ("eigvalsh", [of(6, 6)], {}, 288),
    ("eig", [of(6, 6)], {}, 2160),
    ("eigvals", [of(6, 6)], {}, 2160),
    ("qr", [of(6, 4)], {}, 150),
    ("qr", [of(4, 6)], {}, 150),
    ("qr", [of(6, 4)], {"mode": "complete"}, 150),
    ("svd", [of(256, 256)], {"k": 10}, 655360),
    ("svd", [of(6, 4)], {}, 96),
    ("svd", [of(6, 4), True, False], {}, 96),
    ("svdvals", [of(4, 6)], {}, 96),
    ("solve", [of(256, 256), of(256)], {}, 11250346),
    ("solve", [of(10, 10, symmetric=True), of(10)], {}, 343),
    ("solve", [of(6, 6), of(6, 3)], {}, 144 + 108),
    ("inv", [of(6, 6)], {}, 216),
    ("inv", [of(6, 6, symmetric=True)], {}, 180),
    ("det", [of(6, 6)], {}, 216),
    ("det", [of(6, 6, symmetric=True)], {}, 72),
    ("slogdet", [of(6, 6)], {}, 216),
    ("slogdet", [of(6, 6, symmetric=True)], {}, 72),
    ("pinv", [of(6, 4)], {}, 96),
    ("lstsq", [of(6, 4), of(6)], {}, 96),
    ("cond", [of(6, 6)], {}, 216),
    ("cond", [of(6, 4)], {"p": -2}, 96),
    ("matrix_rank", [of(6, 4)], {}, 96),
    ("matrix_rank", [of(6)], {}, 6),
    ("tensorinv", [of(2, 3, 6)], {}, 216),
    ("tensorinv", [of(6, 2, 3)], {"ind": 1}, 216),
    ("tensorsolve", [of(2, 3, 6), of(2, 3)], {}, 216),
    ("tensorsolve", [of(2, 6, 3), of(2, 3)], {"axes": (1,)}, 216),
    ("matrix_power", [of(6, 6), 10], {}, 864),
    ("matrix_power", [of(6, 6), 1], {}, 0),
    ("matrix_power", [of(6, 6), 0], {}, 0),
    ("matrix_power", [of(6, 6), -1], {}, 216),
    ("matrix_power", [of(6, 6), -2], {}, 432),
    ("norm", [of(100)], {}, 100),
    ("norm", [of(100), 3], {}, 200),
    ("norm", [of()], {}, 1),
    ("norm", [of(6, 4)], {}, 48),
    ("norm", [of(6, 4), "fro"], {}, 48),
    ("norm", [of(6, 4), 1], {}, 24),
    ("norm", [of(6, 4), -np.inf], {}, 24),
    ("norm", [of(6, 4), 2], {}, 96),
    ("norm", [of(6, 4), "nuc"], {}, 96),
    ("norm", [of(6, 4)], {"axis": 1}, 24),
    ("norm", [of(6, 4), 3], {"axis": (0,)}, 48),
    ("norm", [of(2, 3, 4)], {}, 48),
    ("norm", [of(2, 6, 4), 2], {"axis": (-2, -1)}, 192),
    ("norm", [of(6, 2, 4), 2], {"axis": (2, 0)}, 192),
    ("vector_norm", [of(6, 4)], {}, 24),
    ("vector_norm", [of(6, 4)], {"ord": 3, "axis": 0}, 48),
    ("matrix_norm", [of(2, 6, 4)], {}, 96),
    ("matrix_norm", [of(2, 6, 4)], {"ord": 2}, 192),
    ("cross", [of(5, 3), of(3)], {}, 15),
    ("cross", [of(3, 5), of(3, 1)], {"axis": 0}, 15),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "flops"), WORKED)
def test_a_call_costs_the_price_of_the_table(
    name: str, args: list[Any], kwargs: dict[str, Any], flops: int
) -> None:
    assert price(name, *args, **kwargs) == flops


@pytest.mark.parametrize(
    ("name", "args", "flops"),
    [
        ("inv", [2 * np.eye(6)], 216),
        ("solve", [2 * np.eye(6), np.ones(6)], 144 + 36),
        ("solve", [np.eye(6), np.ones((5, 6, 2))], 5 * (144 + 72)),
        ("det", [np.ones((4, 0, 0))], 4),
        ("matrix_power", [np.eye(6), 0], 0),
        ("norm", [np.zeros((0,))], 1),
        ("svdvals", [np.ones((3, 6, 4))], 3 * 96),
        ("cholesky", [[[4.0]]], 1),
        ("diagonal", [np.ones((3, 3))], 0),
        ("matrix_transpose", [np.ones((3, 4))], 0),
    ],
)
def test_the_charge_equals_the_price(name: str, args: list[Any], flops: int) -> None:
    assert charged(name, *args) == flops


@pytest.mark.parametrize(
    "name", ["cholesky", "eig", "eigvals", "eigh", "eigvalsh", "inv", "det", "slogdet"]
)
@settings(deadline=None, max_examples=40)
@given(stack=stacks, n=sides, symmetric=st.booleans())
def test_a_stack_of_square_matrices_costs_as_much_as_its_matrices(
    name: str, stack: tuple[int, ...], n: int, symmetric: bool
) -> None:
    one = price(name, of(n, n, symmetric=symmetric))
    assert one >= 1
    assert price(name, of(*stack, n, n, symmetric=symmetric)) == one * int(np.prod(stack))


@pytest.mark.parametrize("name", ["qr", "svd", "svdvals", "pinv", "matrix_rank"])
@settings(deadline=None, max_examples=40)
@given(stack=stacks, m=sides, n=sides)
def test_a_stack_of_matrices_costs_as_much_as_its_matrices(
    name: str, stack: tuple[int, ...], m: int, n: int
) -> None:
    one = price(name, of(m, n))
    assert one >= 1
    assert price(name, of(n, m)) == one
    assert price(name, of(*stack, m, n)) == one * int(np.prod(stack))


@settings(deadline=None, max_examples=40)
@given(left=stacks, n=sides, nrhs=sides)
def test_systems_broadcast_against_their_right_hand_sides(
    left: tuple[int, ...], n: int, nrhs: int
) -> None:
    one = price("solve", of(n, n), of(n, nrhs))
    systems = int(np.prod(left))
    assert price("solve", of(*left, n, n), of(n, nrhs)) == one * systems
    assert price("solve", of(n, n), of(*left, n, nrhs)) == one * systems
    assert price("solve", of(*left, n, n), of(n)) == price("solve", of(n, n), of(n)) * systems


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 9), k=st.integers(-40, 40))
def test_a_power_costs_the_products_of_repeated_squaring(n: int, k: int) -> None:
    products = 0
    power = abs(k)
    while power > 1:
        products += 1 + power % 2
        power //= 2
    assert price("matrix_power", of(n, n), k) == (products + (k < 0)) * n**3


BAD_SHAPES = [
    ("cholesky", [(3, 4)]),
    ("cholesky", [(3,)]),
    ("inv", [(2, 3, 4)]),
    ("det", [()]),
    ("eigh", [(2, 2), "X"]),
    ("solve", [(3, 3), (4,)]),
    ("solve", [(2, 3, 3), (5, 3, 1)]),
    ("svd", [(3,)]),
    ("svd", [(3, 4), True, True, True]),
    ("qr", [(3, 3), "spam"]),
    ("lstsq", [(3, 4), (4,)]),
    ("lstsq", [(2, 3, 4), (3,)]),
    ("cond", [(0, 0)]),
    ("cond", [(3, 4), 1]),
    ("matrix_power", [(3, 4), 2]),
    ("matrix_power", [(3, 3), 2.5]),
    ("tensorinv", [(2, 3, 6), 1]),
    ("tensorinv", [(2, 3, 6), 0]),
    ("tensorsolve", [(2, 3, 6), (5,)]),
    ("norm", [(2, 3, 4), 2]),
    ("norm", [(3,), "fro"]),
    ("norm", [(3, 3), 3]),
    ("norm", [(3, 3), None, 2]),
    ("norm", [(3, 3), None, (0, 0)]),
    ("norm", [(2, 3, 4), None, (0, 1, 2)]),
    ("vector_norm", [(3,)], {"axis": 1}),
    ("matrix_norm", [(3,)]),
    ("cross", [(2,), (2,)]),
    ("cross", [(5, 3), (4, 3)]),
]


@pytest.mark.parametrize("case", BAD_SHAPES, ids=str)
def test_a_shape_that_numpy_refuses_is_not_charged(case: tuple[Any, ...]) -> None:
    name, args, kwargs = (*case, {})[:3]
    operands = [np.ones(a) if isinstance(a, tuple) and i < 2 else a for i, a in enumerate(args)]
    with me.BudgetContext(10**9, quiet=True) as budget:
        with pytest.raises(Exception, match=".") as ours:
            getattr(me.linalg, name)(*operands, **kwargs)
    with pytest.raises(Exception, match=".") as theirs:
        getattr(np.linalg, name)(*operands, **kwargs)
    assert same_class(type(ours.value), type(theirs.value))
    assert str(ours.value) == str(theirs.value)
    assert budget.flops_used == 0


@settings(deadline=None, max_examples=40)
@given(
    shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    order=st.sampled_from([None, "fro", "nuc", 0, 1, -1, 2, -2, 2.5, np.inf, -np.inf, "spam"]),
    axis=st.none()
    | st.integers(-3, 3)
    | st.lists(st.integers(-3, 2), min_size=1, max_size=3).map(tuple),
)
def test_the_rule_of_norms_refuses_the_calls_that_numpy_refuses(
    shape: Any, order: Any, axis: Any
) -> None:
    op = OPS["linalg.norm"]
    assert op.result_bytes is not None
    x = np.ones(shape)
    try:
        result = np.linalg.norm(x, order, axis)
    except (ValueError, TypeError):
        with pytest.raises((ValueError, TypeError)):
            price("norm", x, order, axis)
    else:
        assert price("norm", x, order, axis) >= 1
        assert np.asarray(result).nbytes <= op.result_bytes(x, order, axis)


def test_a_factorisation_that_fails_for_its_data_stays_charged() -> None:
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises(me.linalg.LinAlgError):
            me.linalg.cholesky(-np.eye(6))
        with pytest.raises(me.linalg.LinAlgError):
            me.linalg.inv(np.zeros((6, 6)))
    assert budget.flops_used == 72 + 216


def test_a_decomposition_that_does_not_fit_does_not_run() -> None:
    with me.BudgetContext(95, quiet=True) as budget:
        with pytest.raises(me.BudgetExhaustedError, match=r"linalg\.svd would cost 96"):
            me.linalg.svd(np.ones((6, 4)))
    assert budget.flops_used == 0


def test_the_cross_product_is_booked_as_cross() -> None:
    with me.BudgetContext(10**6, quiet=True) as budget:
        me.linalg.cross([1.0, 0, 0], [0, 1.0, 0])
    assert list(budget.summary_dict()["operations"]) == ["cross"]
