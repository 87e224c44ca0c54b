"""Explicit budgets: :class:`BudgetContext`, as a block and as a decorator.

An explicit context is what the operations of its thread or task charge while its block runs (see
:mod:`shm_echo.mechestim.accounting.active_account`). Two of them do not nest in one thread or task;
different ones may each have their own. NumPy-free: the server uses the same contexts.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, TypeVar

from shm_echo.mechestim import backend_choice
from shm_echo.mechestim.accounting import process_books
from shm_echo.mechestim.accounting.account import Account, AccountView, OpRecord
from shm_echo.mechestim.accounting.active_account import frame_now, labelled, threads_inherit
from shm_echo.mechestim.accounting.budget_values import positive_number, whole_flops
from shm_echo.mechestim.accounting.namespaces import decorate
from shm_echo.mechestim.accounting.namespaces import namespace as namespace
from shm_echo.mechestim.accounting.settings import settings

__all__ = ["BudgetContext", "budget", "open_accounts"]

_F = TypeVar("_F", bound=Callable[..., Any])


class BudgetContext:
    """A budget of FLOPs for the code inside it; a context manager and a decorator.

    Args:
        flop_budget: What may be spent, in FLOPs: a whole number, ``1e9`` included.
        flop_multiplier: Every charge is multiplied by it and truncated.
        quiet: Print no banner to stderr on entry.
        namespace: A label for the summaries. A decorated function's name when it is left out.
        wall_time_limit_s: Seconds from entry after which operations raise TimeExhaustedError.

    Raises:
        ValueError: One of them is not a number that makes sense; the message says which.

    Entering raises RuntimeError while another explicit context is open in the same thread or task.
    One that has been left may be entered again: its count goes on.
    """

    def __init__(
        self,
        flop_budget: float,
        flop_multiplier: float = 1.0,
        quiet: bool = False,
        namespace: str | None = None,
        wall_time_limit_s: float | None = None,
    ) -> None:
        limit = whole_flops(flop_budget)
        multiplier = positive_number("flop_multiplier", flop_multiplier)
        if wall_time_limit_s is not None:
            wall_time_limit_s = positive_number("wall_time_limit_s", wall_time_limit_s)
        if namespace is not None and not isinstance(namespace, str):
            raise ValueError(f"namespace must be a str or None, got {namespace!r}")
        self._quiet = bool(quiet)
        self._namespace = namespace
        self._time_limit = wall_time_limit_s
        self._account: Account = backend_choice.backend().account.new(limit, multiplier)
        self._frame = self._account.frame(namespace)
        self._account.set_closed(True)  # until it is entered
        self._place: object = None  # the thread or task that has it open
        self._tokens: tuple[Token[AccountView | None], Token[BudgetContext | None]] | None = None
        self._entered_at: float | None = None
        self._elapsed = 0.0
        settings.follow(self._account)

    # What is asked about it ----

    @property
    def flop_budget(self) -> int:
        """What may be spent, in FLOPs."""
        return self._account.limit

    @property
    def flop_multiplier(self) -> float:
        """What every charge is multiplied by."""
        return self._account.multiplier

    @property
    def flops_used(self) -> int:
        """What has been charged, in FLOPs; it never goes down."""
        return self._account.used

    @property
    def flops_remaining(self) -> int:
        """``flop_budget - flops_used``."""
        return self._account.remaining

    @property
    def namespace(self) -> str | None:
        """The label of its operations in the summaries."""
        return self._namespace

    @property
    def wall_time_limit_s(self) -> float | None:
        """Seconds that operations may start in, from entry; None for any time."""
        return self._time_limit

    @property
    def elapsed_s(self) -> float:
        """Seconds spent inside the context, up to now if it is open."""
        if self._entered_at is None:
            return self._elapsed
        return self._elapsed + time.monotonic() - self._entered_at

    @property
    def op_log(self) -> list[OpRecord]:
        """The last calls, oldest first; empty unless ``configure(op_log=N)`` asked for a log."""
        return self._account.records()

    def deduct(
        self,
        op_name: str,
        *,
        flop_cost: int,
        subscripts: str | None = None,
        shapes: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        """Charge work of your own, such as a kernel that mechestim does not know.

        Raises:
            ValueError: ``flop_cost`` is not a whole number of FLOPs, 0 or more.
            BudgetExhaustedError: It does not fit. Nothing has changed.
        """
        if isinstance(flop_cost, bool) or not isinstance(flop_cost, int) or flop_cost < 0:
            raise ValueError(f"flop_cost must be an int >= 0, got {flop_cost!r}")
        operands: tuple[Any, ...] = tuple(_Shaped(shape) for shape in shapes)
        if subscripts:
            operands = (subscripts, *operands)
        self._account.deduct(labelled(self._namespace), op_name, flop_cost, operands)

    def summary(self) -> str:
        """The books as an aligned table: totals, by operation, and by namespace."""
        from shm_echo.mechestim.accounting import report

        return report.summary_text(self.summary_dict(by_namespace=True))

    def summary_dict(self, by_namespace: bool = False) -> dict[str, Any]:
        """The books as plain values: the totals, and FLOPs and calls by operation."""
        return process_books.describe(self._account, self._namespace, by_namespace=by_namespace)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw FLOPs over time into a PNG, by operation and by namespace (extra ``plot``)."""
        from shm_echo.mechestim.accounting import plot

        plot.save(self._account.history, path, title=self._namespace or "mechestim")

    def __repr__(self) -> str:
        label = "" if self._namespace is None else f", namespace={self._namespace!r}"
        return f"BudgetContext({self.flops_used:,} of {self.flop_budget:,} FLOPs used{label})"

    # Entering and leaving ----

    def __enter__(self) -> BudgetContext:
        self._enter()
        if not self._quiet:
            from shm_echo.mechestim.accounting.report import banner

            try:
                print(banner(self.flop_budget), file=sys.stderr)
            except BaseException:  # the block will not run: nobody else would leave this
                self.__exit__(None, None, None)
                raise
        return self

    def _enter(self) -> None:
        here = _whereabouts()
        around = _open_here.get()
        with _lock:
            if self._place is not None or (around is not None and around._place is here):
                raise RuntimeError(
                    "Cannot nest BudgetContexts: one is already open in this thread or task. Leave "
                    "it first, or label a part of the work with mechestim.namespace()."
                )
            self._place = here
            _opened.add(self)
        threads_inherit()
        self._entered_at = time.monotonic()
        if self._time_limit is not None:
            self._account.time_limit = self._time_limit
            self._account.deadline = self._entered_at + self._time_limit - self._elapsed
        self._account.set_closed(False)
        frame = self._account.frame(labelled(self._namespace))
        self._tokens = (frame_now.set(frame), _open_here.set(self))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._elapsed = self.elapsed_s
        self._entered_at = None
        self._account.set_closed(True)
        process_books.keep(self._account, self._namespace)
        with _lock:
            self._place = None
            _opened.discard(self)
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            try:
                frame_now.reset(tokens[0])
                _open_here.reset(tokens[1])
            except ValueError:  # left in another task than it was entered in
                frame_now.set(None)

    def __call__(self, function: _F) -> _F:
        """Decorate: every call of ``function`` runs in a fresh context with these settings."""
        return decorate(
            function,
            lambda: BudgetContext(
                self.flop_budget,
                self.flop_multiplier,
                self._quiet,
                self._namespace or getattr(function, "__name__", None),
                self._time_limit,
            ),
        )


