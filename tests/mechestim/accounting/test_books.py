"""The records of contexts: elapsed time, books of the process, history and banner."""

from __future__ import annotations

import itertools
import pickle
import sys

import pytest

import mechestim as me
from shm_echo import __version__
from shm_echo.mechestim.accounting import active_account
from tests.support.spending import quiet, spend

# ---------------------------------------------------------------- time


def test_operations_after_the_time_limit_raise_and_are_not_charged() -> None:
    with quiet(100, wall_time_limit_s=0.5) as budget:
        x = me.ones(3)
        me.exp(x)
        while budget.elapsed_s <= 1.0:  # by the clock of a server, too
            pass
        with pytest.raises(me.TimeExhaustedError) as caught:
            me.exp(x)
        with pytest.raises(me.TimeExhaustedError):
            x + x
    error = caught.value
    assert (error.op_name, error.limit_s) == ("exp", 0.5)
    assert error.elapsed_s > 0.5
    assert budget.flops_used == 3
    assert budget.wall_time_limit_s == 0.5
    assert "exp was not run" in str(error)
    assert pickle.loads(pickle.dumps(error)).elapsed_s == error.elapsed_s
    with pytest.raises(me.TimeExhaustedError), budget:  # the time inside adds up
        spend(1)
    with quiet(100, wall_time_limit_s=1000) as budget:
        me.exp(x)
    assert budget.flops_used == 3


# ---------------------------------------------------------------- what stays


def test_reset_forgets_closed_contexts_and_the_charges_of_the_default_budget() -> None:
    spend(5)
    budget = quiet(100, namespace="net")
    with budget:
        spend(7)
    me.budget_reset()
    assert me.budget_summary_dict(by_namespace=True)["by_namespace"] == {}
    assert budget.flops_used == 7
    spend(2)
    with budget:
        spend(3)
    books = me.budget_summary_dict(by_namespace=True)
    assert books["by_namespace"]["net"] == {
        "flop_budget": 100,
        "flops_used": 3,
        "operations": {"work": {"flop_cost": 3, "flops": 3, "calls": 1}},
    }
    assert books["by_namespace"]["(default)"]["flops_used"] == 2


def test_contexts_of_one_namespace_are_merged() -> None:
    for flops in (3, 4):
        with quiet(100, namespace="epoch"):
            spend(flops)
    with quiet(50):
        spend(1, "other")
    books = me.budget_summary_dict(by_namespace=True)
    epoch = books["by_namespace"]["epoch"]
    assert (epoch["flop_budget"], epoch["flops_used"]) == (200, 7)
    assert epoch["operations"]["work"]["calls"] == 2
    assert books["by_namespace"][None]["operations"].keys() == {"other"}
    assert (books["flop_budget"], books["flops_used"], books["flops_remaining"]) == (250, 8, 242)
    assert me.budget_summary_dict().keys() == books.keys() - {"by_namespace"}


def test_an_open_context_is_not_in_the_books_until_it_closes() -> None:
    with quiet():
        spend(5)
        assert me.budget_summary_dict()["flops_used"] == 0
    assert me.budget_summary_dict()["flops_used"] == 5


@pytest.mark.local_only("internals")
def test_memory_depends_on_the_operations_and_not_on_the_calls() -> None:
    with quiet(2**62) as budget:
        view = active_account.current_view()
        for i in range(20_000):
            view.charge(f"op{i % 10}", i)
        account = budget._account
        assert sum(len(view.tallies) for view in account.views.values()) == 10
        assert account.log is None
        assert len(account.marks) < 256
    for _ in range(1000):
        with quiet(namespace="same"):
            spend(1)
    books = me.budget_summary_dict(by_namespace=True)["by_namespace"]
    assert books["same"]["operations"]["work"]["calls"] == 1000


@pytest.mark.local_only("internals")
def test_the_history_is_bounded_and_rises_to_the_present() -> None:
    with quiet(2**62) as budget:
        view = active_account.current_view()
        for i in range(30_000):
            view.charge(f"op{i % 3}", 1 + i * i)
            if i % 5000 == 0:
                assert sum(budget._account.history[-1].flops.values()) == budget.flops_used
    history = budget._account.history
    assert 100 < len(history) <= 256
    totals = [sum(mark.flops.values()) for mark in history]
    times = [mark.elapsed_s for mark in history]
    assert totals == sorted(totals)
    assert times == sorted(times)
    assert totals[-1] == budget.flops_used
    largest_step = max(b - a for a, b in itertools.pairwise(totals))
    assert largest_step < budget.flops_used / 20


# ---------------------------------------------------------------- the banner


def test_entering_prints_a_banner_to_stderr_unless_it_is_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with me.BudgetContext(1e6):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"mechestim {__version__}")
    assert err.endswith(" | budget: 1.00e+06 FLOPs\n")
    with me.BudgetContext(1e6, quiet=True):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_banner_that_cannot_be_printed_leaves_no_context_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        def write(self, text: str) -> int:
            raise BrokenPipeError("the pipe has no reader")

        def flush(self) -> None: ...

    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.raises(BrokenPipeError):
        with me.BudgetContext(10):
            pytest.fail("the block ran")
    with quiet() as budget:
        spend(1)
    assert budget.flops_used == 1


def test_the_repr_shows_the_charges_and_the_namespace() -> None:
    with quiet(1000, namespace="net") as budget:
        spend(10)
    assert repr(budget) == "BudgetContext(10 of 1,000 FLOPs used, namespace='net')"
    assert budget.summary().startswith("mechestim FLOP Budget Summary [net]\n")
