"""A refused call costs nothing; one whose kernel had started stays charged, also if it raises."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.local.dispatch import call
from shm_echo.mechestim.registry import OPS

SHORT: dict[str, Any] = {}
LONG: dict[str, Any] = {"wall_time_limit_s": 3600.0}  # disables the fast paths
WAYS = pytest.mark.parametrize("context", [SHORT, LONG], ids=["short", "long"])


def spent(context: dict[str, Any], call: Callable[[], Any], error: type[BaseException]) -> int:
    """Return the FLOPs charged for a call that raises `error`."""
    with me.BudgetContext(10**6, quiet=True, **context) as books:
        with pytest.raises(error):
            call()
        return books.flops_used


@pytest.fixture
def x() -> Any:
    return me.array([[1.0, 0.0], [-1.0, 4.0]])


STARTED: dict[str, tuple[Callable[[Any], Any], int]] = {
    "divide": (lambda x: me.divide(1.0, x), 4),
    "operator": (lambda x: x / x, 4),
    "reflected": (lambda x: 1.0 / x, 4),
    "in place": (lambda x: x.__itruediv__(0.0), 4),
    "unary": (lambda x: me.log(x), 4),
    "np.log": (lambda x: np.log(x), 4),
    "scalar": (lambda x: x[0, 0] / x[0, 1], 1),
    "ufunc.reduce": (lambda x: np.divide.reduce(x, axis=1), 4),
    "linalg": (lambda x: me.sqrt(x @ x - 9.0), 16 + 4 + 4),
}


@WAYS
@pytest.mark.parametrize("name", sorted(STARTED))
def test_a_floating_point_error_leaves_the_charge(
    name: str, context: dict[str, Any], x: Any
) -> None:
    run, cost = STARTED[name]

    def failing() -> None:
        with me.errstate(all="raise"):
            run(x)

    assert spent(context, failing, FloatingPointError) == cost


@WAYS
def test_a_warning_that_is_an_error_leaves_the_charge(context: dict[str, Any], x: Any) -> None:
    def failing() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            me.log(x)

    assert spent(context, failing, RuntimeWarning) == 4


@WAYS
@pytest.mark.parametrize(
    ("run", "cost"),
    [
        (lambda: me.linalg.inv(me.zeros((3, 3))), 27),
        (lambda: me.linalg.solve(me.zeros((3, 3)), me.ones(3)), 18 + 9),
        (lambda: me.linalg.cholesky(-me.eye(3)), 9 + 9),
        (lambda: me.linalg.eigvals(me.full((3, 3), me.nan)), 270),
        (lambda: me.linalg.matrix_power(me.zeros((2, 2)), -1), 8),
    ],
    ids=["inv", "solve", "cholesky", "eigvals", "matrix_power"],
)
def test_a_singular_matrix_leaves_the_charge(run: Any, cost: int, context: dict[str, Any]) -> None:
    assert spent(context, run, np.linalg.LinAlgError) == cost


@WAYS
def test_a_failing_callback_costs_what_it_computed(context: dict[str, Any], x: Any) -> None:
    def callback(row: Any) -> Any:
        if row[0] < 0:
            raise LookupError
        return row + 1.0

    assert spent(context, lambda: me.apply_along_axis(callback, 1, x), LookupError) == 2 + 1 + 1


@WAYS
@pytest.mark.local_only("internals")
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, RecursionError])
def test_running_out_of_memory_or_being_interrupted_leaves_the_charge(
    error: type[BaseException], context: dict[str, Any], x: Any
) -> None:
    def kernel(array: Any) -> Any:
        raise error

    assert spent(context, lambda: call(OPS["sort"], kernel, (x,), {}), error) == 4


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "shapes": (lambda x: x + me.ones(3), ValueError),
    "shapes of np": (lambda x: np.add(x, np.ones(3)), ValueError),
    "shapes in place": (lambda x: x.__iadd__(me.ones((2, 2, 2))), ValueError),
    "casting in place": (lambda x: me.array([1, 2]).__iadd__(0.5), TypeError),
    "casting": (lambda x: me.add(x, x, dtype="int8"), TypeError),
    "out of the wrong shape": (lambda x: me.add(x, x, out=me.ones(3)), ValueError),
    "out read-only": (
        lambda x: me.add(x, x, out=me.broadcast_to(me.array(0.0), (2, 2))),
        ValueError,
    ),
    "types": (lambda x: x + "text", TypeError),
    "bitwise of floats": (lambda x: x & x, TypeError),
    "axis": (lambda x: x.sum(axis=5), ValueError),
    "axis twice": (lambda x: me.sum(x, axis=(0, 0)), ValueError),
    "axis of sort": (lambda x: x.sort(axis=9), ValueError),
    "inner lengths": (lambda x: x @ me.ones(5), ValueError),
    "not square": (lambda x: me.linalg.inv(x[:1]), np.linalg.LinAlgError),
    "max of nothing": (lambda x: me.zeros(0).max(), ValueError),
    "index": (lambda x: x.__setitem__(9, 1.0), IndexError),
    "value of the wrong shape": (lambda x: x.__setitem__(0, [1.0, 2.0, 3.0]), ValueError),
    "mask of the wrong shape": (lambda x: x.__setitem__(np.ones((3, 3), bool), 0.0), IndexError),
    "unknown keyword": (lambda x: me.exp(x, nonsense=1), TypeError),
    "subscripts": (lambda x: me.einsum("ij,jk->iz", x, x), ValueError),
    "reshape": (lambda x: x.reshape(3), ValueError),
    "negative power of integers": (lambda x: me.array([2, 3]) ** -2, ValueError),
    "fft of no dimension": (lambda x: me.fft.fft(me.array(1.0)), (IndexError, ValueError)),
    "negative scale": (lambda x: me.random.normal(0.0, -1.0, 3), ValueError),
    "object that refuses": (lambda x: x + object(), TypeError),
    "partition": (lambda x: x.partition(7), ValueError),
    "unsupported": (lambda x: me.savetxt("file", x), me.UnsupportedFunctionError),
}


@WAYS
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_call_that_numpy_refuses_is_not_charged_and_changes_nothing(
    name: str, context: dict[str, Any], x: Any
) -> None:
    run, error = REFUSED[name]
    before = np.asarray(x).tobytes()
    assert spent(context, lambda: run(x), error) == 0
    assert np.asarray(x).tobytes() == before


@WAYS
@pytest.mark.parametrize("data", [[1.0, 2.0], [0.0, 0.0], [float("nan"), -1.0]])
def test_a_refusal_reveals_nothing_about_the_data(
    data: list[float], context: dict[str, Any]
) -> None:
    """The count after a failed call is a function of shapes, so it reveals no values."""
    y = me.array(data)
    with me.BudgetContext(10**6, quiet=True, **context) as books:
        for attempt in (
            lambda: me.linalg.cholesky(me.outer(y, y)),
            lambda: me.linalg.inv(me.outer(y, y)),
            lambda: me.linalg.solve(me.diag(y), y),
        ):
            try:
                attempt()
            except np.linalg.LinAlgError:
                continue
    # outer of y with itself, cholesky 2^3/3, outer, inv 2^3, solve 2*2^3/3 + 2^2
    assert books.flops_used == 3 + 2 + 3 + 8 + 9


def test_an_insufficient_budget_refuses_before_a_callback_is_called() -> None:
    called: list[int] = []

    def callback(row: Any) -> Any:
        called.append(1)
        return row.sum()

    with me.BudgetContext(3, quiet=True) as books, pytest.raises(me.BudgetExhaustedError):
        me.apply_along_axis(callback, 1, me.ones((4, 2)))
    assert len(called) == 2  # the sum of the second call did not fit
    assert books.flops_used == 2


def test_of_many_threads_with_a_budget_for_one_call_exactly_one_runs() -> None:
    x = me.ones(1000)
    ran, refused = [], []
    start = threading.Barrier(16)

    def work() -> None:
        start.wait()
        try:
            ran.append(me.sort(x))
        except me.BudgetExhaustedError:
            refused.append(1)

    with me.BudgetContext(10_000, quiet=True) as books:
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(ran), len(refused)) == (1, 15)
    assert books.flops_used == 10_000


@WAYS
def test_numpys_warnings_are_shown_once(context: dict[str, Any], x: Any) -> None:
    with me.BudgetContext(10**6, quiet=True, **context):
        for run in (
            lambda: x / 0.0,
            lambda: np.log(x),
            lambda: me.mean(me.zeros(0)),
            lambda: x[1] / x[0],
        ):
            with warnings.catch_warnings(record=True) as ours:
                warnings.simplefilter("always")
                run()
            assert ours
            assert all(one.category is RuntimeWarning for one in ours)
            assert len({str(one.message) for one in ours}) == len(ours)
