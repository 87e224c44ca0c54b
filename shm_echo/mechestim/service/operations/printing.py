"""Arrays as text, under the print options of their session.

Each session has print options of its own; they affect neither other sessions nor the program that
serves them. NumPy keeps print options in a context variable from 2.1 on. NumPy 2.0 has one set for
the whole process: a lock lets one array be printed at a time there, and text that the serving
program prints at the same moment may follow the session's options.
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

__all__ = ["PRINTING_METHODS", "change", "options"]

# Limits of the options: each element of an array may become as long as they say.
_MAX_PRECISION = 1000  # digits; a float64 has at most 767 significant ones
_MAX_TEXT = {"nanstr": 100, "infstr": 100}  # characters
_FUNCTION_OPTIONS = ("formatter", "override_repr")

# A new context has NumPy's defaults, also if the serving program has set options of its own.
_defaults: dict[str, Any] = dict(Context().run(np.get_printoptions))
_session_options: ContextVar[dict[str, Any] | None] = ContextVar(
    "mechestim_print_options", default=None
)


def _make_numpy_lock() -> contextlib.AbstractContextManager[Any]:
    """Return the lock that is held while NumPy has a session's options; no lock from 2.1 on."""
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        return contextlib.nullcontext()
    lock = threading.Lock()
    # A fork waits for the lock. Otherwise the child would keep the options of that session, and a
    # lock that no thread of it can release.
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )
    return lock


_numpy_lock = _make_numpy_lock()


def options() -> dict[str, Any]:
    """Return the print options of the session of this context. The caller must not change them."""
    return _session_options.get() or _defaults


def change(**changes: Any) -> dict[str, Any]:
    """Change the session's print options as `numpy.set_printoptions` does.

    Returns:
        The options before, without those that cannot be sent to the client.

    Raises:
        TypeError: An option has a wrong type.
        ValueError: An option is too large, or is a function, which the server cannot keep.
    """
    if any(changes.get(name) is not None for name in _FUNCTION_OPTIONS):
        raise ValueError("a server cannot keep functions: it has no formatter and no override_repr")
    for name, longest in _MAX_TEXT.items():
        value = changes.get(name)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} of the print options must be text")
        if value is not None and len(value) > longest:
            raise ValueError(f"{name} of the print options may have {longest} characters at most")
    precision = changes.get("precision")
    if precision is not None and not -_MAX_PRECISION <= index(precision) <= _MAX_PRECISION:
        raise ValueError(f"precision of the print options may be {_MAX_PRECISION} at most")
    before = options()
    if changes:
        # NumPy checks and completes the changes; the context manager undoes them in NumPy.
        with _numpy_lock, np.printoptions(**before):
            np.set_printoptions(**changes)
            _session_options.set(dict(np.get_printoptions()))
    return {
        key: value
        for key, value in before.items()
        if isinstance(value, (str, int, float, bool, type(None)))
    }


def _under_options(text: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `text` under the session's options."""

    def method(*args: Any, **kwargs: Any) -> Any:
        with _numpy_lock, np.printoptions(**options()):
            return text(*args, **kwargs)

    return method


# The operations that print an array.
PRINTING_METHODS: dict[str, Callable[..., Any]] = {
    f"ndarray.{name}": _under_options(allowlist.METHODS[f"ndarray.{name}"])
    for name in ("__repr__", "__str__", "__format__")
}
