"""Stepping aside: a thread that shares a CPU with its client moves to another one.

The kernel likes to run the two ends of a conversation on one CPU, one after the other. It is where
they land when both sleep in every slot, and there neither can spin until the other has answered, so
that both go on sleeping. Each answer then costs two changes of the running process, while other
CPUs are idle. A server's thread notices: its waits are short, and yet spinning has not seen their
end.
"""

from __future__ import annotations

import os
import time

from shm_echo.mechestim.adaptive_spin import SPIN_S

__all__ = ["CpuMigrator"]

_SHORT_WAITS = 8
_COOLDOWN_S = 0.1  # so soon it does not try again

_clock = time.monotonic


class CpuMigrator:
    """Watches the waits of those threads that wait for the same clients, one after the other."""

    def __init__(self) -> None:
        self._short_waits = 0
        self._cooldown_until = 0.0

    def record_wait(self, seconds: float) -> bool:
        """The thread has slept for so long for a request; whether it has moved because of that."""
        if seconds > SPIN_S / 2:
            self._short_waits = 0
            return False
        self._short_waits += 1
        if self._short_waits < _SHORT_WAITS:
            return False
        self._short_waits = 0
        now = _clock()
        if now < self._cooldown_until:
            return False
        self._cooldown_until = now + _COOLDOWN_S
        return migrate_to_idle_cpu()


def migrate_to_idle_cpu() -> bool:
    """Move this thread to another CPU that it may use; whether there is one.

    It may use the same ones afterwards as before.
    """
    try:
        allowed = os.sched_getaffinity(0)
        with open("/proc/thread-self/stat", "rb") as file:
            here = int(file.read().rsplit(b")", 1)[1].split()[36])
        others = allowed - {here}
        if not others:
            return False
        os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, allowed)
    except (OSError, ValueError, IndexError):  # a sandbox: then it stays where it is
        return False
    return True
