"""A child process that is talked to in lines: one line in, one line of JSON out."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from harness.children import check_alive, ended

__all__ = ["LineClient"]

SLICE = 0.5  # seconds between two looks at the server, while an answer is awaited


class LineClient:
    """A program that prints a line when it is ready, and then one for each that it is given.

    Args:
        name: for the error.
        command: what to run.
        env: its environment.
        server: the process that it depends on, where the program itself would wait for a dead
            server for ever.

    Raises:
        ChildDiedError: by every method but `close`, when the program or the server has ended.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        server: subprocess.Popen[str] | None = None,
    ) -> None:
        self.name = name
        self._server = server
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._read_line()

    def _read_line(self) -> str:
        while self._server is not None and not wait([self._output.fileno()], SLICE):
            check_alive(f"the server of {self.name}", self._server)
        line = self._output.readline()
        if not line:
            raise ended(self.name, self._process.wait())
        return line

    def ask(self, line: str = "") -> Any:
        """Send a line; the answer."""
        try:
            self._input.write(f"{line}\n")
            self._input.flush()
        except BrokenPipeError:
            raise ended(self.name, self._process.wait()) from None
        return json.loads(self._read_line())

    def check(self) -> None:
        """Do nothing while the program runs."""
        check_alive(self.name, self._process)

    def close(self) -> None:
        """End the program at once."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        with contextlib.suppress(BrokenPipeError):  # a line that was never read is flushed
            self._input.close()
