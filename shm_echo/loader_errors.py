"""The exceptions of the data loader; `shm_echo.errors` is their public place.

A worker that raises, dies or hangs shows in the training loop, where the batch that it worked on is
due. All of them are RuntimeErrors, which code that retries a training step catches already.
"""

from __future__ import annotations

import reprlib as _reprlib
import signal as _signal
from typing import Any

from shm_echo.error_base import ShmEchoError, describe_death

__all__ = ["ItemError", "LoaderTimeoutError", "WorkerDiedError", "WorkerStartError"]

_PUBLIC_PLACE = "shm_echo.errors"  # which tracebacks and pickles name

_MEMORY_ADVICE = (
    "; the kernel sends SIGKILL to a process when memory runs out (dmesg says so): use fewer "
    "workers, smaller batches or less memory per item"
)


class ItemError(ShmEchoError, RuntimeError):
    """An item of the dataset could not be made.

    It is raised itself if the worker's exception cannot be built again in this process; otherwise
    that exception is raised, and this one is its `__cause__`.

    Attributes:
        index: the index, or other key, that the dataset was asked for; None if it was asked for
            none, as in `collate_fn`.
        worker, pid: the number of the worker, and its process.
        traceback: the traceback in the worker, as text.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("index", "pid", "traceback", "worker")

    def __init__(
        self,
        index: Any,
        worker: int,
        pid: int,
        description: str,
        traceback: str,
        place: str | None = None,
    ) -> None:
        item = f"item {_reprlib.repr(index)}" if index is not None else place or "the start"
        text = f"{item} failed in worker {worker} (pid {pid}): {description}"
        super().__init__(f"{text}\n\n{traceback.rstrip()}" if traceback else text)
        self.index, self.worker, self.pid, self.traceback = index, worker, pid, traceback


class WorkerStartError(ShmEchoError, RuntimeError):
    """The worker processes of a loader could not be started."""

    __module__ = _PUBLIC_PLACE


class WorkerDiedError(ShmEchoError, RuntimeError):
    """Workers died again and again, so that the loader cannot go on.

    Attributes:
        worker, pid: the number of the worker that died last, and its process.
        signal: the signal that ended it; None if it exited.
        exit_status: its exit status; None if a signal ended it.
        index: the item, or other key, at which the workers died; None if they died before any item
            was done.
        deaths: the number of deaths that were counted.
        stack: the Python stack of the worker at a crash, such as a segmentation fault; "" if there
            is none.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("deaths", "exit_status", "index", "pid", "signal", "stack", "worker")

    def __init__(
        self,
        worker: int,
        pid: int,
        *,
        signal: int | None,
        exit_status: int | None,
        index: Any,
        deaths: int,
        at_row: bool,
        hung: bool = False,
        stack: str = "",
    ) -> None:
        where = (
            f"{deaths} workers died at item {_shown(index)}"
            if at_row
            else f"{deaths} workers in a row died before they had finished any item"
        )
        end = describe_death(pid, signal)
        if signal is None:
            end = f"pid {pid} exited with status {exit_status}"
        elif hung:
            end = f"pid {pid} hung and was killed by the loader"
        advice = _MEMORY_ADVICE if signal == _signal.SIGKILL and not hung else ""
        text = f"{where}; the last, worker {worker}: {end}{advice}"
        super().__init__(f"{text}\n\n{stack.rstrip()}" if stack else text)
        self.worker, self.pid, self.index, self.deaths = worker, pid, index, deaths
        self.signal, self.exit_status, self.stack = signal, exit_status, stack


class LoaderTimeoutError(ShmEchoError, TimeoutError, RuntimeError):
    """A batch was not ready in time.

    Attributes:
        worker, pid: the worker that holds it up; None if none does.
        index: the item that the worker makes; None if unknown.
        stack: the Python stack of the worker, as text; "" if it gave none.
    """

    __module__ = _PUBLIC_PLACE

    _fields = ("index", "pid", "stack", "worker")

    def __init__(
        self,
        timeout: float,
        worker: int | None = None,
        pid: int | None = None,
        index: Any = None,
        stack: str = "",
        detail: str = "",
    ) -> None:
        text = f"the next batch was not ready within {timeout:g} s"
        if worker is not None:
            place = "does not go on" if index is None else f"is at item {_reprlib.repr(index)}"
            text += f": worker {worker} (pid {pid}) {place}"
        if detail:
            text += f" ({detail})"
        if stack:
            text += f"\n\n{stack.rstrip()}"
        super().__init__(text)
        self.worker, self.pid, self.index, self.stack = worker, pid, index, stack


def _shown(index: Any) -> str:
    return "of unknown index" if index is None else _reprlib.repr(index)
