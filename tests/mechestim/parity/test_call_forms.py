"""Every operation gives NumPy's result and charges its price, in every call form."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.parity import cases_binary
from tests.mechestim.parity.call_forms import REFERENCES, CallForm, call_forms, has_array
from tests.mechestim.parity.cases import ABSENT, CASES, FAMILIES, some
from tests.mechestim.parity.outcomes import Charges, compare, expected, observed
from tests.mechestim.parity.specs import Case, Same, build, member

SUPPORTED = sorted(name for name, op in OPS.items() if op.category is not Category.UNSUPPORTED)


def test_there_are_cases_for_every_operation() -> None:
    without = [name for name in SUPPORTED if name not in CASES and name not in ABSENT]
    assert not without, "no case for these: add some to tests/mechestim/parity/cases_*.py"


def test_every_case_is_of_an_operation_that_exists() -> None:
    assert set(CASES) <= set(SUPPORTED)


def priced(case: Case) -> Charges:
    """Return the charge of `case` by the registry."""
    op = OPS[case.op]
    if op.cost is None:
        return {}
    args, kwargs = build(case, me)
    cost = op.cost(
        *args[1:] if case.op.count(".") == 2 and case.op.startswith("random.") else args, **kwargs
    )
    assert type(cost) is int, f"the price is {cost!r}"
    if cost == 0 and op.zero_ok:
        return {op.book_name: (0, 1)}
    return {op.book_name: (max(1, cost), 1)}


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_call_form_gives_what_numpy_gives_and_charges_the_price(name: str) -> None:
    if name in ABSENT:
        with pytest.raises(me.UnsupportedFunctionError, match="the installed NumPy"):
            member(me, name)
    else:
        compare_all(CASES[name])


@pytest.mark.nightly
@pytest.mark.parametrize("name", cases_binary.UFUNCS)
def test_every_pair_of_types_and_shapes_gives_what_numpy_gives(name: str) -> None:
    compare_all(list(cases_binary.exhaustive(name)))


def compare_all(cases: list[Case]) -> None:
    """Check every case in every call form and report all failures together."""
    wrong: list[str] = []
    for case in cases:
        for form, call in call_forms(case):
            try:
                check(case, form, call)
            except AssertionError as error:
                wrong.append(f"{case} by {form}: {error}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])


def check(case: Case, form: str, call: CallForm) -> None:
    right, got = expected(case, call), observed(case, call)
    compare(case, right, got)
    if right.error is None:
        if not OPS[case.op].callbacks:
            assert got.charges == priced(case), (
                f"charged {got.charges}, the price is {priced(case)}"
            )
    elif case.started and not (form == "in place" and isinstance(right.error, TypeError)):
        assert got.charges, "had started, but nothing is charged"
    else:
        assert not got.charges, f"was refused, but {got.charges} are charged ({right.error!r})"


@pytest.mark.local_only("numpy arrays")
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_plain_operands_cost_the_same_and_give_counted_arrays(family: str) -> None:
    for name in FAMILIES[family]:
        for case in some(name, 6):
            owned = name.startswith("ndarray.") or name.count(".") == 2
            if owned or "out" in case.kwargs or not has_array(case):
                continue
            call = next(iter(call_forms(case)))[1]
            right, ours = expected(case, call), observed(case, call)
            if right.error is None and not any(right.result is one for one in right.args[1:]):
                got = observed(case, on_plain(call))
                compare(case, replace(right, args=[], kwargs={}), replace(got, args=[], kwargs={}))
                assert got.charges == ours.charges, str(case)


def on_plain(call: CallForm) -> CallForm:
    """Return `call` with plain arrays in place of counted ones; one object stays one object."""

    def form(xp: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        known: dict[int, Any] = {}

        def plain(value: Any) -> Any:
            if isinstance(value, me.ndarray):
                return known.setdefault(id(value), value.__array__())
            if isinstance(value, (list, tuple)):
                return type(value)([plain(item) for item in value])
            return value

        return call(xp, plain(args), {key: plain(value) for key, value in kwargs.items()})

    return form


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_arguments_by_name_give_and_cost_the_same(family: str) -> None:
    wrong = []
    for name in FAMILIES[family]:
        if name.count(".") == 2 or name.startswith("ndarray.") or name in REFERENCES:
            continue
        for case in some(name, 10):
            named = by_name(case)
            if named is None:
                continue
            call = next(iter(call_forms(case)))[1]
            right, got = expected(named, call), observed(named, call)
            try:
                compare(named, right, got)
                if right.error is None:  # NumPy's signatures hide what is positional only
                    assert got.charges == observed(case, call).charges
            except AssertionError as error:
                wrong.append(f"{named}: {error}")
    assert not wrong, "\n".join(wrong)


def by_name(case: Case) -> Case | None:
    """Return `case` with as many arguments by name as NumPy allows; None if unknown."""
    function = member(np, OPS[case.op].numpy)
    try:
        bound = inspect.signature(function).bind(*case.args, **case.kwargs)
    except (TypeError, ValueError):
        return None
    kinds = {key: one.kind for key, one in bound.signature.parameters.items()}
    args, kwargs = [], {}
    for key, value in bound.arguments.items():
        if kinds[key] is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            kwargs[key] = value
        elif kinds[key] is inspect.Parameter.POSITIONAL_ONLY:
            args.append(value)
        elif kinds[key] is inspect.Parameter.VAR_KEYWORD:
            kwargs.update(value)
        elif kinds[key] is inspect.Parameter.KEYWORD_ONLY:
            kwargs[key] = value
        else:
            return None
    if any(isinstance(one, Same) for one in kwargs.values()):
        return None  # refers to a place among the positional ones
    return replace(case, args=tuple(args), kwargs=kwargs)
