"""Long NumPy calls in a worker process do not block other sessions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mechestim_server import RawClient, ServerProcess, dialled, handle_of, serving
from tests.support.threads import Worker
from tests.support.waiting import wait_until

SIZE = 4 * 10**6


@pytest.fixture
def isolated(folder: Path) -> Iterator[ServerProcess]:
    with serving(folder, "--isolation", "process") as running:
        yield running


def asked(client: RawClient, op: str) -> list[Any]:
    """Return the arguments with which a neighbour runs `op`."""
    if op == "random.permutation":
        return [SIZE]
    if op == "unique":
        return [handle_of(client.result("random.rand", SIZE))]
    return [handle_of(client.result("ones", 2 * SIZE)), 2]


def keep_busy(client: RawClient, op: str, args: list[Any], over: threading.Event) -> int:
    """Run the operation until `over` is set. Return the number of runs."""
    done = 0
    freed: list[int] = []
    while not over.is_set():
        result = client.result(op, *args, f=freed)
        freed = [int.from_bytes(handle_of(result).data, "little")]
        done += 1
    return done


@pytest.mark.parametrize("op", ["repeat", "unique", "random.permutation"])
def test_a_short_operation_is_answered_while_a_long_one_of_another_session_runs(
    isolated: ServerProcess, op: str
) -> None:
    over = threading.Event()
    with dialled(isolated.url) as cheap, RawClient(isolated.path) as client:
        args = asked(client, op)
        cheap.request("add", (1.0, 2.0))
        isolated.wait_for_spare()
        before = {row["pid"] for row in isolated.state()["rows"]}
        assert len(before) == 2, "each has a process of its own"
        busy = Worker(keep_busy, client, op, args, over)
        try:

            def answered_meanwhile() -> bool:
                """Return True if one operation of the neighbour ran during the whole request."""
                first = running(isolated)
                assert cheap.request("add", (1.0, 2.0)).item() == 3.0
                second = running(isolated)
                return any(second.get(at, -1.0) > first[at] > 0.0 for at in first)

            wait_until(answered_meanwhile, f"an answer came while {op} ran")
        finally:
            over.set()
            assert busy.result() > 0


def running(server: ServerProcess) -> dict[tuple[Any, ...], float]:
    """Return the running times of operations, by worker process and its number of requests."""
    return {
        (row["pid"], row["requests"]): row["running_s"]
        for row in server.state()["rows"]
        if row["running_s"] is not None
    }
