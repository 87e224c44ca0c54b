"""Explicit budgets: `BudgetContext`, as a block and as a decorator.

The operations of a thread or task charge its explicit context while the block runs (see
`active_account`). Contexts do not nest in one thread or task; different ones may each have their
own. This module does not need NumPy: the server uses the same contexts.
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

from shm_echo.copying import Uncopyable
from shm_echo.mechestim import backend_choice
from shm_echo.mechestim.accounting import process_books
from shm_echo.mechestim.accounting.account import Account, AccountView, OpRecord
from shm_echo.mechestim.accounting.active_account import active_view, labelled, threads_inherit
from shm_echo.mechestim.accounting.budget_values import positive_number, whole_flops
from shm_echo.mechestim.accounting.namespaces import decorate
from shm_echo.mechestim.accounting.namespaces import namespace as namespace
from shm_echo.mechestim.accounting.settings import settings
from shm_echo.validation import check_count

__all__ = ["BudgetContext", "budget", "open_accounts"]

_F = TypeVar("_F", bound=Callable[..., Any])


class BudgetContext(Uncopyable):
    """A budget of FLOPs for the code inside it; a context manager and a decorator.

    Args:
        flop_budget: the budget in FLOPs: a whole number, `1e9` included.
        flop_multiplier: every charge is multiplied by it and truncated.
        quiet: print no banner to stderr on entry.
        namespace: a label for the summaries; by default a decorated function's name.
        wall_time_limit_s: seconds from entry after which operations raise TimeExhaustedError.

    Raises:
        ValueError: an argument is out of range; the message names it.

    Entering raises RuntimeError while another explicit context is open in the same thread or task.
    A closed context can be entered again: its count continues.

    Example:
        >>> import mechestim as me
        >>> with me.BudgetContext(10**6, quiet=True) as budget:
        ...     y = me.exp(me.ones(100))
        >>> budget.flops_used
        100
    """

    _copying_advice = "it is one count of one process; make another BudgetContext"

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
        self._view = self._account.view(namespace)
        self._account.set_closed(True)  # until the context is entered
        self._owner: object = None  # the thread or task that has entered it
        self._tokens: tuple[Token[AccountView | None], Token[BudgetContext | None]] | None = None
        self._entered_at: float | None = None
        self._elapsed = 0.0
        settings.follow(self._account)

    # State ----

    @property
    def flop_budget(self) -> int:
        """Return the budget in FLOPs."""
        return self._account.limit

    @property
    def flop_multiplier(self) -> float:
        """Return the factor that every charge is multiplied by."""
        return self._account.multiplier

    @property
    def flops_used(self) -> int:
        """Return the charged FLOPs; they never go down."""
        return self._account.used

    @property
    def flops_remaining(self) -> int:
        """Return `flop_budget - flops_used`."""
        return self._account.remaining

    @property
    def namespace(self) -> str | None:
        """Return the label of the operations in summaries."""
        return self._namespace

    @property
    def wall_time_limit_s(self) -> float | None:
        """Return the seconds from entry in which operations may start; None for no limit."""
        return self._time_limit

    @property
    def elapsed_s(self) -> float:
        """Return the seconds spent inside the context, up to now if it is open."""
        if self._entered_at is None:
            return self._elapsed
        return self._elapsed + time.monotonic() - self._entered_at

    @property
    def op_log(self) -> list[OpRecord]:
        """Return the last calls, oldest first; empty without `configure(op_log=N)`."""
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
            ValueError: `flop_cost` is not a whole number of FLOPs, 0 or more.
            BudgetExhaustedError: the budget does not cover it; nothing has changed.
        """
        try:
            # Without a limit: what the budget does not cover raises BudgetExhaustedError.
            flop_cost = check_count("flop_cost", flop_cost, 0, most=None)
        except (TypeError, ValueError):
            raise ValueError(f"flop_cost must be an int >= 0, got {flop_cost!r}") from None
        operands: tuple[Any, ...] = tuple(_Shaped(shape) for shape in shapes)
        if subscripts:
            operands = (subscripts, *operands)
        self._account.deduct(labelled(self._namespace), op_name, flop_cost, operands)

    def summary(self) -> str:
        """Return the books as an aligned table: totals, by operation, and by namespace."""
        from shm_echo.mechestim.accounting import report

        return report.summary_text(self.summary_dict(by_namespace=True))

    def summary_dict(self, by_namespace: bool = False) -> dict[str, Any]:
        """Return the books as plain values: totals, and FLOPs and calls by operation."""
        return process_books.describe(self._account, self._namespace, by_namespace=by_namespace)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw FLOPs over time into a PNG, by operation and by namespace (extra `plot`)."""
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
            except BaseException:  # the block will not run, so nothing else closes the context
                self.__exit__(None, None, None)
                raise
        return self

    def _enter(self) -> None:
        owner = _current_task_or_thread()
        around = _open_here.get()
        with _lock:
            if self._owner is not None or (around is not None and around._owner is owner):
                raise RuntimeError(
                    "Cannot nest BudgetContexts: one is already open in this thread or task. Leave "
                    "it first, or label a part of the work with mechestim.namespace()."
                )
            self._owner = owner
            _opened.add(self)
        threads_inherit()
        self._entered_at = time.monotonic()
        if self._time_limit is not None:
            self._account.time_limit = self._time_limit
            self._account.deadline = self._entered_at + self._time_limit - self._elapsed
        self._account.set_closed(False)
        view = self._account.view(labelled(self._namespace))
        self._tokens = (active_view.set(view), _open_here.set(self))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._elapsed = self.elapsed_s
        self._entered_at = None
        self._account.set_closed(True)
        process_books.merge_closed(self._account, self._namespace)
        with _lock:
            self._owner = None
            _opened.discard(self)
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            try:
                active_view.reset(tokens[0])
                _open_here.reset(tokens[1])
            except ValueError:  # closed in another task than the one that entered it
                active_view.set(None)

    def __call__(self, function: _F) -> _F:
        """Decorate: every call of `function` runs in a fresh context with these settings."""
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
    """Return a `BudgetContext`, for `with` and as a decorator. The arguments are the same."""
    return BudgetContext(flop_budget, flop_multiplier, quiet, namespace, wall_time_limit_s)


class _Shaped:
    """Stands for an operand whose shape alone is known."""

    __slots__ = ("shape",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)


# Open contexts ----

_open_here: ContextVar[BudgetContext | None] = ContextVar("mechestim_open", default=None)
# Weak references: a thread that ends without closing its context takes the context along.
_opened: weakref.WeakSet[BudgetContext] = weakref.WeakSet()
_lock = threading.RLock()


def open_accounts() -> list[tuple[Account, str | None]]:
    """Return the accounts of the explicit contexts that are open now, with their namespaces."""
    with _lock:
        return [(context._account, context._namespace) for context in _opened]


def _after_fork_in_child() -> None:
    """Renew the lock: the thread that may hold it is not in the child."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _current_task_or_thread() -> object:
    """Return the current task, or the thread outside of tasks. Contexts nest in neither."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            task = None
        if task is not None:
            return task
    return threading.current_thread()
