"""An operation that does not fit its budget changes nothing; one that fits may spend all of it."""

from __future__ import annotations

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.registry import OPS
from tests.mechestim.parity.call_forms import CallForm, call_forms
from tests.mechestim.parity.cases import CASES, FAMILIES, some
from tests.mechestim.parity.outcomes import Outcome, compare, expected, observed, parts
from tests.mechestim.parity.specs import Case, build

# Makes the fast paths leave the charge to the dispatcher.
LONG_WAY = {"wall_time_limit_s": 3600.0}


def counted(family: str) -> list[str]:
    return [name for name in FAMILIES[family] if OPS[name].counted]


def cost_of(outcome: Outcome) -> int:
    return sum(flops for flops, _ in outcome.charges.values())


@pytest.mark.parametrize("way", ["short", "long"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_call_that_exceeds_the_budget_by_one_flop_changes_nothing(family: str, way: str) -> None:
    context = LONG_WAY if way == "long" else {}
    for name in counted(family):
        few = some(name, 3)
        costs = [refused(case, context) for case in few]
        if not any(costs):
            assert any(refused(case, context) for case in CASES[name]), f"nothing of {name} costs"


def refused(case: Case, context: dict[str, float]) -> bool:
    """Return True if `case` costs anything; assert that it is refused if one FLOP is missing."""
    costs = False
    for form, call in call_forms(case):
        cost = cost_of(observed(case, call))
        if cost:
            costs = True
            assert_refused_for_one_flop(case, form, call, cost, context)
    return costs


def assert_refused_for_one_flop(
    case: Case, form: str, call: CallForm, cost: int, context: dict[str, float]
) -> None:
    where = f"{case} by {form}"
    short = observed(case, call, budget=cost, spent=1, **context)
    assert type(short.error) is me.BudgetExhaustedError, f"{where}: {short.error!r}"
    assert short.error.flop_cost == cost, where
    assert short.error.flops_remaining == cost - 1, where
    assert not short.charges, where
    args, kwargs = build(case, np)
    for before, after in zip(parts([args, kwargs]), parts([short.args, short.kwargs]), strict=True):
        plain = np.asarray(after)
        assert plain.dtype == before.dtype, where
        assert plain.tobytes() == before.tobytes(), f"{where}: an array has changed"
    if case.op.startswith("random."):
        untouched = observed(case, lambda xp, args, kwargs: None)
        assert short.after == untouched.after, f"{where}: random numbers were drawn"
    enough = observed(case, call, budget=cost, **context)
    assert not isinstance(enough.error, me.BudgetExhaustedError), where
    assert cost_of(enough) == cost, where


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_dispatcher_and_the_fast_path_give_the_same(family: str) -> None:
    for name in counted(family):
        for case in some(name, 8):
            for form, call in call_forms(case):
                short, long = observed(case, call), observed(case, call, **LONG_WAY)
                assert long.charges == short.charges, f"{case} by {form}"
                compare(case, expected(case, call), long)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_multiplier_is_applied_last_and_truncated(family: str) -> None:
    for name in counted(family):
        for case in some(name, 2):
            for form, call in call_forms(case):
                plain = observed(case, call)
                multiplied = observed(case, call, flop_multiplier=2.5)
                assert multiplied.charges == {
                    key: (int(flops * 2.5), calls) for key, (flops, calls) in plain.charges.items()
                }, f"{case} by {form}"
