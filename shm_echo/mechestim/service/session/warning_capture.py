"""Captures the warnings of a session's operations, for its client.

`warnings.catch_warnings` changes the whole process, so several threads cannot use it at once.
Instead, `install` replaces the process's `showwarning` once, by a function that appends a warning
to the list of the session in whose context it arose. The filters pass every warning of NumPy and of
this package: the client applies filters of its own.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from shm_echo.mechestim.errors import MechEstimWarning

_collected: ContextVar[list[Any] | None] = ContextVar("mechestim_collected", default=None)
_lock = threading.Lock()
_original_showwarning: Callable[..., None] = warnings.showwarning


def install() -> None:
    """Route the warnings of sessions to them; all other warnings are shown as before.

    Idempotent. Call it at the start of each session: code that leaves `warnings.catch_warnings`
    restores the function and the filters from before.
    """
    global _original_showwarning
    with _lock:
        if warnings.showwarning is not _showwarning:
            _original_showwarning = warnings.showwarning
            warnings.showwarning = _showwarning
            warnings.filterwarnings("always", module=r"(shm_echo|numpy)(\.|$)")
            # A warning of this class names the line of its caller. On a session's thread that is in
            # no module of NumPy or of this package, so the filter above does not match it.
            warnings.simplefilter("always", MechEstimWarning)


def _showwarning(
    message: Any, category: Any, filename: str, lineno: int, *rest: Any, **more: Any
) -> None:
    collected = _collected.get()
    if collected is None:
        _original_showwarning(message, category, filename, lineno, *rest, **more)
    else:
        collected.append(message if isinstance(message, Warning) else category(message))


def collect_into(collected: list[Any] | None) -> None:
    """Append the warnings of this context to a list from now on; with None, show them."""
    _collected.set(collected)
