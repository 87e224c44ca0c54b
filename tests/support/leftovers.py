"""What a server must not leave behind: names in /dev/shm, open descriptors."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.waiting import wait_until

__all__ = ["nothing_new_stays_in_shm", "open_descriptors", "shm_names"]


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
