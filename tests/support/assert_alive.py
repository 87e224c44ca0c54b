"""Asserts that a server is unharmed after an attack.

`assert_unharmed` surrounds an attack. Meanwhile a well-behaved session holds an array, and makes
requests again afterwards: its answers are right and its count is exact. The hostile sessions have
ended with all their objects, bytes, descriptors and processes, and no count of FLOPs has decreased.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shm_echo.mechestim.errors import BudgetExhaustedError
from tests.support.mechestim_server import ServerProcess, dialled, status
from tests.support.waiting import wait_until

__all__ = ["assert_unharmed"]

MIB = 1 << 20
Status = Callable[[], dict[str, Any]]


@contextlib.contextmanager
def assert_unharmed(server: ServerProcess, room: int = 48 * MIB) -> Iterator[None]:
    """Assert that the block leaves the server as it was.

    Args:
        server: The server. No other test may use it meanwhile.
        room: The bytes by which its process may grow: allocators keep freed memory.
    """
    with status(server.url) as read, dialled(server.url) as neighbour:
        x = neighbour.request("arange", (100,))
        used = neighbour.request("budget.read", (0,))["used"]
        wait_until(lambda: _of_neighbour(read()), "the sessions before have ended")
        if server.children():
            server.wait_for_spare()
        before, links = _marks(server, read()), _links(server)
        spent, resident = _flops(read()), server.resident()
        yield
        assert server.alive, server.log.read_text()
        assert neighbour.request("ndarray.tolist", (x,)) == list(range(100))
        with contextlib.suppress(BudgetExhaustedError):
            assert neighbour.request("sum", (x,)).item() == 4950
            used += 100
        assert neighbour.request("budget.read", (0,))["used"] == used
        try:
            wait_until(lambda: _back(server, read, before), "all is as it was")
        except AssertionError:
            more = _links(server) - links
            raise AssertionError(
                f"left is {_marks(server, read())}, before there was {before}; "
                f"descriptors: {dict(more)}"
            ) from None
        after = _flops(read())
        fewer = {who for who, flops in spent.items() if after[who] < flops}
        assert not fewer, f"FLOPs of {fewer} went down: {spent} to {after}"
        assert server.resident() < resident + room
        assert "internal error" not in server.log.read_text()


def _of_neighbour(state: dict[str, Any]) -> bool:
    """Return True if there is one session, with one array."""
    return state["sessions"] == state["objects"] == 1


def _flops(state: dict[str, Any]) -> dict[str, int]:
    """Return the FLOPs that each principal has spent."""
    return {one["label"]: one["flops"] for one in state["principals"]}


def _marks(server: ServerProcess, state: dict[str, Any]) -> dict[str, Any]:
    """Return the values that an attack must not increase."""
    return {
        "sessions": state["sessions"],
        "objects": state["objects"],
        "bytes": state["bytes"],
        "descriptors": server.descriptors(),
        "children": len(server.children()),
    }


def _links(server: ServerProcess) -> Counter[str]:
    """Count the open descriptors by their targets, without inode numbers."""
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[str(path.readlink()).partition("[")[0]] += 1
    return found


def _back(server: ServerProcess, read: Status, before: dict[str, Any]) -> bool:
    after = _marks(server, read())
    return all(after[name] <= before[name] for name in before)
