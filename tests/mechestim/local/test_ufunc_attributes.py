"""Counted ufuncs have the methods and attributes of ufuncs, and defer as those do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shm_echo.mechestim as me
from tests.mechestim.backend_mode import LOCAL


def charged(run: Any) -> dict[str, int]:
    """Return the charges of `run()` by operation."""
    with me.BudgetContext(10**9, quiet=True) as budget:
        run()
        books = budget.summary_dict()["operations"]
    return {name: tally["flop_cost"] for name, tally in books.items()}


X = me.array([1.0, 2.0, 3.0, 4.0])
M = me.array([[1.0, 2.0], [3.0, 4.0]])


CALLS = {
    "sum": (lambda ufuncs: ufuncs.add.reduce(X), 4),
    "max": (lambda ufuncs: ufuncs.maximum.reduce(M, axis=None), 4),
    "cumprod": (lambda ufuncs: ufuncs.multiply.accumulate(X), 4),
    "add.reduceat": (lambda ufuncs: ufuncs.add.reduceat(X, [0, 2]), 4),
    "add.outer": (lambda ufuncs: ufuncs.add.outer(X, X), 16),
}


@pytest.mark.parametrize(("book", "call", "cost"), [(name, *rest) for name, rest in CALLS.items()])
def test_a_method_is_charged_alike_in_both_call_forms(book: str, call: Any, cost: int) -> None:
    assert charged(lambda: call(me)) == {book: cost}
    assert charged(lambda: call(np)) == {book: cost}
    assert type(call(me)) is type(call(np))
    assert np.array_equal(np.asarray(call(me)), np.asarray(call(np)))


def test_at_writes_into_the_array_and_is_charged_the_elements_it_names() -> None:
    target = me.zeros(4)
    assert charged(lambda: me.add.at(target, [0, 0, 3], 2.0)) == {"add.at": 3}
    assert target.tolist() == [4.0, 0.0, 0.0, 2.0]


def test_the_attributes_are_those_of_numpy() -> None:
    for name in ("add", "divmod", "matmul", "sin", "logaddexp"):
        ours, theirs = getattr(me, name), getattr(np, name)
        assert isinstance(ours, me.ufunc)
        for attribute in ("nin", "nout", "nargs", "types", "identity", "signature", "__name__"):
            assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert isinstance(np.add, me.ufunc) == LOCAL
    assert not isinstance(me.sum, me.ufunc)


def test_a_missing_operand_raises_numpys_own_error() -> None:
    with pytest.raises(TypeError, match=r"hypot\(\) takes .* but 1 w"):
        me.hypot(1.0)


class Wrapper:
    """Computes ufuncs itself and records its operands."""

    def __init__(self) -> None:
        self.handed: list[Any] = []

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> str:
        values = (*inputs, *kwargs.get("out", ()))
        self.handed = [value for value in values if value is not self and value is not None]
        return "mine"


@pytest.mark.parametrize(
    "run",
    [
        lambda x, other: x + other,
        lambda x, other: other * x,
        lambda x, other: me.add(x, other),
        lambda x, other: np.add(other, x),
        lambda x, other: me.sin(x, out=other),
        lambda x, other: me.add.reduce(x, out=other),
        lambda x, other: me.modf(x, other),
        lambda x, other: x.__iadd__(other),
    ],
)
def test_another_class_with_array_ufunc_is_called_first_with_counted_arrays(
    run: Any,
) -> None:
    other = Wrapper()
    x = me.arange(3.0)
    assert charged(lambda: run(x, other)) == {}
    assert run(x, other) == "mine"
    assert all(value is x for value in other.handed)
    assert other.handed


class Declines:
    __array_ufunc__ = None

    def __radd__(self, other: object) -> str:
        return "reversed"


class Prior:
    __array_priority__ = 1

    def __radd__(self, other: object) -> str:
        return "reversed"


class Confused:
    __array_priority__ = None

    def __radd__(self, other: object) -> str:
        return "reversed"


def test_operators_defer_by_the_rules_of_numpy() -> None:
    for x in (me.arange(3.0), me.float64(1.0) + me.array(1.0)):
        assert x + Declines() == "reversed"
        assert x + Prior() == "reversed"
    with pytest.raises(TypeError, match="does not support ufuncs"):
        me.arange(3.0).__iadd__(Declines())


@pytest.mark.local_only("objects")
def test_an_operand_without_array_ufunc_is_added_element_by_element() -> None:
    assert (me.arange(2) + Confused()).tolist() == ["reversed", "reversed"]
