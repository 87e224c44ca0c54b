"""The default budget, which applies without an open context; and namespaces."""

from __future__ import annotations

import asyncio
import re

import pytest

import mechestim as me
from tests.support.scripts import run_script
from tests.support.spending import quiet, spend

# ---------------------------------------------------------------- the default budget


def test_outside_of_contexts_the_default_budget_is_charged_and_returns_after_them() -> None:
    spend(3)
    with quiet() as budget:
        spend(5)
    spend(7)
    assert budget.flops_used == 5
    books = me.budget_summary_dict(by_namespace=True)["by_namespace"]
    assert books["(default)"]["flops_used"] == 10
    assert books["(default)"]["flop_budget"] == 10**15


def test_free_operations_and_summaries_create_no_default_budget() -> None:
    printed = run_script("""
import mechestim as me
me.reshape(me.ones(6), (2, 3)); repr(me.ones(3)); me.budget_summary_dict(); me.budget_reset()
print(me.budget_summary_dict(by_namespace=True))
""")
    assert "'by_namespace': {}" in printed


@pytest.mark.parametrize(("text", "limit"), [("1e6", 10**6), (" 250 ", 250), ("", 10**15)])
def test_the_environment_sets_the_default_budget(
    text: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_DEFAULT_BUDGET", text)
    spend(1)
    monkeypatch.setenv("MECHESTIM_DEFAULT_BUDGET", "7")  # it is read once
    with pytest.raises(me.BudgetExhaustedError) as caught:
        spend(limit)
    assert caught.value.flops_remaining == limit - 1


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "nan", "inf", "1e30", "0x10"])
def test_an_invalid_default_budget_raises_and_names_the_variable(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_DEFAULT_BUDGET", text)
    with pytest.raises(ValueError, match=re.escape(f"MECHESTIM_DEFAULT_BUDGET={text!r}: ")):
        spend(1)


# ---------------------------------------------------------------- namespaces


def test_namespaces_label_what_runs_inside_them_and_nest_freely() -> None:
    with quiet(100, namespace="net") as budget:
        spend(1)
        with me.namespace("first"):
            spend(2)
            with me.namespace("deep"):
                spend(4)
            spend(8)
        spend(16)
    parts = budget.summary_dict(by_namespace=True)["by_namespace"]
    assert {name: row["flops_used"] for name, row in parts.items()} == {
        "net": 17,
        "net.first": 10,
        "net.first.deep": 4,
    }
    assert budget.flops_used == 31


def test_namespaces_work_without_a_context_and_as_decorators() -> None:
    @me.namespace("loader")
    def load() -> None:
        spend(5)

    @me.namespace("asked")
    async def ask() -> None:
        await asyncio.sleep(0)
        spend(6)

    load()
    asyncio.run(ask())
    with me.namespace("outer"):
        load()
        with quiet(namespace="net"):
            spend(7)
    books = me.budget_summary_dict(by_namespace=True)["by_namespace"]
    labels = {name: row["flops_used"] for name, row in books.items()}
    assert labels.pop("(default)") == 0
    assert labels.pop("loader") == 5
    assert labels.pop("asked") == 6
    assert labels.pop("outer.loader") == 5
    assert sum(labels.values()) == 7


def test_an_exception_closes_the_namespace() -> None:
    with quiet(100) as budget:
        with pytest.raises(KeyError), me.namespace("inner"):
            raise KeyError
        spend(1)
    assert list(budget.summary_dict(by_namespace=True)["by_namespace"]) == [None]


def test_namespaces_do_not_change_charges() -> None:
    with quiet(10) as budget:
        with me.namespace("a"):
            spend(6)
        with me.namespace("b"), pytest.raises(me.BudgetExhaustedError) as caught:
            spend(5)
    assert caught.value.flops_remaining == 4
    assert budget.flops_used == 6
