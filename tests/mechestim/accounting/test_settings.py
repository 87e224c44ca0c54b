"""`configure` changes all named settings or none, and its errors name the invalid value."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import mechestim as me
from shm_echo.mechestim.accounting.settings import settings
from tests.support.spending import quiet, spend


def values() -> tuple[Any, ...]:
    return (
        settings.symmetry_warnings,
        settings.check_nan_inf,
        settings.op_log,
        settings.weights,
    )


def test_at_first_symmetry_warns_and_the_rest_is_off() -> None:
    assert values() == (True, False, 0, None)


def test_the_error_for_an_unknown_setting_lists_the_settings() -> None:
    known = "symmetry_warnings, check_nan_inf, op_log, weights"
    message = f"Unknown setting: 'bogus'. The settings are {known}."
    with pytest.raises(ValueError, match=re.escape(message)):
        me.configure(bogus=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symmetry_warnings": 1}, "symmetry_warnings must be True or False, got 1"),
        ({"check_nan_inf": None}, "check_nan_inf must be True or False, got None"),
        ({"op_log": -1}, "op_log must be a number of calls, 0 or more, got -1"),
        ({"op_log": True}, "op_log must be a number of calls, 0 or more, got True"),
        ({"op_log": 1.5}, "op_log must be a number of calls, 0 or more, got 1.5"),
        ({"op_log": 2**70}, "op_log must be a number of calls, 0 or more, got 11805"),
        ({"weights": 3}, "or None, got 3"),
        ({"weights": b"file"}, "or None, got b'file'"),
    ],
    ids=str,
)
def test_an_invalid_value_is_named_and_no_setting_changes(
    changes: dict[str, Any], message: str
) -> None:
    before = values()
    with pytest.raises(ValueError, match=re.escape(message)):
        me.configure(**{"op_log": 7, "check_nan_inf": True, **changes})
    with pytest.raises(ValueError, match="Unknown setting"):
        me.configure(op_log=7, unknown=1)
    assert values() == before


def test_several_settings_change_together_and_the_others_stay() -> None:
    assert me.configure(check_nan_inf=True, op_log=5) is None
    assert values() == (True, True, 5, None)
    me.configure(op_log=np.int64(6))
    assert values() == (True, True, 6, None)
    me.configure(op_log=None)
    assert values() == (True, True, 0, None)
    me.configure()
    assert values() == (True, True, 0, None)


# ---------------------------------------------------------------- the log of operations


def test_there_is_no_log_by_default() -> None:
    with quiet() as budget:
        spend(1)
    assert budget.op_log == []


def test_the_log_holds_the_last_calls_with_their_shapes_and_running_totals() -> None:
    me.configure(op_log=2)
    x, w = me.ones((3, 5)), me.ones((5, 2))
    with quiet(namespace="net") as budget:
        me.exp(x)
        me.einsum("ij,jk->ik", x, w)
        me.add(x, x)
    assert budget.op_log == [
        me.OpRecord("einsum", "ij,jk->ik", ((3, 5), (5, 2)), 60, 75, "net"),
        me.OpRecord("add", None, ((3, 5), (3, 5)), 15, 90, "net"),
    ]
    assert budget.flops_used == 90


def test_the_log_can_be_switched_on_shortened_and_off_while_a_budget_is_open() -> None:
    with quiet() as budget:
        spend(1, "a")
        me.configure(op_log=3)
        for name in "bcde":
            spend(1, name)
        assert [record.op_name for record in budget.op_log] == ["c", "d", "e"]
        me.configure(op_log=1)
        assert [record.op_name for record in budget.op_log] == ["e"]
        me.configure(op_log=0)
        spend(1, "f")
        assert budget.op_log == []
    assert budget.flops_used == 6


def test_settings_change_safely_while_others_charge() -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def hammer() -> None:
        try:
            with quiet(10**9) as budget:
                done = 0
                while not stop.is_set():
                    spend(2, "exp")
                    done += 1
                me.configure(weights=None)
                assert budget.summary_dict()["operations"]["exp"]["calls"] == done
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(300):
        me.configure(op_log=i % 7, weights={"exp": i % 3} if i % 2 else None)
        quiet()  # a budget that begins to follow meanwhile
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_settings_keep_no_budget_alive() -> None:
    budget = quiet()
    account = weakref.ref(budget._account)
    del budget
    gc.collect()
    assert account() is None
