"""What a server must be like after an attack: as it was before.

:func:`unharmed` surrounds an attack. Beside it a well-behaved session holds an array, and is asked
again afterwards: its answers are right, its count is exact. The hostile sessions have ended, their
objects, bytes, descriptors and processes are gone, and nobody's FLOPs have become fewer.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shm_echo.mechestim.errors import BudgetExhaustedError
from tests.support.metering import ServerProcess, dialled
from tests.support.waiting import wait_until

__all__ = ["flops_by_principal", "unharmed"]

MIB = 1 << 20


def flops_by_principal(server: ServerProcess) -> dict[str, int]:
    """What each of them has spent."""
    return {one["label"]: one["flops"] for one in server.state()["principals"]}


@contextlib.contextmanager
def unharmed(server: ServerProcess, room: int = 48 * MIB) -> Iterator[None]:
    """See that what happens in the block leaves no mark on the server.

    Args:
        server: where it happens; nobody else may use it in the meantime.
        room: bytes by which its process may have grown, for allocators keep what they had.
    """
    with dialled(server.url) as neighbour:
        x = neighbour.request("arange", (100,))
        used = neighbour.request("budget.read", (0,))["used"]
        wait_until(lambda: server.state()["objects"] == 1, "the sessions before have ended")
        if server.children():  # each session has a worker, and one more is kept ready
            wait_until(lambda: len(server.children()) == 2, "the next worker is kept ready")
        before, links = _settled(server), _links(server)
        spent, resident = flops_by_principal(server), server.resident()
        yield
        assert server.alive, server.log.read_text()
        assert neighbour.request("ndarray.tolist", (x,)) == list(range(100))
        with contextlib.suppress(BudgetExhaustedError):
            assert neighbour.request("sum", (x,)).item() == 4950
            used += 100
        assert neighbour.request("budget.read", (0,))["used"] == used
        try:
            wait_until(lambda: _back(server, before), "all is as it was")
        except AssertionError:
            more = _links(server) - links
            raise AssertionError(
                f"left is {_marks(server)}, before there was {before}; descriptors: {dict(more)}"
            ) from None
        after = flops_by_principal(server)
        fewer = {who for who, flops in spent.items() if after[who] < flops}
        assert not fewer, f"FLOPs of {fewer} went down: {spent} to {after}"
        assert server.resident() < resident + room
        assert "internal error" not in server.log.read_text()


def _marks(server: ServerProcess) -> dict[str, Any]:
    """What an attack must not change, beside the counts."""
    state = server.state()
    return {
        "sessions": state["sessions"],
        "objects": state["objects"],
        "bytes": state["bytes"],
        "descriptors": server.descriptors(),
        "children": len(server.children()),
    }


def _settled(server: ServerProcess) -> dict[str, Any]:
    """The marks, once they stay: the next worker's descriptors come one by one."""
    same, marks = 0, _marks(server)
    while same < 5:
        time.sleep(0.005)
        last, marks = marks, _marks(server)
        same = same + 1 if marks == last else 0
    return marks


def _links(server: ServerProcess) -> Counter[str]:
    """What its descriptors are of, without numbers."""
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[str(path.readlink()).partition("[")[0]] += 1
    return found


def _back(server: ServerProcess, before: dict[str, Any]) -> bool:
    after = _marks(server)
    return all(after[name] <= before[name] for name in before)
