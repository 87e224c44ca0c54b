"""A fork of this process, with the calls of a Popen of `multiprocessing`.

`multiprocessing` makes pipes and the process in Python code, and an exception of a signal handler
in it leaves them behind. Here the process is noted by the call that makes it.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from itertools import starmap
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from shm_echo.errors import WorkerStartError

__all__ = ["ForkedProcess"]


class ForkedProcess:
    """A process that is not forked yet.

    Args:
        process: what runs in it.
    """

    def __init__(self, process: BaseProcess) -> None:
        self._process: Any = process
        self._pids: list[int] = []
        self._ends: list[tuple[int, int]] = []

    @property
    def pid(self) -> int:
        """The process; 0 before it was made."""
        return self._pids[0] if self._pids else 0

    def fork(self, trainer: int) -> None:
        """Make the process, in the calling thread, whose locks and settings it inherits.

        Args:
            trainer: a pidfd of this process, for `multiprocessing.parent_process()`.

        Raises:
            WorkerStartError: no process can be made.
        """
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # what is left in the buffers would be written twice
        # Read first: a call that blocks and returns the mask could be interrupted in between.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # No handler of this process may run in the new one before it is reset there.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            with warnings.catch_warnings():
                # Python 3.12 warns of forks beside threads. The child uses only what it makes.
                warnings.filterwarnings("ignore", "This process .* is multi-threaded")
                # One call: no signal handler runs between the fork and the note of its number.
                self._pids.extend(starmap(os.fork, [()]))
            if self._pids == [0]:
                _run(self._process, trainer)
        except OSError as error:
            raise WorkerStartError(
                f"no process could be started for the workers: {error}"
            ) from None
        finally:
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            finally:  # that is a function in Python, which a signal handler may have ended
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def kill(self) -> None:
        """Kill the process, unless it was waited for."""
        if not self._ends:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int | None:
        """Wait for the end; return the exit status, negative for a signal, None if unknown."""
        if not self._ends:
            try:
                self._ends.extend(starmap(os.waitpid, [(self.pid, 0)]))
            except ChildProcessError:  # the program has waited for it, or ignores SIGCHLD
                return None
        return os.waitstatus_to_exitcode(self._ends[0][1])

    def close(self) -> None:
        """Do nothing: it has no descriptors."""


def _run(process: Any, trainer: int) -> NoReturn:
    status = 1
    try:
        status = process._bootstrap(parent_sentinel=trainer)
    finally:
        os._exit(status)
