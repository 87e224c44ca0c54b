"""Threads, tasks, signals and forks: who charges which budget, and that no charge is lost."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import mechestim as me
from shm_echo.mechestim.accounting import active_account
from shm_echo.mechestim.accounting import context as contexts
from tests.support.scripts import run_script
from tests.support.spending import quiet, spend, used


def in_thread(work: Callable[[], Any]) -> Any:
    """Return the result of `work` in a thread of its own."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def default_used() -> int:
    account = active_account.existing_default()
    return 0 if account is None else account.used


# ---------------------------------------------------------------- which budget


def test_a_thread_that_is_started_inside_a_context_charges_it() -> None:
    with quiet() as budget:
        in_thread(lambda: me.exp(me.ones(10)))
        in_thread(lambda: in_thread(lambda: spend(5)))  # and so do the threads that it starts
    assert used(budget) == {"exp": 10, "work": 5}
    assert default_used() == 0


def test_a_thread_that_was_started_before_charges_the_default_budget() -> None:
    begin = threading.Event()

    def work() -> None:
        begin.wait()
        spend(3)

    thread = threading.Thread(target=work)
    thread.start()
    with quiet() as budget:
        begin.set()
        thread.join()
    assert (budget.flops_used, default_used()) == (0, 3)


def test_a_thread_that_outlives_the_context_charges_the_default_budget_from_then_on() -> None:
    left, first_done = threading.Event(), threading.Event()

    def work() -> None:
        spend(3)
        first_done.set()
        left.wait()
        spend(4)
        me.exp(me.ones(5))

    with quiet() as budget:
        thread = threading.Thread(target=work)
        thread.start()
        first_done.wait()
    left.set()
    thread.join()
    assert (budget.flops_used, default_used()) == (3, 9)


def test_two_threads_have_two_contexts_at_once() -> None:
    both = threading.Barrier(2)

    def work(flops: int) -> tuple[int, dict[str, int]]:
        with quiet(100 * flops) as budget:
            both.wait()
            for _ in range(10):
                spend(flops)
            both.wait()
        return budget.flops_used, used(budget)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [1, 2])) == [(10, {"work": 10}), (20, {"work": 20})]
    assert default_used() == 0


def test_a_thread_inside_a_context_may_open_its_own() -> None:
    def work() -> int:
        with quiet(namespace="inner") as inner:
            spend(2)
        spend(4)
        return inner.flops_used

    with quiet(namespace="outer") as outer:
        assert in_thread(work) == 2
        spend(1)
    assert outer.flops_used == 5


def test_a_context_cannot_be_entered_by_a_second_thread_while_it_is_open() -> None:
    with quiet() as budget, pytest.raises(RuntimeError, match="Cannot nest"):
        in_thread(budget.__enter__)
    with budget:
        spend(1)
    assert budget.flops_used == 1


def test_a_thread_that_ended_inside_its_context_does_not_block_others() -> None:
    budgets = [quiet() for _ in range(20)]
    for budget in budgets:
        in_thread(budget.__enter__)  # the next thread may well get the number of this one
    with quiet() as later:
        spend(1)
    assert later.flops_used == 1


def test_threads_inherit_namespaces() -> None:
    with quiet(namespace="net") as budget, me.namespace("part"):
        in_thread(lambda: spend(3))
    assert list(budget.summary_dict(by_namespace=True)["by_namespace"]) == ["net.part"]


def test_one_namespace_object_serves_several_threads() -> None:
    part, both = me.namespace("part"), threading.Barrier(2)

    def work(_: int) -> None:
        for _ in range(50):
            both.wait()
            with part:
                both.wait()
                spend(1)

    with quiet() as budget, ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
        spend(5, "after")
    parts = budget.summary_dict(by_namespace=True)["by_namespace"]
    assert {name: row["flops_used"] for name, row in parts.items()} == {"part": 100, None: 5}


def test_the_workers_of_an_executor_charge_the_context_that_created_them() -> None:
    with quiet() as budget, ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda n: float(me.sum(me.ones(n))), [3, 5, 7, 9]))
    assert sums == [3, 5, 7, 9]
    assert used(budget) == {"sum": 24}
    assert default_used() == 0


# ---------------------------------------------------------------- tasks


def test_tasks_charge_the_context_they_were_started_in() -> None:
    async def work(flops: int) -> None:
        await asyncio.sleep(0)
        spend(flops)

    async def main() -> int:
        with quiet() as budget:
            await asyncio.gather(*(asyncio.create_task(work(n)) for n in (1, 2, 3)))
            await asyncio.to_thread(spend, 10)
        await asyncio.create_task(work(100))
        return budget.flops_used

    assert asyncio.run(main()) == 16
    assert default_used() == 100


def test_tasks_of_one_thread_have_contexts_of_their_own() -> None:
    async def work(flops: int, turn: asyncio.Barrier | None) -> int:
        with quiet(1000) as budget:
            for _ in range(5):
                spend(flops)
                await asyncio.sleep(0)
        return budget.flops_used

    async def main() -> list[int]:
        return await asyncio.gather(*(work(n, None) for n in (1, 10, 100)))

    assert asyncio.run(main()) == [5, 50, 500]
    assert default_used() == 0


