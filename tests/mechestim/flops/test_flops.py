"""Every function of `mechestim.flops` returns the charge of a call, and its example runs."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim import flops

NAMES = [name for name in flops.__all__ if name != "SymmetryInfo"]

FORETOLD: list[tuple[str, list[Any], Any]] = [
    ("einsum_cost", ["ij,jk->ik", [(3, 4), (4, 5)]], lambda: me.einsum("ij,jk->ik", A34, A45)),
    ("pointwise_cost", [(3, 4)], lambda: me.exp(A34)),
    ("reduction_cost", [(3, 4), 0], lambda: me.sum(A34, axis=0)),
    ("svd_cost", [3, 4], lambda: me.linalg.svd(A34)),
    ("svd_cost", [3, 4, 2], lambda: me.linalg.svd(A34, k=2)),
    ("solve_cost", [4, 3], lambda: me.linalg.solve(E4, A43)),
    ("inv_cost", [4], lambda: me.linalg.inv(E4)),
    ("det_cost", [4], lambda: me.linalg.det(E4)),
    ("slogdet_cost", [4], lambda: me.linalg.slogdet(E4)),
    ("cholesky_cost", [4], lambda: me.linalg.cholesky(E4)),
    ("eig_cost", [4], lambda: me.linalg.eig(E4)),
    ("eigh_cost", [4], lambda: me.linalg.eigh(E4)),
    ("eigvals_cost", [4], lambda: me.linalg.eigvals(E4)),
    ("eigvalsh_cost", [4], lambda: me.linalg.eigvalsh(E4)),
    ("trace_cost", [3], lambda: me.linalg.trace(A34)),
    ("qr_cost", [3, 4], lambda: me.linalg.qr(A34)),
    ("svdvals_cost", [3, 4], lambda: me.linalg.svdvals(A34)),
    ("lstsq_cost", [4, 3], lambda: me.linalg.lstsq(A43, np.ones(4))),
    ("pinv_cost", [3, 4], lambda: me.linalg.pinv(A34)),
    ("matrix_rank_cost", [3, 4], lambda: me.linalg.matrix_rank(A34)),
    ("cond_cost", [4, 4, 1], lambda: me.linalg.cond(E4, 1)),
    ("norm_cost", [(3, 4), "nuc"], lambda: me.linalg.norm(A34, "nuc")),
    ("vector_norm_cost", [(3, 4), 3], lambda: me.linalg.vector_norm(A34, ord=3)),
    ("matrix_norm_cost", [(3, 4), 1], lambda: me.linalg.matrix_norm(A34, ord=1)),
    ("multi_dot_cost", [[(3, 4), (4, 5), (5, 3)]], lambda: me.linalg.multi_dot([A34, A45, A53])),
    ("matrix_power_cost", [4, -5], lambda: me.linalg.matrix_power(E4, -5)),
    ("matrix_power_cost", [4, 0], lambda: me.linalg.matrix_power(E4, 0)),
    ("tensorinv_cost", [(4, 2, 2), 1], lambda: me.linalg.tensorinv(T422, 1)),
    ("tensorsolve_cost", [(4, 2, 2)], lambda: me.linalg.tensorsolve(T422, np.ones(4))),
    ("fft_cost", [12], lambda: me.fft.fft(A34.ravel())),
    ("rfft_cost", [12], lambda: me.fft.rfft(A34.ravel())),
    ("fftn_cost", [(3, 4)], lambda: me.fft.fftn(A34)),
    ("rfftn_cost", [(3, 4)], lambda: me.fft.rfftn(A34)),
    ("hfft_cost", [22], lambda: me.fft.hfft(A34.ravel())),
    ("polyval_cost", [2, 12], lambda: me.polyval([1.0, 2, 3], A34)),
    ("polyadd_cost", [3, 4], lambda: me.polyadd(np.ones(3), np.ones(4))),
    ("polysub_cost", [3, 4], lambda: me.polysub(np.ones(3), np.ones(4))),
    ("polymul_cost", [3, 4], lambda: me.polymul(np.ones(3), np.ones(4))),
    ("polydiv_cost", [4, 3], lambda: me.polydiv(np.ones(4), np.ones(3))),
    ("polyder_cost", [4], lambda: me.polyder(np.ones(4))),
    ("polyint_cost", [4], lambda: me.polyint(np.ones(4))),
    ("poly_cost", [4], lambda: me.poly(np.ones(4))),
    ("roots_cost", [3], lambda: me.roots(np.ones(4))),
    ("polyfit_cost", [9, 2], lambda: me.polyfit(np.arange(9.0), np.ones(9), 2)),
    ("bartlett_cost", [9], lambda: me.bartlett(9)),
    ("blackman_cost", [9], lambda: me.blackman(9)),
    ("hamming_cost", [9], lambda: me.hamming(9)),
    ("hanning_cost", [9], lambda: me.hanning(9)),
    ("kaiser_cost", [9], lambda: me.kaiser(9, 14.0)),
    ("unwrap_cost", [(3, 4)], lambda: me.unwrap(A34)),
]
A34, A45, A53, A43 = np.ones((3, 4)), np.ones((4, 5)), np.ones((5, 3)), np.ones((4, 3))
E4 = np.eye(4)
T422 = np.eye(4).reshape(4, 2, 2)


@pytest.mark.parametrize(("name", "args", "call"), FORETOLD)
def test_the_predicted_price_is_charged(name: str, args: list[Any], call: Any) -> None:
    with me.BudgetContext(10**9, quiet=True) as budget:
        call()
    assert getattr(flops, name)(*args) == budget.flops_used


def test_every_public_function_is_compared_with_a_charge() -> None:
    assert {name for name, _, _ in FORETOLD} == set(NAMES)
    assert len(flops.__all__) == 49


@pytest.mark.parametrize("name", NAMES)
def test_every_docstring_gives_a_formula_and_an_example_that_is_true(name: str) -> None:
    function = getattr(flops, name)
    tests = doctest.DocTestFinder(recurse=False).find(
        function, name, globs=vars(inspect.getmodule(function)) | vars(flops)
    )
    assert tests[0].examples
    assert "`" in function.__doc__ or "prod(" in function.__doc__ or name == "einsum_cost"
    assert doctest.DocTestRunner(verbose=False).run(tests[0]).failed == 0


def test_symmetry_lowers_the_price_to_the_unique_elements() -> None:
    info = flops.SymmetryInfo(((0, 1, 2),), (5, 5, 5))
    assert flops.pointwise_cost((5, 5, 5), info) == 35
    assert flops.reduction_cost((5, 5, 5), None, info) == 35
    assert flops.solve_cost(10, symmetric=True) == 343
    assert flops.inv_cost(6, symmetric=True) == 180
    assert flops.det_cost(6, symmetric=True) == flops.slogdet_cost(6, symmetric=True) == 72
    with pytest.raises(ValueError, match=r"shape \(5, 5, 5\), not of \(5, 5\)"):
        flops.pointwise_cost((5, 5), info)


def test_large_sizes_are_exact() -> None:
    assert flops.fft_cost(2**20) == 104857600
    assert flops.rfft_cost(2**20) == 52428800
    n = 10**9
    assert flops.eig_cost(n) == 10 * n**3
    assert flops.polyfit_cost(n, 9) == 200 * n


@pytest.mark.parametrize(
    ("name", "args"),
    [(n, [0]) for n in ("cholesky_cost", "eig_cost", "fft_cost", "bartlett_cost", "poly_cost")]
    + [("svd_cost", [0, 4]), ("pointwise_cost", [()]), ("reduction_cost", [(0, 3)])],
)
def test_a_counted_call_costs_at_least_one(name: str, args: list[Any]) -> None:
    assert getattr(flops, name)(*args) == 1


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("svd_cost", [3, 4, 4], r"1 <= k <= min\(m, n\) = 3, got k=4"),
        ("svd_cost", [3, 4, 0], r"got k=0"),
        ("cholesky_cost", [-1], "n must be 0 or more, got -1"),
        ("qr_cost", [3, -4], "n must be 0 or more, got -4"),
        ("pointwise_cost", [(3, -1)], "negative dimensions"),
        ("tensorinv_cost", [(2, 3, 6), 1], "not square"),
        ("tensorinv_cost", [(2, 3, 6), 0], "ind must be positive"),
        ("tensorsolve_cost", [(2, 3)], "not square"),
        ("norm_cost", [(2, 3, 4), 2], "has no norm of order 2"),
        ("norm_cost", [(3, 4), 7], "has no norm of order 7"),
        ("vector_norm_cost", [(3,), "fro"], "no norm of order 'fro'"),
    ],
)
def test_the_error_names_an_invalid_size(name: str, args: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(flops, name)(*args)


def test_the_error_names_a_size_that_is_no_integer() -> None:
    with pytest.raises(TypeError, match=r"n must be an integer, got 2\.5"):
        flops.inv_cost(2.5)  # type: ignore[arg-type]


def test_prices_need_no_numpy() -> None:
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "from shm_echo.mechestim import flops\n"
        "from shm_echo.mechestim.registry import fft, linalg, random, stats\n"
        "print(flops.svd_cost(256, 256, k=10), len(random.OPS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == "655360"
