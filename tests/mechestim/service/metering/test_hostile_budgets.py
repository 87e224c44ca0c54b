"""Attempts to exceed the ceiling of a live server: no count decreases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo.mechestim import wire
from tests.support.assert_alive import assert_unharmed
from tests.support.mechestim_server import RawClient, ServerProcess, handle_of, serving
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

CEILING = 10_000


@pytest.fixture
def limited(folder: Path) -> Iterator[ServerProcess]:
    """Yield a server with a low ceiling."""
    with serving(folder, "--max-flop-budget", str(CEILING)) as running, assert_unharmed(running):
        yield running


def flops(server: ServerProcess) -> int:
    return sum(one["flops"] for one in server.state()["principals"])


def test_no_request_lifts_the_ceiling(limited: ServerProcess) -> None:
    seen = [0]

    def note() -> None:
        seen.append(flops(limited))

    with RawClient(limited.path) as client:
        client.result("add", handle_of(client.result("zeros", 900)), 1.0)
        note()
        # Contexts with large budgets or small multipliers.
        for options in ((10**18,), (10**18, 1e-12), (10**18, 1e-300)):
            budget = client.result("budget.open", *options)
            x = handle_of(client.result("zeros", 900))
            client.result("add", x, 1.0, budget=budget)
            note()
            assert seen[-1] == seen[-2] + 900
        # The client's own weights.
        client.result("budget.configure", 0, False, {"add": 0.0})
        client.result("add", handle_of(client.result("zeros", 400)), 1.0)
        note()
        assert seen[-1] == seen[-2] + 400
        # Resetting the default budget.
        client.result("budget.reset")
        note()
        # Contexts that are closed, opened and closed again.
        for _ in range(100):
            budget = client.result("budget.open", 100)
            client.result("add", handle_of(client.result("zeros", 20)), 1.0, budget=budget)
            client.result("add", 1.0, 1.0, budget=0, fb=[budget])
        note()
        assert seen[-1] == seen[-2] + 100 * 21
    # New sessions.
    for _ in range(100):
        with RawClient(limited.path) as client:
            reply = client.ask("add", handle_of(client.result("zeros", 500)), 1.0)
            assert reply is not None
            note()
    assert seen == sorted(seen)
    assert seen[-1] <= CEILING
    assert seen[-1] > CEILING - 500
    with RawClient(limited.path) as client:
        kind, message = client.error("add", handle_of(client.result("zeros", 500)), 1.0)
        assert kind == "BudgetExhaustedError"
        left = f"{CEILING - seen[-1]:,}"
        assert f"only {left} of the server's ceiling remain. Nothing was run" in message
        assert "No BudgetContext raises the ceiling" in message


def test_exactly_one_of_sixty_four_simultaneous_requests_gets_the_last_flops(
    limited: ServerProcess,
) -> None:
    clients = [RawClient(limited.path) for _ in range(64)]
    together = threading.Barrier(len(clients))

    def attempt(client: RawClient) -> bool:
        x = handle_of(client.result("zeros", CEILING - 100))
        together.wait(WATCHDOG)
        reply = client.ask("add", x, 1.0)
        assert reply is not None
        return "r" in reply

    try:
        assert sum(w.result() for w in [Worker(attempt, client) for client in clients]) == 1
        assert flops(limited) == CEILING - 100
    finally:
        for client in clients:
            client.close()


def test_an_operation_that_fails_on_its_data_stays_charged(limited: ServerProcess) -> None:
    with RawClient(limited.path) as client:
        bad = handle_of(client.result("array", [[1.0, 2.0], [2.0, 1.0]]))
        before = flops(limited)
        for _ in range(10):
            kind, _ = client.error("linalg.cholesky", bad)
            assert kind == "LinAlgError"
        after = flops(limited)
        assert after > before
        assert (after - before) % 10 == 0


def test_a_refused_operation_is_not_charged_and_no_count_decreases_meanwhile(
    limited: ServerProcess,
) -> None:
    stop = threading.Event()

    def watch() -> list[int]:
        seen = []
        while not stop.is_set():
            seen.append(flops(limited))
        return seen

    watching = Worker(watch)
    with RawClient(limited.path) as client:
        x = handle_of(client.result("zeros", 1000))
        y = handle_of(client.result("zeros", 999))
        for _ in range(150):
            client.error("add", x, y)
            client.error("bitwise_and", x, x)
            client.error("linalg.inv", x)
    stop.set()
    seen = watching.result()
    assert seen == sorted(seen)
    assert flops(limited) == 0


BAD_BUDGETS: list[tuple[Any, ...]] = [
    (-1,),
    (0,),
    (2**63,),
    (1.5,),
    (float("nan"),),
    (float("inf"),),
    (True,),
    ("1000",),
    (None,),
    ([1000],),
    (),
    (1000, 0.0),
    (1000, -1.0),
    (1000, float("nan")),
    (1000, float("inf")),
    (1000, "2"),
    (1000, 1.0, -5.0),
    (1000, 1.0, float("nan")),
]


@pytest.mark.usefixtures("server_stays_alive")
@pytest.mark.parametrize("args", BAD_BUDGETS, ids=repr)
def test_an_invalid_budget_is_refused(server: ServerProcess, args: tuple[Any, ...]) -> None:
    with RawClient(server.path) as client:
        kind, _ = client.error("budget.open", *args)
        assert kind in ("ValueError", "TypeError")


@pytest.mark.usefixtures("server_stays_alive")
@pytest.mark.parametrize("number", [1, -1, 2**63, "0", None, 0.0, [0], True], ids=repr)
def test_a_budget_that_was_never_opened_cannot_be_used(server: ServerProcess, number: Any) -> None:
    with RawClient(server.path) as client:
        for op in ("budget.read", "budget.enter", "budget.leave", "budget.log", "budget.history"):
            kind, _ = client.error(op, number)
            assert kind == "MechEstimServerError"
        kind, _ = client.error("add", 1.0, 2.0, budget=number)
        assert kind == "MechEstimServerError"
        assert client.result("add", 1.0, 2.0, fb=[number]) is not None


@pytest.mark.usefixtures("server_stays_alive")
def test_closing_the_default_budget_changes_nothing(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        client.result("add", 1.0, 2.0)
        client.result("add", 1.0, 2.0, fb=[0])
        assert client.result("budget.read", 0)["used"] == 2


@pytest.mark.usefixtures("server_stays_alive")
@pytest.mark.parametrize("cost", [-1, 1.5, None, "5", True, 2**70], ids=repr)
def test_a_client_cannot_deduct_an_invalid_cost(server: ServerProcess, cost: Any) -> None:
    if cost == 2**70:
        cost = wire.bigint(cost)
    before = flops(server)
    with RawClient(server.path) as client:
        kind, _ = client.error("budget.deduct", "mine", cost)
        assert kind in ("ValueError", "BudgetExhaustedError")
    assert flops(server) == before


@pytest.mark.usefixtures("server_stays_alive")
def test_contexts_and_labels_are_limited_in_number(server: ServerProcess) -> None:
    with RawClient(server.path) as client:
        for _ in range(4096):
            client.result("budget.open", 10)
        kind, message = client.error("budget.open", 10)
        assert (kind, "max_contexts" in message) == ("QuotaExceededError", True)
        for label in range(4095):
            client.result("session.size", n=f"label {label}")
        kind, message = client.error("session.size", n="one more")
        assert (kind, "max_namespaces" in message) == ("QuotaExceededError", True)
        kind, _ = client.error("add", 1.0, 2.0, n="x" * 1000)
        assert kind == "MechEstimServerError"
