"""Real child processes, by every start method, each with a pipe to talk through.

A child runs `target(pipe, *args)`, a function of a module that it can import. The end of
the `with` statement kills the children and waits for them, even after an exception.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tests.support.waiting import WATCHDOG

__all__ = ["METHODS", "Child", "start"]

METHODS = ("fork", "spawn", "forkserver", "subprocess")

ROOT = Path(__file__).resolve().parents[2]

# Loaded once by the fork server, so that its children start in milliseconds. Without effect when
# another test has started the fork server before.
multiprocessing.set_forkserver_preload(["shm_echo.server", "shm_echo.transports.shm_client"])

_SCRIPT = """
import pickle, sys
from multiprocessing.connection import Connection
target, args = pickle.load(sys.stdin.buffer)
target(Connection(int(sys.argv[1])), *args)
"""


class Process(Protocol):
    """The part of a process that this module needs, for every start method."""

    pid: Any

    def wait(self) -> int:
        """Return the exit code of the process, which has ended."""


class _Forked:
    """A process of `multiprocessing`."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self) -> int:
        # Without a time-out: with one it waits for a pipe that grandchildren may hold open.
        self._process.join()
        code = int(self._process.exitcode)
        self._process.close()
        return code


class _Executed:
    """A process of `subprocess`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self) -> int:
        return self._process.wait(WATCHDOG)


class Child:
    """A child process and this end of the pipe to it.

    Attributes:
        pid: its number.
        pidfd: readable once it has ended.
    """

    def __init__(self, process: Process, pipe: Connection[Any, Any]) -> None:
        self.pid = int(process.pid)
        self.pidfd = os.pidfd_open(self.pid)
        self._process = process
        self._pipe = pipe
        self._code: int | None = None

    def say(self, what: Any = None) -> None:
        """Send an object to the child."""
        self._pipe.send(what)

    def hear(self) -> Any:
        """Return the next object that the child sent.

        Raises:
            AssertionError: no object came in time, or the child ended.
        """
        assert self._pipe.poll(WATCHDOG), f"pid {self.pid} has said nothing for {WATCHDOG:g} s"
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            pass
        raise AssertionError(f"pid {self.pid} ended without a word (exit code {self.wait()})")

    def rest(self) -> list[Any]:
        """Return the objects that the child sent before its end and that were not received."""
        self.wait()
        said = []
        with contextlib.suppress(EOFError, ConnectionResetError):
            while self._pipe.poll(0):
                said.append(self._pipe.recv())
        return said

    def expect(self, what: Any) -> None:
        """Hear exactly this."""
        heard = self.hear()
        assert heard == what, heard

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the child, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def ended(self) -> bool:
        """Return True if the child has ended."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def wait(self) -> int:
        """Wait for the end, and return the exit code, negative for a signal."""
        if self._code is None:
            ended = select.select([self.pidfd], [], [], WATCHDOG)[0]
            assert ended, f"pid {self.pid} has not ended within {WATCHDOG:g} s"
            self._code = self._process.wait()
        return self._code

    def end(self) -> int:
        """Kill the child if it lives, wait for it, and free all resources."""
        if self.pidfd >= 0:
            self.kill()
            self.wait()
            self._pipe.close()
            os.close(self.pidfd)
            self.pidfd = -1
        return self.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def start(
    target: Callable[..., None], *args: Any, method: str = "fork", daemon: bool = True
) -> Child:
    """Start a child that runs `target(pipe, *args)`.

    Args:
        target: importable by the child.
        args: can be pickled, unless it is forked.
        method: one of METHODS.
        daemon: may not have children by `multiprocessing` itself.
    """
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        if method == "subprocess":
            return Child(_execute(target, args, theirs), ours)
        context: Any = multiprocessing.get_context(method)
        process = context.Process(
            target=_run,
            args=(target, theirs, ours if method == "fork" else None, args),
            daemon=daemon,
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of what is tested here: forks of a process that has threads.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            process.start()
        return Child(_Forked(process), ours)


def _run(target: Callable[..., None], pipe: Any, other_end: Any, args: tuple[Any, ...]) -> None:
    if other_end is not None:
        other_end.close()  # or the pipe would never end when the parent does
    target(pipe, *args)


def _execute(target: Callable[..., None], args: tuple[Any, ...], pipe: Any) -> _Executed:
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(pipe.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[pipe.fileno()],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(pickle.dumps((target, args)))
    return _Executed(process)
