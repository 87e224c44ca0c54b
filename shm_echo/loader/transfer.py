"""The ways of a dataset into the nursery: inherited through a fork, or pickled.

A part that cannot be pickled is an error that names it before a process is made. The parts are
pickled while `multiprocessing` starts a process, so its locks, queues and shared arrays, which can
be pickled at no other time, work as in its own processes.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from shm_echo.errors import WorkerStartError
from shm_echo.loader.messages import WorkerSetup

__all__ = ["Transfer", "TransferError", "make_process", "start_process"]

_ADVICE = (
    "define it at the top level of a module that can be imported; lambdas, functions inside of "
    "functions and open files cannot be pickled. start_method='fork' needs no pickle"
)


class TransferError(Exception):
    """The setup could not be read in the new process."""


class Transfer:
    """The setup of workers on its way into the nursery.

    Args:
        setup: the dataset, and what belongs to it.
        method: the start method, for messages.
    """

    def __init__(self, setup: WorkerSetup, method: str) -> None:
        self._method = method
        self._setup: WorkerSetup | None = setup
        self._pickled = b""

    def load(self) -> WorkerSetup:
        """Return the setup, in the process that got it.

        Raises:
            TransferError: it cannot be unpickled; the message is the traceback.
        """
        if self._setup is None:
            try:
                self._setup = pickle.loads(self._pickled)
            except BaseException:
                raise TransferError(traceback.format_exc()) from None
            self._pickled = b""
        assert self._setup is not None
        return self._setup

    def __getstate__(self) -> dict[str, Any]:
        try:
            # As one: a worker_init_fn that is a method of the dataset stays one of that object.
            pickled = bytes(ForkingPickler.dumps(self._setup))
        except Exception as error:
            raise WorkerStartError(
                f"{self._culprit()} cannot be pickled for start_method={self._method!r} "
                f"({type(error).__name__}: {error}): {_ADVICE}"
            ) from error
        return {"_method": self._method, "_setup": None, "_pickled": pickled}

    def _culprit(self) -> str:
        for name, value in vars(self._setup).items():
            try:
                ForkingPickler.dumps(value)
            except Exception:
                return _culprit(name, value).removeprefix("recipe.")
        return "the dataset"


def _culprit(name: str, value: Any, depth: int = 3) -> str:
    """Return the path of the attribute that cannot be pickled, and its class."""
    attributes = getattr(value, "__dict__", None)
    if depth and isinstance(attributes, dict) and not isinstance(value, type):
        for key, inner in attributes.items():
            try:
                ForkingPickler.dumps(inner)
            except Exception:
                return _culprit(f"{name}.{key}", inner, depth - 1)
    return f"{name} ({getattr(value, '__qualname__', type(value).__qualname__)})"


def make_process(method: str, target: Callable[..., Any], *args: Any) -> Any:
    """Return a process of `multiprocessing` that will run `target(*args)`."""
    context: Any = multiprocessing.get_context(method)
    return context.Process(target=target, args=args, daemon=False)


def start_process(method: str, process: Any) -> Any:
    """Start a process by "spawn" or "forkserver"; return its Popen of `multiprocessing`.

    Raises:
        WorkerStartError: a part cannot be pickled, or no process can be made.
    """
    # Read first: a call that blocks and returns the mask could be interrupted in between.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        if method == "forkserver":
            _forget_inherited_fork_server()
        else:
            # Ctrl-C reaches the new process, too: it stays blocked there until it is ignored. Not
            # for a fork server, whose later processes would inherit that.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        # Not process.start(): that refuses in a daemonic process, whose children would outlive it.
        # The nursery watches the process of the training loop instead.
        return process._Popen(process)
    except OSError as error:
        raise WorkerStartError(f"no process could be started for the workers: {error}") from None
    finally:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:  # that is a function in Python, which a signal handler may have ended
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forget_inherited_fork_server() -> None:
    """In a fork of a process that has a fork server: have a new one started.

    `multiprocessing` would ask for the state of the inherited one, which is no child of this
    process, and fail with ChildProcessError.
    """
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    pid = server._forkserver_pid
    if pid is None:
        return
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # This process's copy: the parent's keeps the server alive.
        os.close(server._forkserver_alive_fd)
        server._forkserver_pid = server._forkserver_address = server._forkserver_alive_fd = None
