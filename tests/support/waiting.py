"""Waiting for what other processes do, with a limit: a test that would hang fails instead.

The limit is a watchdog, generous for a busy machine; no test depends on how fast anything is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["WATCHDOG", "process_state", "wait_until"]

WATCHDOG = 30.0

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = WATCHDOG) -> T:
    """Ask again and again until the answer is true, and return it.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    pause = 0.0005
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"this did not happen within {seconds:g} s: {what}"
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return answer


def process_state(pid: int) -> str:
    """What the main thread of a process does, as one letter: R runs, S sleeps, T is stopped, Z has
    ended; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]