def test_contexts_do_not_nest_in_a_task_either() -> None:
    async def main() -> None:
        with quiet(), pytest.raises(RuntimeError, match="Cannot nest"), quiet():
            pytest.fail("the inner block ran")

    asyncio.run(main())


def test_a_task_that_outlives_the_context_charges_the_default_budget_from_then_on() -> None:
    async def work(left: asyncio.Event) -> None:
        spend(1)
        await left.wait()
        spend(2)

    async def main() -> int:
        left = asyncio.Event()
        with quiet() as budget:
            task = asyncio.create_task(work(left))
            await asyncio.sleep(0)
        left.set()
        await task
        return budget.flops_used

    assert asyncio.run(main()) == 1
    assert default_used() == 2


def test_a_callback_of_an_operation_that_starts_a_thread_charges_the_same_budget() -> None:
    def row(values: Any) -> Any:
        return in_thread(lambda: me.sum(values))

    x = me.ones((3, 4))
    with quiet() as budget:
        me.apply_along_axis(row, 1, x)
    assert budget.flops_used == 12
    assert default_used() == 0


# ---------------------------------------------------------------- no charge is lost


def test_eight_threads_count_exactly() -> None:
    rounds = 400
    x, w = me.ones(5), me.ones((3, 3))
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        for i in range(rounds):
            x + x
            me.exp(x)
            if i % 4 == 0:
                with me.namespace(f"part{i % 3}"):
                    w @ w
            spend(seed)

    with quiet(10**9) as budget, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    operations = budget.summary_dict()["operations"]
    assert operations["add"] == {"flop_cost": 16000, "flops": 16000, "calls": 3200}
    assert operations["exp"] == {"flop_cost": 16000, "flops": 16000, "calls": 3200}
    assert operations["matmul"]["calls"] == 800
    assert operations["work"]["flop_cost"] == rounds * sum(range(8))
    assert budget.flops_used == sum(row["flop_cost"] for row in operations.values())
    assert budget.flops_used + budget.flops_remaining == 10**9


def test_sixty_four_requests_with_budget_for_one_run_exactly_one() -> None:
    start = threading.Barrier(64)
    outs = [me.zeros(10) for _ in range(64)]

    def work(out: Any) -> str:
        start.wait()
        try:
            me.exp(me.ones(10), out=out)
        except me.BudgetExhaustedError as error:
            assert error.flop_cost == 10
            return "refused"
        return "ran"

    for _ in range(5):
        with quiet(19) as budget, ThreadPoolExecutor(64) as pool:
            results = list(pool.map(work, outs))
        assert sorted(set(results)) == ["ran", "refused"]
        assert results.count("ran") == 1
        assert used(budget) == {"exp": 10}
    assert sum(bool(me.any(out != 0)) for out in outs) <= 5


def test_many_threads_open_and_close_budgets_at_once() -> None:
    def work(n: int) -> int:
        total = 0
        for i in range(100):
            with quiet(1000, namespace=f"job{i % 4}") as budget:
                spend(n)
            total += budget.flops_used
        return total

    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(work, range(1, 9)))
    assert totals == [100 * n for n in range(1, 9)]
    books = me.budget_summary_dict(by_namespace=True)
    assert books["flops_used"] == sum(totals)
    assert len(books["by_namespace"]) == 4
    assert contexts.open_accounts() == []


# ---------------------------------------------------------------- signals and forks


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="3.10 runs signal handlers between any two instructions: their charges may be lost",
)
@pytest.mark.local_only("signals")
def test_a_signal_handler_that_charges_neither_hangs_nor_loses_a_count() -> None:
    printed = run_script("""
import signal
import mechestim as me
from tests.support.spending import quiet, spend

handled = 0

def handle(*_):
    global handled
    handled += 1
    spend(3)
    spend(2, f"handler {handled % 50}")
    budget.flops_used, budget.summary_dict(), me.budget_summary_dict()
    signal.setitimer(signal.ITIMER_REAL, 0.0001)  # not before: handlers do not pile up

done = 0
with quiet(2**60) as budget:
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0001)
    while handled < 500:
        spend(1)
        done += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
rows = budget.summary_dict()["operations"].values()
print(budget.flops_used - done - 5 * handled, sum(r["flops"] for r in rows) - budget.flops_used)
print(sum(r["calls"] for r in rows) - done - 2 * handled)
""")
    assert printed.split() == ["0", "0", "0"]


@pytest.mark.local_only("fork")
def test_a_child_forked_during_a_charge_continues_with_its_own_count() -> None:
    printed = run_script("""
import os, threading, warnings
from tests.support.spending import quiet, spend
import mechestim as me

warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork while there are threads
with quiet(100) as budget:
    spend(5)
    view = budget._account.view(None)
    held, forked = threading.Event(), threading.Event()

    def in_the_middle():
        with budget._account.lock:
            view.reserve("lost", 50)
            held.set()
            forked.wait()
            view.commit("lost", 50)

    thread = threading.Thread(target=in_the_middle)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        spend(95)  # what the other thread had promised is not promised here
        os._exit(0 if (budget.flops_used, budget.flops_remaining) == (100, 0) else 1)
    forked.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), budget.flops_used)
""")
    assert printed.split() == ["0", "55"]
