"""Budgets: the operations that they allow and reject, and the code that they apply to."""

from __future__ import annotations

import asyncio
import inspect
import math
import pickle
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

import mechestim as me
from tests.support.spending import quiet, spend, used, used_by

# ---------------------------------------------------------------- spending


def test_used_and_remaining_flops_add_up_to_the_budget() -> None:
    with quiet(1000) as budget:
        me.exp(me.ones(10))
        assert (budget.flops_used, budget.flops_remaining) == (10, 990)
        me.add(me.ones(5), 1)
    assert (budget.flop_budget, budget.flops_used, budget.flops_remaining) == (1000, 15, 985)
    assert used(budget) == {"exp": 10, "add": 5}


def test_the_whole_budget_can_be_spent_and_not_one_flop_more() -> None:
    x = me.ones(10)
    with quiet(20) as budget:
        me.exp(x)
        me.exp(x)
        assert budget.flops_remaining == 0
        me.reshape(x, (5, 2))  # free
        with pytest.raises(me.BudgetExhaustedError) as caught:
            me.exp(me.array(1.0))
    error = caught.value
    assert (error.op_name, error.flop_cost, error.flops_remaining) == ("exp", 1, 0)
    assert budget.flops_used == 20


def test_an_operation_beyond_the_budget_changes_neither_arrays_nor_counts() -> None:
    x, out = me.ones(10), me.zeros(10)
    with quiet(25) as budget:
        me.exp(x, out=out)
        before = (
            out.tolist(),
            budget.summary_dict(by_namespace=True),
            len(budget._account.history),
        )
        for refused in (
            lambda: me.sqrt(me.ones(16), out=me.zeros(16)),
            lambda: me.add(out, 1, out=out) if budget.flops_remaining < 10 else me.exp(me.ones(99)),
            lambda: out.__iadd__(me.ones((7, 10))),
            lambda: out.__setitem__(slice(None), 5) if False else me.sort(me.ones(64)),
        ):
            with pytest.raises(me.BudgetExhaustedError, match="remain. Nothing was run"):
                refused()
        spend(6)
        with pytest.raises(me.BudgetExhaustedError):
            out += 1
        with pytest.raises(me.BudgetExhaustedError):
            out[:] = 7
        spend(9)
    assert out.tolist() == before[0]
    operations = budget.summary_dict()["operations"]
    assert operations.pop("work") == {"flop_cost": 15, "flops": 15, "calls": 2}
    assert operations == before[1]["operations"]


def test_the_error_names_the_price_the_remaining_flops_and_a_remedy() -> None:
    with quiet(1000), pytest.raises(me.BudgetExhaustedError) as caught:
        me.exp(me.ones((200, 30)))
    text = str(caught.value)
    assert "exp would cost 6,000 FLOPs, but only 1,000 of the budget remain" in text
    assert "at least 5,000 more" in text
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.flop_cost) == (type(caught.value), text, 6000)


def test_the_multiplier_is_applied_last_and_truncates() -> None:
    with quiet(1000, flop_multiplier=2.5) as budget:
        me.exp(me.ones(3))
    assert (budget.flops_used, budget.flop_multiplier) == (7, 2.5)
    with quiet(1000, flop_multiplier=0.1) as budget:
        me.exp(me.ones(9))
        me.exp(me.ones(19))
    assert budget.flops_used == 1
    assert budget.summary_dict()["operations"]["exp"]["calls"] == 2


def test_a_huge_multiplier_exhausts_the_budget_and_does_not_overflow() -> None:
    with quiet(2**63 - 1, flop_multiplier=1e308) as budget, pytest.raises(me.BudgetExhaustedError):
        spend(10**12)
    assert budget.flops_used == 0


def test_deduct_charges_work_outside_of_the_library() -> None:
    me.configure(op_log=5)
    with quiet(100) as budget:
        budget.deduct("my_kernel", flop_cost=np.int64(60), subscripts="ij->i", shapes=((3, 4),))
        with pytest.raises(me.BudgetExhaustedError, match="my_kernel would cost 41"):
            budget.deduct("my_kernel", flop_cost=41)
        for wrong in (-1, 1.5, True, None):
            with pytest.raises(ValueError, match="flop_cost must be an int >= 0"):
                budget.deduct("my_kernel", flop_cost=wrong)  # type: ignore[arg-type]
    assert used(budget) == {"my_kernel": 60}
    assert type(budget.flops_used) is int
    assert budget.op_log == [me.OpRecord("my_kernel", "ij->i", ((3, 4),), 60, 60, None)]


# ---------------------------------------------------------------- bad budgets


@pytest.mark.parametrize("value", [1, 10**9, 1e9, 2**63 - 1, 1.0, np.int64(2**53 + 1)])
def test_whole_numbers_of_flops_are_budgets(value: Any) -> None:
    budget = quiet(value)
    assert budget.flop_budget == value
    assert type(budget.flop_budget) is int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "flop_budget must be > 0, got 0"),
        (-5, "flop_budget must be > 0, got -5"),
        (-1e9, "flop_budget must be > 0, got -1000000000.0"),
        (1.5, "flop_budget must be a whole number of FLOPs, such as 10**9 or 1e9, got 1.5"),
        (0.5, "whole number of FLOPs, such as 10**9 or 1e9, got 0.5"),
        (True, "whole number of FLOPs, such as 10**9 or 1e9, got True"),
        (math.nan, "whole number of FLOPs, such as 10**9 or 1e9, got nan"),
        (math.inf, "whole number of FLOPs, such as 10**9 or 1e9, got inf"),
        (-math.inf, "whole number of FLOPs, such as 10**9 or 1e9, got -inf"),
        ("1e9", "whole number of FLOPs, such as 10**9 or 1e9, got '1e9'"),
        (None, "whole number of FLOPs, such as 10**9 or 1e9, got None"),
        (1j, "whole number of FLOPs, such as 10**9 or 1e9, got 1j"),
        (2**63, "flop_budget must be at most 2**63 - 1, got 9223372036854775808"),
        (1e19, "flop_budget must be at most 2**63 - 1, got 1e+19"),
        (10**400, "flop_budget must be at most 2**63 - 1, got 1000"),
    ],
)
def test_an_invalid_budget_is_rejected(value: Any, message: str) -> None:
    for make in (me.BudgetContext, me.budget):
        with pytest.raises(ValueError, match=re.escape(message)):
            make(value)


