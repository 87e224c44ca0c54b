"""Signals of the nursery and of its workers.

The trainer decides when they end. Ctrl-C reaches the whole process group, and its traceback belongs
into the training loop only. A worker that hangs shows its Python stack on a signal.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

__all__ = ["STACK_SIGNAL", "read_crash", "read_stack", "set_child_signals", "show_stack_on_signal"]

# One that neither programs nor the C library use. faulthandler answers it even while the worker is
# inside of C code.
STACK_SIGNAL = signal.SIGRTMAX - 5
_WAIT_FOR_STACK = 1.0
_QUIET = 0.02
_MOST_OF_CRASH = 64 << 10


def set_child_signals() -> None:
    """Undo what the process of the training loop has set up, as after a fork.

    Handlers of that process must not run here: on the signal of a cluster's scheduler, each worker
    would write the checkpoint, too.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def show_stack_on_signal(fd: int) -> None:
    """Write the stacks of all threads into `fd` whenever STACK_SIGNAL comes, and at a crash."""
    faulthandler.register(STACK_SIGNAL, file=fd, all_threads=True, chain=False)
    if not faulthandler.is_enabled():  # else the program has its own place for crashes
        faulthandler.enable(file=fd)


def read_crash(fd: int) -> str:
    """Return what a worker that has ended by a crash wrote into its file."""
    size = os.fstat(fd).st_size
    start = max(0, size - _MOST_OF_CRASH)
    text = os.pread(fd, size - start, start).decode("utf-8", "replace")
    return text[text.rfind("Fatal Python error") :] if "Fatal Python error" in text else ""


def read_stack(pid: int, pidfd: int, fd: int) -> str:
    """Ask a worker for its Python stack, and return it; "" if it gives none.

    Args:
        pid, pidfd: the worker.
        fd: the file into which the worker writes stacks.
    """
    before = os.fstat(fd).st_size
    try:
        if _state(pid) in "TtZ":
            return ""  # it is stopped, and would answer when it goes on
        signal.pidfd_send_signal(pidfd, STACK_SIGNAL)
    except OSError:  # it has ended
        return ""
    deadline = time.monotonic() + _WAIT_FOR_STACK
    size = before
    while time.monotonic() < deadline:
        time.sleep(_QUIET)
        # The dump is many small writes: it is complete when the file has stopped growing.
        if (now := os.fstat(fd).st_size) == size > before:
            break
        size = now
    return os.pread(fd, size - before, before).decode("utf-8", "replace")


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]
