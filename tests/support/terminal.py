"""A program at a terminal of its own, so that Ctrl-C means there what it means to a user."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence

from tests.support.metering import ROOT

__all__ = ["Terminal"]


class Terminal:
    """Runs a command at a new terminal.

    Attributes:
        said: all that it has printed so far.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks of a process that has threads; this one executes at once.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            self._pid, self._fd = os.forkpty()
        if self._pid == 0:
            try:
                os.chdir(ROOT)
                environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
                os.execve(command[0], list(command), environment)
            finally:
                os._exit(127)
        self.said = b""

    def read_until(self, text: bytes, times: int = 1) -> None:
        """Read until it has said this so many times.

        Raises:
            AssertionError: it has ended before.
        """
        while self.said.count(text) < times:
            data = b""
            with contextlib.suppress(OSError):  # EIO: the other side has ended
                data = os.read(self._fd, 4096)
            assert data, f"it ended after {self.said!r}"
            self.said += data

    def type(self, keys: bytes) -> None:
        """Press keys: ``b"\\x03"`` is Ctrl-C."""
        os.write(self._fd, keys)

    def wait(self) -> int:
        """Its exit code once it has ended."""
        with contextlib.suppress(OSError):
            while data := os.read(self._fd, 4096):
                self.said += data
        _, status = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)
