"""What a server must not leave behind: names in /dev/shm, open descriptors, processes."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.support.waiting import wait_until

__all__ = [
    "child_processes",
    "limit_for_more_descriptors",
    "nothing_new_stays_in_shm",
    "open_descriptors",
    "shm_names",
]


def child_processes(pid: int) -> list[int]:
    """The processes whose parent is that process; one that has ended counts until it is waited for.

    Asked of every process: the lists of children that the threads of a process have are moved from
    thread to thread as threads end, so that whoever reads them one by one may find a child in none.
    """
    found = []
    for name in os.listdir("/proc"):  # glob looks at each, and raises if one has just gone
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has gone in the meantime
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(name))
    return found


def shm_names() -> set[str]:
    """The names in /dev/shm that are ours."""
    return {path.name for path in Path("/dev/shm").glob("shm-echo-*")}


def nothing_new_stays_in_shm(before: set[str]) -> None:
    """Fail if a name is there, and stays, that was not there before.

    Programs beside the tests may start servers: their names are there for two calls, and vanish.
    """
    left = shm_names() - before

    def gone() -> bool:
        left.intersection_update(shm_names())
        return not left

    wait_until(gone, f"nothing is left of {sorted(left)}")


def open_descriptors(pid: int | None = None) -> int:
    """How many descriptors a process has open; this one by default."""
    return len(os.listdir(f"/proc/{pid or 'self'}/fd"))


def limit_for_more_descriptors(more: int) -> int:
    """The RLIMIT_NOFILE with which this process may open so many descriptors more."""
    taken = set(map(int, os.listdir("/proc/self/fd")))
    free = (number for number in itertools.count() if number not in taken)
    return next(itertools.islice(free, more - 1, None)) + 1
