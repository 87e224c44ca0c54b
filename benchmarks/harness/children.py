"""Child processes that die: their end ends the benchmark, with their traceback on stderr.

A child writes to the benchmark's stderr, so its traceback is on the screen before its death is
noticed. Then `ChildDiedError` leaves the benchmark: one line below that traceback, and exit
status 1.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

__all__ = ["ChildDiedError", "check_alive", "ended", "run_python", "watching"]


class ChildDiedError(SystemExit):
    """Ends the benchmark with one line on stderr, without a traceback of its own."""


def ended(name: str, status: int | None) -> ChildDiedError:
    """Return the error for a process that ended early.

    Args:
        name: of the process, as a reader of the tables knows it.
        status: as `subprocess` and `multiprocessing` give it: negative for a signal.
    """
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            return ChildDiedError(f"{name} was killed by {signal.Signals(-status).name}")
    return ChildDiedError(f"{name} ended early, with exit status {status}")


def check_alive(name: str, process: subprocess.Popen[str]) -> None:
    """Raise `ChildDiedError` if the process has ended."""
    status = process.poll()
    if status is not None:
        raise ended(name, status)


def run_python(name: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run an interpreter to its end and return what it printed.

    Raises:
        ChildDiedError: it failed.
    """
    done = subprocess.run(
        [sys.executable, *arguments], env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise ended(name, done.returncode)
    return done.stdout


@contextlib.contextmanager
def watching(
    children: Mapping[str, BaseProcess],
    is_over: Callable[[], bool],
    interrupt: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Raise `ChildDiedError` in the main thread as soon as a child ends too early.

    A signal interrupts what the main thread waits in.

    Args:
        children: by the name that the error gives them.
        is_over: returns True once children may end.
        interrupt: called in another thread before the signal is sent, for a wait that no signal
            interrupts.
    """
    deaths: list[ChildDiedError] = []
    finished, finish = os.pipe()

    def watch() -> None:
        sentinels = {child.sentinel: name for name, child in children.items()}
        while sentinels:
            ready = wait([finished, *sentinels])
            if finished in ready:
                return
            for sentinel in ready:
                assert isinstance(sentinel, int)
                name = sentinels.pop(sentinel)
                if is_over():
                    return
                deaths.append(ended(name, children[name].exitcode))
                if interrupt is not None:
                    interrupt()
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if deaths:
            raise deaths[0]

    before = signal.signal(signal.SIGUSR1, on_signal)
    watcher = threading.Thread(target=watch, name="watches children", daemon=True)
    watcher.start()
    try:
        yield
    except BaseException:
        # The main thread may meet the consequence, a time-out or a closed connection, before the
        # signal: the death is the reason for both.
        if deaths:
            raise deaths[0] from None
        raise
    finally:
        os.write(finish, b"x")
        watcher.join()
        signal.signal(signal.SIGUSR1, before)
        os.close(finished)
        os.close(finish)