@pytest.mark.parametrize("name", ["flop_multiplier", "wall_time_limit_s"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "2", True, 10**400])
def test_multipliers_and_time_limits_are_finite_and_positive(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        me.BudgetContext(10, **{name: value})


def test_a_namespace_must_be_a_str() -> None:
    with pytest.raises(ValueError, match="namespace must be a str or None, got 3"):
        me.BudgetContext(10, namespace=3)
    for wrong in ("", 3, None):
        with pytest.raises(ValueError, match="a namespace is a str that is not empty"):
            me.namespace(wrong)


# ---------------------------------------------------------------- nesting, again


def test_contexts_do_not_nest() -> None:
    with quiet() as outer:
        with pytest.raises(RuntimeError, match="Cannot nest BudgetContexts"):
            with quiet():
                pytest.fail("the inner block ran")
        with pytest.raises(RuntimeError, match="Cannot nest BudgetContexts"):
            outer.__enter__()
        spend(3)  # the rejected contexts have changed nothing
    assert outer.flops_used == 3
    with quiet() as later:
        spend(4)
    assert (outer.flops_used, later.flops_used) == (3, 4)


def test_one_context_can_be_entered_again_and_its_count_goes_on() -> None:
    budget = quiet(10, namespace="net")
    for _ in range(3):
        with budget:
            spend(3)
    assert budget.flops_used == 9
    with budget, pytest.raises(me.BudgetExhaustedError):
        spend(2)
    books = me.budget_summary_dict(by_namespace=True)
    assert books["by_namespace"]["net"]["flop_budget"] == 10
    assert (books["flop_budget"], books["flops_used"]) == (10, 9)


def test_an_exception_closes_the_context_and_its_count_stays() -> None:
    budget = quiet()
    with pytest.raises(KeyError), budget:
        spend(5)
        raise KeyError
    assert budget.flops_used == 5
    with quiet() as later:
        spend(1)
    assert later.flops_used == 1


def test_time_inside_is_counted_and_time_outside_is_not() -> None:
    budget = quiet()
    assert budget.elapsed_s == 0.0
    with budget:
        while budget.elapsed_s == 0.0:
            pass
        inside = budget.elapsed_s
    left = budget.elapsed_s
    assert 0 < inside <= left == budget.elapsed_s


# ---------------------------------------------------------------- decorator


def test_a_decorated_function_has_a_fresh_budget_for_each_call_and_its_own_name() -> None:
    @me.BudgetContext(10, quiet=True)
    def work(flops: int, *, twice: bool = False) -> str:
        """Says something."""
        spend(flops)
        return "done" * (1 + twice)

    assert work(10) == "done"
    assert work(10, twice=True) == "donedone"
    with pytest.raises(me.BudgetExhaustedError):
        work(11)
    assert (work.__name__, work.__doc__) == ("work", "Says something.")
    books = me.budget_summary_dict(by_namespace=True)["by_namespace"]
    assert {name: row["flops_used"] for name, row in books.items()} == {"work": 20}
    assert books["work"]["flop_budget"] == 30


def test_budget_decorates_too_and_a_namespace_takes_precedence_over_the_name() -> None:
    @me.budget(10, quiet=True, namespace="layer")
    def work() -> None:
        spend(4)

    work()
    assert list(me.budget_summary_dict(by_namespace=True)["by_namespace"]) == ["layer"]
    assert isinstance(me.budget(10), me.BudgetContext)
    signature = inspect.signature(me.budget)
    assert signature.parameters.keys() == inspect.signature(me.BudgetContext).parameters.keys()


def test_a_coroutine_function_is_counted_until_it_has_returned() -> None:
    @me.BudgetContext(10, quiet=True)
    async def work(flops: int) -> int:
        await asyncio.sleep(0)
        spend(flops)
        await asyncio.sleep(0)
        return flops

    async def several() -> list[Any]:
        return await asyncio.gather(work(10), work(9), work(11), return_exceptions=True)

    assert inspect.iscoroutinefunction(work)
    first, second, third = asyncio.run(several())
    assert (first, second, type(third)) == (10, 9, me.BudgetExhaustedError)
    assert used_by("work") == 19
    assert used_by("(default)") == 0


def test_a_generator_function_cannot_be_decorated_because_its_body_would_run_outside() -> None:
    def steps() -> Iterator[int]:
        yield 1

    async def async_steps() -> AsyncIterator[int]:
        yield 1

    for function in (steps, async_steps):
        for decorator in (me.BudgetContext(10), me.budget(10), me.namespace("n")):
            with pytest.raises(TypeError, match=f"{function.__name__} is a generator function"):
                decorator(function)


def test_a_decorated_function_that_calls_itself_nests() -> None:
    @me.BudgetContext(10, quiet=True)
    def work(depth: int) -> None:
        if depth:
            work(depth - 1)

    with pytest.raises(RuntimeError, match="Cannot nest"):
        work(1)
