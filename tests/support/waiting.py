"""Waiting for events of other processes, with a limit: a test that would hang fails instead.

The limit is a watchdog, generous for a busy machine; no test depends on the speed of anything. It
is shorter than the limit of a whole test (`tests/conftest.py`), whose error cannot name the event.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["WATCHDOG", "process_state", "stop", "wait_until"]

WATCHDOG = 100.0

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
    """Return the state of a process's main thread, as one letter.

    R runs, S sleeps, T is stopped, Z has ended; the result is empty without such a process.
    """
    try:
        stat = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[0]


def stop(pid: int) -> None:
    """Stop a child of this process; returns when all of its threads have stopped.

    The signal alone says less: one thread has to take it first, and the others go on until then.
    """
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
