"""`linalg` gives NumPy's values; `svd` with `k` gives the leading part of them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim.registry import OPS

RNG = np.random.default_rng(5)
SQUARE = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
TALL = RNG.normal(size=(5, 3))
STACK = RNG.normal(size=(2, 4, 4)) + 4 * np.eye(4)
POSITIVE = SQUARE @ SQUARE.T

CALLS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("cholesky", [POSITIVE], {}),
    ("cholesky", [POSITIVE], {"upper": True}),
    ("qr", [TALL], {}),
    ("qr", [TALL], {"mode": "complete"}),
    ("qr", [TALL, "r"], {}),
    ("svd", [TALL], {}),
    ("svd", [TALL, False], {}),
    ("svd", [STACK], {"compute_uv": False}),
    ("svd", [POSITIVE], {"hermitian": True}),
    ("svdvals", [STACK], {}),
    ("eig", [SQUARE], {}),
    ("eigvals", [STACK], {}),
    ("eigh", [POSITIVE], {"UPLO": "U"}),
    ("eigvalsh", [POSITIVE], {}),
    ("solve", [STACK, np.ones(4)], {}),
    ("inv", [STACK], {}),
    ("det", [STACK], {}),
    ("slogdet", [SQUARE], {}),
    ("lstsq", [TALL, np.ones(5)], {}),
    ("pinv", [TALL], {}),
    ("tensorinv", [RNG.normal(size=(2, 3, 6))], {}),
    ("tensorsolve", [RNG.normal(size=(2, 3, 6)), np.ones((2, 3))], {}),
    ("matrix_power", [SQUARE, 3], {}),
    ("matrix_power", [STACK, -2], {}),
    ("norm", [TALL], {}),
    ("norm", [TALL], {"axis": 0, "keepdims": True}),
    ("vector_norm", [TALL], {"ord": 3}),
    ("matrix_norm", [STACK], {"ord": "nuc"}),
    ("cond", [SQUARE], {}),
    ("cond", [SQUARE, 1], {}),
    ("matrix_rank", [TALL], {}),
    ("cross", [TALL, TALL[::-1]], {}),
    ("diagonal", [STACK], {}),
    ("matrix_transpose", [STACK], {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_a_call_gives_numpys_values_in_both_call_forms(
    name: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    theirs = getattr(np.linalg, name)(*args, **kwargs)
    counted = [me.array(a) if isinstance(a, np.ndarray) else a for a in args]
    spent = []
    for module in (me.linalg, np.linalg):
        with me.BudgetContext(10**9, quiet=True) as budget:
            ours = getattr(module, name)(*counted, **kwargs)
        spent.append(budget.flops_used)
        assert type(ours).__name__ == type(theirs).__name__ or not isinstance(theirs, tuple)
        pairs = zip(ours, theirs, strict=True) if isinstance(theirs, tuple) else [(ours, theirs)]
        for got, expected in pairs:
            np.testing.assert_array_equal(np.asarray(got), expected, strict=True)
    assert spent[0] == spent[1]


def test_every_operation_of_this_family_is_called_here() -> None:
    from shm_echo.mechestim.registry import linalg

    assert {f"linalg.{name}" for name, _, _ in CALLS} == {op.name for op in linalg.OPS}


def test_a_truncated_decomposition_is_the_leading_part_of_the_full_one() -> None:
    full = np.linalg.svd(STACK, full_matrices=False)
    part = me.linalg.svd(STACK, k=2)
    assert type(part).__name__ == "SVDResult"
    np.testing.assert_array_equal(part.U, full.U[..., :2])
    np.testing.assert_array_equal(part.S, full.S[..., :2])
    np.testing.assert_array_equal(part.Vh, full.Vh[..., :2, :])
    assert all(isinstance(factor, me.ndarray) for factor in part)


def test_truncated_singular_values_come_alone_when_asked() -> None:
    values = me.linalg.svd(TALL, compute_uv=False, k=1)
    np.testing.assert_array_equal(values, np.linalg.svd(TALL, compute_uv=False)[:1])


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_k_out_of_range_is_refused_before_the_charge(k: int) -> None:
    with me.BudgetContext(10**6, quiet=True) as budget:
        with pytest.raises(ValueError, match=rf"1 <= k <= min\(m, n\) = 3, got k={k}"):
            me.linalg.svd(TALL, k=k)
        with pytest.raises(TypeError):
            me.linalg.svd(TALL, k=1.5)
    assert budget.flops_used == 0


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_results_fit_into_the_predicted_bytes(
    name: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    op = OPS[f"linalg.{name}"]
    if not op.counted:
        return  # views
    assert op.result_bytes is not None
    assert op.scratch_bytes is not None
    for dtype in (np.float32, np.float64, np.complex128):
        operands = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in args]
        result = getattr(np.linalg, name)(*operands, **kwargs)
        parts = result if isinstance(result, tuple) else (result,)
        size = sum(np.asarray(part).nbytes for part in parts)
        assert size <= op.result_bytes(*operands, **kwargs)
        assert op.scratch_bytes(*operands, **kwargs) >= 0


def test_the_predicted_bytes_of_a_thin_matrix_are_not_the_square_of_its_length() -> None:
    long = np.broadcast_to(0.0, (10**6, 4))
    for name in ("qr", "svdvals", "pinv", "matrix_rank", "norm"):
        op = OPS[f"linalg.{name}"]
        assert op.result_bytes is not None
        assert op.scratch_bytes is not None
        arguments = (long, 2) if name == "norm" else (long,)
        total = op.result_bytes(*arguments) + op.scratch_bytes(*arguments)
        assert total < 300 * long.shape[0] * 4 * 8


def test_a_symmetric_matrix_takes_the_cholesky_price_and_its_inverse_is_symmetric() -> None:
    matrix = np.eye(6) * 2 + 1
    symmetric = me.as_symmetric(matrix, (0, 1))
    rhs = np.ones((6, 2))
    prices = {"inv": 180, "det": 72, "slogdet": 72, "solve": 72 + 12}
    for name, flops in prices.items():
        extra = (rhs,) if name == "solve" else ()
        for module in (me.linalg, np.linalg):
            with me.BudgetContext(10**6, quiet=True) as budget:
                result = getattr(module, name)(symmetric, *extra)
            assert budget.flops_used == flops
        expected = getattr(np.linalg, name)(matrix, *extra)
        np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))
    assert me.linalg.inv(symmetric).symmetric_axes == [(0, 1)]


def test_the_signature_of_svd_has_the_added_parameter() -> None:
    parameters = inspect.signature(me.linalg.svd).parameters
    assert list(parameters) == ["a", "full_matrices", "compute_uv", "hermitian", "k"]
    assert list(inspect.signature(me.stats.lognorm.ppf).parameters) == ["q", "s", "loc", "scale"]
