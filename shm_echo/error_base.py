"""The base of the exceptions in `shm_echo.errors`, and the wording of facts in their messages."""

from __future__ import annotations

import signal as _signal
from typing import Any

__all__ = ["ShmEchoError", "describe_death", "mebibytes"]


class ShmEchoError(Exception):
    """Base class of every error that shm-echo raises on purpose."""

    __module__ = "shm_echo.errors"  # the public place, which tracebacks and pickles name

    _fields: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, {k: getattr(self, k) for k in self._fields})


def _rebuild(cls: type[ShmEchoError], args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.args = args
    for key, value in fields.items():
        setattr(error, key, value)
    return error


def describe_death(pid: int, signal: int | None) -> str:
    """Describe the end of a process for a message, such as "pid 12 was ended by SIGKILL"."""
    if signal is None:
        return f"pid {pid} ended"
    try:
        name = _signal.Signals(signal).name
    except ValueError:
        name = f"signal {signal}"
    return f"pid {pid} was ended by {name}"


def mebibytes(n: int) -> str:
    """Return a size in bytes as text in MiB."""
    return f"{n / 2**20:.1f} MiB"
