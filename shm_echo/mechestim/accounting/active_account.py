"""The view that each thread and task charges now.

A `ContextVar` holds one `AccountView` for each. An explicit context puts its own view there;
without one the process's default budget is charged. A thread that starts inside a context charges
that context (a new thread would otherwise start with an empty `ContextVar` and spend the default
budget); a task inherits by itself.

This module does not need NumPy: the server uses it too.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shm_echo.mechestim import backend_choice
from shm_echo.mechestim.accounting.account import Account, AccountView
from shm_echo.mechestim.accounting.budget_values import MAX_BUDGET, whole_flops
from shm_echo.mechestim.accounting.settings import settings

DEFAULT_BUDGET = 10**15

active_view: ContextVar[AccountView | None] = ContextVar("mechestim_view", default=None)
labels: ContextVar[tuple[str, ...]] = ContextVar("mechestim_labels", default=())

# The first step of the hot path: None and closed views continue with current_view().
peek_view = active_view.get


def current_view() -> AccountView:
    """Return the view that an operation of this thread or task charges now."""
    view = active_view.get()
    if view is None:
        view = getattr(threading.current_thread(), "_mechestim_view", None)
    if view is None or view.closed:
        view = default_account().view(labelled(None))
    active_view.set(view)
    return view


def labelled(base: str | None) -> str | None:
    """Return the namespace of an operation: its context's, then the open `namespace` blocks."""
    path = labels.get()
    if not path:
        return base
    return ".".join(path if base is None else (base, *path))


# The default budget ----

_default: Account | None = None
_default_lock = threading.RLock()


def default_account() -> Account:
    """Return the process's own budget; create it when it is first needed.

    Its size is `MECHESTIM_DEFAULT_BUDGET` (a number of FLOPs; 1e15 without the variable).

    Raises:
        ValueError: the variable is not a positive whole number up to 2**63 - 1.
    """
    global _default
    if _default is None:
        with _default_lock:
            if _default is None:
                text = os.environ.get("MECHESTIM_DEFAULT_BUDGET", "").strip()
                try:
                    limit = whole_flops(float(text)) if text else DEFAULT_BUDGET
                except ValueError as error:
                    raise ValueError(f"MECHESTIM_DEFAULT_BUDGET={text!r}: {error}") from None
                account = backend_choice.backend().account.new(limit)
                settings.follow(account)
                _default = account
    return _default


def _after_fork_in_child() -> None:
    """Renew the lock: the thread that may hold it is not in the child."""
    global _default_lock
    _default_lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def existing_default() -> Account | None:
    """Return the default budget, or None before anything has needed it."""
    return _default


# Threads ----

_inherits = False


def threads_inherit() -> None:
    """Make threads that start inside a context charge that context.

    Wraps `threading.Thread.start` once, when the first context is entered. The wrapper stores the
    view of the starting thread on the new thread, which reads it when it has none of its own.
    """
    global _inherits
    if _inherits:
        return
    _inherits = True
    start = threading.Thread.start

    @functools.wraps(start)
    def start_inheriting(self: threading.Thread) -> None:
        view = active_view.get()
        if view is None:
            view = getattr(threading.current_thread(), "_mechestim_view", None)
        if view is not None and not view.closed:
            self._mechestim_view = view  # type: ignore[attr-defined]
        start(self)

    threading.Thread.start = start_inheriting  # type: ignore[method-assign]


@contextmanager
def uncounted() -> Iterator[None]:
    """Charge nothing inside the block: for the library's own work, such as printing arrays."""
    token = active_view.set(_free_account().view(None))
    try:
        yield
    finally:
        active_view.reset(token)


@functools.cache
def _free_account() -> Account:
    return Account(MAX_BUDGET)
