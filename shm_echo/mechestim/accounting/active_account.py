"""Which budget is charged now, in each thread and task.

Each of them sees one :class:`~shm_echo.mechestim.accounting.account.AccountView` through a
``ContextVar``. An explicit context puts its own there; without one the process's default budget is
charged. A thread that is started inside a context charges that context (a new thread would
otherwise start with an empty ``ContextVar`` and spend the default budget); a task inherits by
itself.

NumPy-free: the server uses the same.
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
from shm_echo.mechestim.accounting.budget_values import LARGEST_BUDGET, whole_flops
from shm_echo.mechestim.accounting.settings import settings

DEFAULT_BUDGET = 10**15

frame_now: ContextVar[AccountView | None] = ContextVar("mechestim_frame", default=None)
labels: ContextVar[tuple[str, ...]] = ContextVar("mechestim_labels", default=())

# The first step of the hot path: None and closed frames go on to current_frame().
peek_view = frame_now.get


def current_view() -> AccountView:
    """The frame that an operation of this thread or task charges now."""
    frame = frame_now.get()
    if frame is None:
        frame = getattr(threading.current_thread(), "_mechestim_frame", None)
    if frame is None or frame.closed:
        frame = default_account().frame(labelled(None))
    frame_now.set(frame)
    return frame


def labelled(base: str | None) -> str | None:
    """The namespace of an operation now: its context's, then the open ``namespace`` blocks."""
    path = labels.get()
    if not path:
        return base
    return ".".join(path if base is None else (base, *path))


# The default budget ----

_default: Account | None = None
_default_lock = threading.RLock()


def default_account() -> Account:
    """The process's own budget, made when it is first needed.

    Its size is ``MECHESTIM_DEFAULT_BUDGET`` (a number of FLOPs; 1e15 without it).

    Raises:
        ValueError: The variable is not a positive whole number up to 2**63 - 1.
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


def _renew() -> None:
    """In a child just forked: the thread that had the lock is not here."""
    global _default_lock
    _default_lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


def existing_default() -> Account | None:
    """The default budget, if anything has needed it yet."""
    return _default


# Threads ----

_inherits = False


def threads_inherit() -> None:
    """From now on, a thread that is started inside a context charges that context.

    Wraps ``threading.Thread.start`` once, when the first context is entered: the frame of the
    starting thread is noted on the new thread, which looks there when it has none of its own.
    """
    global _inherits
    if _inherits:
        return
    _inherits = True
    start = threading.Thread.start

    @functools.wraps(start)
    def start_inheriting(self: threading.Thread) -> None:
        frame = frame_now.get()
        if frame is None:
            frame = getattr(threading.current_thread(), "_mechestim_frame", None)
        if frame is not None and not frame.closed:
            self._mechestim_frame = frame  # type: ignore[attr-defined]
        start(self)

    threading.Thread.start = start_inheriting  # type: ignore[method-assign]


@contextmanager
def uncounted() -> Iterator[None]:
    """Charge nothing inside: for the library's own work on arrays, such as printing them."""
    token = frame_now.set(_free_account().frame(None))
    try:
        yield
    finally:
        frame_now.reset(token)


@functools.cache
def _free_account() -> Account:
    return Account(LARGEST_BUDGET)
