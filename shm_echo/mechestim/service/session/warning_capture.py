"""Warnings of a session's operations, collected for its client.

``warnings.catch_warnings`` changes the whole process and cannot be used by several threads at once.
So the process's ``showwarning`` is replaced, once, by one that hands a warning to the session in
whose context it arose; filters let everything through, as the client has filters of its own.
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
    """Route the warnings of sessions to them; all others are as before.

    Idempotent, and to be called again now and then: whoever leaves ``warnings.catch_warnings`` puts
    back what was there when it was entered.
    """
    global _original_showwarning
    with _lock:
        if warnings.showwarning is not _showwarning:
            _original_showwarning = warnings.showwarning
            warnings.showwarning = _showwarning
            warnings.filterwarnings("always", module=r"(shm_echo|numpy)(\.|$)")
            # They name the line of the caller, which is no code of ours, but a thread's.
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
    """Put the warnings of this context into the list from now on; None: show them as ever."""
    _collected.set(collected)
