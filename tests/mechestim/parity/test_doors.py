"""Every operation, through every door, gives what NumPy gives and charges what its entry says."""

from __future__ import annotations

import pytest

import mechestim as me
from shm_echo.mechestim.registry import OPS, Category
from tests.mechestim.parity import cases_binary
from tests.mechestim.parity.cases import ABSENT, CASES
from tests.mechestim.parity.doors import Door, doors
from tests.mechestim.parity.outcomes import Charges, compare, expected, observed
from tests.mechestim.parity.specs import Case, build, member

SUPPORTED = sorted(name for name, op in OPS.items() if op.category is not Category.UNSUPPORTED)


def test_there_are_cases_for_every_operation() -> None:
    without = [name for name in SUPPORTED if name not in CASES and name not in ABSENT]
    assert not without, "no case for these: add some to tests/mechestim/parity/cases_*.py"


def test_every_case_is_of_an_operation_that_exists() -> None:
    assert set(CASES) <= set(SUPPORTED)


def priced(case: Case) -> Charges:
    """What the registry says that ``case`` is charged."""
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
def test_every_door_gives_what_numpy_gives_and_charges_the_price(name: str) -> None:
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
    """Every case by every door; what is wrong is told together."""
    wrong: list[str] = []
    for case in cases:
        for door, call in doors(case):
            try:
                check(case, door, call)
            except AssertionError as error:
                wrong.append(f"{case} by {door}: {error}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])


def check(case: Case, door: str, call: Door) -> None:
    right, got = expected(case, call), observed(case, call)
    compare(case, right, got)
    if right.error is None:
        if not OPS[case.op].callbacks:
            assert got.charges == priced(case), (
                f"charged {got.charges}, the price is {priced(case)}"
            )
    elif case.started and not (door == "in place" and isinstance(right.error, TypeError)):
        assert got.charges, "had started, but nothing is charged"
    else:
        assert not got.charges, f"was refused, but {got.charges} are charged ({right.error!r})"
