"""What a server must be like after an attack: as it was before.

:func:`unharmed` surrounds an attack. Beside it a well-behaved session holds an array, and is asked
again afterwards: its answers are right, its count is exact. The hostile sessions have ended, their
objects, bytes, descriptors and processes are gone, and nobody's FLOPs have become fewer.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shm_echo.mechestim.errors import BudgetExhaustedError
from tests.support.metering import ServerProcess, dialled, status
from tests.support.waiting import wait_until

__all__ = ["unharmed"]

MIB = 1 << 20
Status = Callable[[], dict[str, Any]]


@contextlib.contextmanager
def unharmed(server: ServerProcess, room: int = 48 * MIB) -> Iterator[None]:
    """See that what happens in the block leaves no mark on the server.

    Args:
        server: where it happens; nobody else may use it in the meantime.
        room: bytes by which its process may have grown, for allocators keep what they had.
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
    """Whether there is one session, and its array."""
    return state["sessions"] == state["objects"] == 1


def _flops(state: dict[str, Any]) -> dict[str, int]:
    """What each principal has spent."""
    return {one["label"]: one["flops"] for one in state["principals"]}


def _marks(server: ServerProcess, state: dict[str, Any]) -> dict[str, Any]:
    """What an attack must not change, beside the counts."""
    return {
        "sessions": state["sessions"],
        "objects": state["objects"],
        "bytes": state["bytes"],
        "descriptors": server.descriptors(),
        "children": len(server.children()),
    }


def _links(server: ServerProcess) -> Counter[str]:
    """What its descriptors are of, without numbers."""
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[str(path.readlink()).partition("[")[0]] += 1
    return found


def _back(server: ServerProcess, read: Status, before: dict[str, Any]) -> bool:
    after = _marks(server, read())
    return all(after[name] <= before[name] for name in before)
