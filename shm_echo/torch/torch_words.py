"""The errors of the loader in torch's words, which programs look for in messages."""

from __future__ import annotations

import signal

from shm_echo.errors import LoaderTimeoutError, WorkerDiedError

__all__ = ["died_as_torch_says", "late_as_torch_says"]


def late_as_torch_says(error: LoaderTimeoutError, timeout: float) -> LoaderTimeoutError:
    """Return the error of a late batch, with torch's sentence before its own text.

    Args:
        error: the error; it is changed.
        timeout: seconds, as the loader was given them.
    """
    error.args = (f"DataLoader timed out after {timeout} seconds: {error}",)
    return error


def died_as_torch_says(error: WorkerDiedError) -> WorkerDiedError:
    """Return the error of workers that died, with torch's sentence before its own text.

    Args:
        error: the error; it is changed.
    """
    if error.signal is None:
        sentence = f"DataLoader worker (pid(s) {error.pid}) exited unexpectedly"
    else:
        name = signal.strsignal(error.signal) or f"signal {error.signal}"
        sentence = f"DataLoader worker (pid {error.pid}) is killed by signal: {name}"
    error.args = (f"{sentence}. {error}",)
    return error
