"""Leftovers of a server: names in /dev/shm, open descriptors, processes."""

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
    """Return the children of a process; one that has ended counts until it is waited for.

    The parent of every process is read. The children of a process are listed per thread and move
    to another thread when theirs ends, so that reading these lists one by one may miss a child.
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
    """Return the names in /dev/shm that belong to the library."""
    return {path.name for path in Path("/dev/shm").glob("shm-echo-*")}


def nothing_new_stays_in_shm(before: set[str]) -> None:
    """Fail if a new name appears and stays.

    Programs beside the tests may start servers, whose names exist for the time of two calls.
    """
    left = shm_names() - before

    def gone() -> bool:
        left.intersection_update(shm_names())
        return not left

    wait_until(gone, f"nothing is left of {sorted(left)}")


def open_descriptors(pid: int | None = None) -> int:
    """Return the number of open descriptors of a process; by default of this one."""
    return len(os.listdir(f"/proc/{pid or 'self'}/fd"))


def limit_for_more_descriptors(more: int) -> int:
    """Return the RLIMIT_NOFILE that lets this process open `more` further descriptors."""
    taken = set(map(int, os.listdir("/proc/self/fd")))
    free = (number for number in itertools.count() if number not in taken)
    return next(itertools.islice(free, more - 1, None)) + 1
