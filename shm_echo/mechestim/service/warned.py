"""Warnings of a session's operations, caught for its client.

``warnings.catch_warnings`` changes the whole process and cannot be used by several threads at once.
So the process's ``showwarning`` is replaced, once, by one that hands a warning to the session of
the thread that it arose in; filters let everything through, as the client has filters of its own.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

_local = threading.local()
_lock = threading.Lock()
_installed = False


def install() -> None:
    """Route the warnings of session threads to their sessions; other threads are as before."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        before = warnings.showwarning

        def show(
            message: Any, category: Any, filename: str, lineno: int, *rest: Any, **more: Any
        ) -> None:
            caught = getattr(_local, "caught", None)
            if caught is None:
                before(message, category, filename, lineno, *rest, **more)
            else:
                caught.append(message if isinstance(message, Warning) else category(message))

        warnings.showwarning = show
        warnings.filterwarnings("always", module=r"(shm_echo|numpy)(\.|$)")


def collect(caught: list[Any] | None) -> None:
    """Put the warnings of this thread into the list from now on; None: show them as ever."""
    _local.caught = caught