def budget(
    flop_budget: float,
    flop_multiplier: float = 1.0,
    quiet: bool = False,
    namespace: str | None = None,
    wall_time_limit_s: float | None = None,
) -> BudgetContext:
    """A :class:`BudgetContext`, for ``with`` and as a decorator. The arguments are the same."""
    return BudgetContext(flop_budget, flop_multiplier, quiet, namespace, wall_time_limit_s)


class _Shaped:
    """An operand of which only the shape is known."""

    __slots__ = ("shape",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)


# What is open ----

_open_here: ContextVar[BudgetContext | None] = ContextVar("mechestim_open", default=None)
# Weakly, and its own thread or task only as long as it is open: a thread that ends without leaving
# its context takes it along.
_opened: weakref.WeakSet[BudgetContext] = weakref.WeakSet()
_lock = threading.RLock()


def open_accounts() -> list[tuple[Account, str | None]]:
    """The accounts of the explicit contexts that are open now, and their namespaces."""
    with _lock:
        return [(context._account, context._namespace) for context in _opened]


def _renew() -> None:
    """In a child just forked: the thread that had the lock is not here."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


def _whereabouts() -> object:
    """This task, or this thread outside of tasks. Contexts nest within none of them."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            task = None
        if task is not None:
            return task
    return threading.current_thread()
