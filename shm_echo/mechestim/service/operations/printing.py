"""Arrays as text: the print options of a session, which hold while one of its arrays is printed.

They are the session's own: what it sets says nothing to another one, nor to the program that serves
it. NumPy keeps print options in a context variable. NumPy 2.0 has one set of them for the whole
process: there one array at a time is printed, and what the program itself prints just then may look
as the session wants it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from operator import index
from typing import Any

import numpy as np

from shm_echo.mechestim.service.operations import allowlist

__all__ = ["TEXTS", "change", "options"]

_MOST_DIGITS = 1000
_LONGEST = {"nanstr": 100, "infstr": 100}
_FUNCTIONS = ("formatter", "override_repr")

_first: dict[str, Any] = dict(Context().run(np.get_printoptions))  # how a session begins
_own: ContextVar[dict[str, Any] | None] = ContextVar("mechestim_print_options", default=None)


def _one_at_a_time() -> contextlib.AbstractContextManager[Any]:
    """Return the lock that is held while NumPy has a session's options."""
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        return contextlib.nullcontext()
    lock = threading.Lock()
    # No process is forked in between: it would have the options of that session, and the lock.
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )
    return lock


_alone = _one_at_a_time()


def options() -> dict[str, Any]:
    """The print options of the session that is served now; not to be changed."""
    return _own.get() or _first


def change(**changes: Any) -> dict[str, Any]:
    """`numpy.set_printoptions`; the options before. Numbers and words have a longest form."""
    if any(changes.get(name) is not None for name in _FUNCTIONS):
        raise ValueError("a server keeps no function: no formatter, no override_repr")
    for name, longest in _LONGEST.items():
        value = changes.get(name)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} of the print options is text")
        if value is not None and len(value) > longest:
            raise ValueError(f"{name} of the print options has at most {longest} characters")
    precision = changes.get("precision")
    if precision is not None and not -_MOST_DIGITS <= index(precision) <= _MOST_DIGITS:
        raise ValueError(f"precision of the print options is at most {_MOST_DIGITS}")
    before = options()
    if changes:
        with _alone, np.printoptions(**before):
            np.set_printoptions(**changes)
            _own.set(dict(np.get_printoptions()))
    return {
        key: value
        for key, value in before.items()
        if isinstance(value, (str, int, float, bool, type(None)))
    }


def _under_options(text: Callable[..., Any]) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        with _alone, np.printoptions(**options()):
            return text(*args, **kwargs)

    return method


TEXTS: dict[str, Callable[..., Any]] = {
    f"ndarray.{name}": _under_options(allowlist.METHODS[f"ndarray.{name}"])
    for name in ("__repr__", "__str__", "__format__")
}
"""The operations that print an array."""
