"""A program at a terminal of its own, where Ctrl-C has the effect that it has for a user."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import warnings
from collections.abc import Mapping, Sequence

from tests.support.mechestim_server import ROOT
from tests.support.waiting import WATCHDOG

__all__ = ["Terminal"]


class Terminal:
    """Runs a command at a new terminal; for a `with` statement, at whose end it is killed.

    Attributes:
        pid: its number.
        said: all that it has printed so far.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks of a process that has threads; this one executes at once.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            self.pid, self._fd = os.forkpty()
        if self.pid == 0:
            try:
                os.chdir(ROOT)
                environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
                os.execve(command[0], list(command), environment)
            finally:
                os._exit(127)
        self._running = True
        self.said = b""

    def read_until(self, text: bytes, times: int = 1) -> None:
        """Read until it has said this so many times.

        Raises:
            AssertionError: it has ended before, or says nothing.
        """
        while self.said.count(text) < times:
            assert self._read(), f"it ended after {self.said!r}"

    def type(self, keys: bytes) -> None:
        """Press keys: `b"\\x03"` is Ctrl-C."""
        os.write(self._fd, keys)

    def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self.pid, 0)
        self._running = False
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        """Return True if there was more output."""
        came = select.select([self._fd], [], [], WATCHDOG)[0]
        assert came, f"it has said nothing for {WATCHDOG:g} s after {self.said!r}"
        data = b""
        with contextlib.suppress(OSError):  # EIO: the other side has ended
            data = os.read(self._fd, 4096)
        self.said += data
        return bool(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)
