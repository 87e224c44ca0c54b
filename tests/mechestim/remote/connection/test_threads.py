"""Threads and tasks share a session: requests one after the other, charges as in local mode."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mechestim as me
from tests.mechestim.remote.client_script import in_a_client
from tests.support.waiting import WATCHDOG

# Each program returns its charges. All run in both modes.


def pool() -> Any:
    """Threads that were started inside a context charge it."""
    with me.BudgetContext(10**6, quiet=True) as budget:
        with ThreadPoolExecutor(4) as threads:
            sums = [float(s) for s in threads.map(lambda n: (me.ones(n) * 2).sum(), range(1, 9))]
        return sums, budget.flops_used, operations(budget)


def contexts_of_their_own() -> Any:
    """Two threads may hold different contexts."""
    used: dict[int, int] = {}

    def work(n: int) -> None:
        with me.BudgetContext(10**6, quiet=True) as budget:
            for _ in range(20):
                me.ones(n) + 1
            used[n] = budget.flops_used

    with me.BudgetContext(10**6, quiet=True) as outer:
        threads = [threading.Thread(target=work, args=(n,)) for n in (3, 5, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(used.items()), outer.flops_used


def tasks() -> Any:
    """Tasks inherit the context that they were made in."""

    async def work(n: int) -> int:
        with me.namespace(f"task{n}"):
            me.ones(n) + 1
            await asyncio.sleep(0)
            me.ones(n) * 2
        return n

    async def main() -> None:
        await asyncio.gather(*(work(n) for n in range(1, 5)))

    with me.BudgetContext(10**6, quiet=True) as budget:
        asyncio.run(main())
        return budget.flops_used, budget.summary()


def thread_in_a_callback() -> Any:
    """A callback may start a thread that asks for something, and wait for it."""

    def function(row: Any) -> Any:
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(row * 2))
        thread.start()
        thread.join()
        return results[0]

    with me.BudgetContext(10**6, quiet=True) as budget:
        found = me.apply_along_axis(function, 1, me.ones((3, 4)))
        return found.tolist(), budget.flops_used


def callbacks_of_several_threads() -> Any:
    """Callbacks of one session that overlap end innermost first."""
    both = threading.Barrier(2)

    def function(row: Any) -> Any:
        both.wait(WATCHDOG)
        return row + 1

    def work(n: int) -> Any:
        return me.apply_along_axis(function, 1, me.full((1, 2), n)).tolist()

    with me.BudgetContext(10**6, quiet=True) as budget, ThreadPoolExecutor(2) as threads:
        return list(threads.map(work, (1, 2))), budget.flops_used


def budget_for_one() -> Any:
    """Parallel requests with budget for one run exactly one."""
    with me.BudgetContext(100, quiet=True) as budget:
        x = me.ones(100)

        def work(_: int) -> bool:
            try:
                x + 1
            except me.BudgetExhaustedError:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(work, range(64))), budget.flops_used


def error_handling_of_threads() -> Any:
    """`errstate` in one thread does not affect another."""
    inside, done = threading.Event(), threading.Event()
    outcome: list[str] = []

    def work() -> None:
        with me.errstate(all="raise"):
            inside.set()
            done.wait(WATCHDOG)
            try:
                me.ones(1) / me.zeros(1)
            except FloatingPointError as error:
                outcome.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(WATCHDOG)
    with me.errstate(divide="ignore"):
        outcome.append(str(me.ones(1) / me.zeros(1)))
    done.set()
    thread.join()
    return outcome


def operations(budget: Any) -> Any:
    """Return the charges by operation."""
    return budget.summary_dict()["operations"]


PROGRAMS = (
    *(pool, contexts_of_their_own, tasks, thread_in_a_callback, callbacks_of_several_threads),
    *(budget_for_one, error_handling_of_threads),
)


def outcomes() -> str:
    """Return the outcome of each program, as text."""
    return "\n".join(f"{program.__name__}: {program()}" for program in PROGRAMS)


def test_threads_and_tasks_charge_the_same_in_both_modes(server: Any) -> None:
    from tests.mechestim.remote.client_script import run_client

    source = "from tests.mechestim.remote.connection import test_threads as t; print(t.outcomes())"
    done = run_client(server.url, source)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == outcomes().splitlines()


@in_a_client
def test_a_signal_handler_in_the_middle_of_a_request_gets_an_error_instead_of_a_deadlock() -> None:
    import signal

    raised: list[BaseException] = []
    x = me.ones(4)

    def handler(*_: object) -> None:
        try:
            x + 1
        except RuntimeError as error:
            raised.append(error)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while not raised:
            x * 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert "interrupted by another one on the same thread" in str(raised[0])
    assert (x + 1).tolist() == [2.0] * 4
