"""CPU migration: a server thread that shares a CPU with its client moves to another one.

The kernel tends to run the two ends of a conversation on one CPU, one after the other. They land
there when both sleep in every exchange. On one CPU neither end can spin until the other has
answered, so both keep sleeping, and each answer costs two context switches while other CPUs are
idle. A server thread detects this: its waits are short, and yet its spinning has not seen their
end.
"""

from __future__ import annotations

import os
import time

from shm_echo.mechestim.adaptive_spin import SPIN_S

__all__ = ["CpuMigrator", "migrate_to_idle_cpu"]

# One short wait proves nothing: the client may have answered just after the spinning ended.
_SHORT_WAITS = 8
# The least time between two moves: a thread that the kernel puts back should not move all the time.
_COOLDOWN_S = 0.1
_CPU_FIELD = 36  # of /proc/PID/stat after the command: the CPU that last ran the thread

_clock = time.monotonic


class CpuMigrator:
    """Decides from a thread's waits when to move it to another CPU.

    The waits may be those of several threads, as long as these serve the same clients in turn.
    """

    def __init__(self) -> None:
        self._short_waits = 0
        self._cooldown_until = 0.0

    def record_wait(self, seconds: float) -> bool:
        """Record that the thread has slept until a request came.

        Args:
            seconds: The time that it has slept.

        Returns:
            True if the thread was moved because of it.
        """
        # A client that takes longer computes meanwhile; sharing a CPU with it does no harm.
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
    """Move this thread to another CPU that it may use; the set of allowed CPUs stays as it was.

    Returns:
        True if the thread has moved; False if there is no other CPU or the system forbids it.
    """
    try:
        allowed = os.sched_getaffinity(0)
        with open("/proc/thread-self/stat", "rb") as file:
            # The command is in parentheses and may contain any byte: split after the last one.
            here = int(file.read().rsplit(b")", 1)[1].split()[_CPU_FIELD])
        others = allowed - {here}
        if not others:
            return False
        os.sched_setaffinity(0, others)  # moves the thread at once
        os.sched_setaffinity(0, allowed)
    except (OSError, ValueError, IndexError):  # a sandbox forbids it or hides /proc
        return False
    return True
