"""Accounts: one budget, its books by operation and namespace, and its charges.

An `Account` is one budget. An `AccountView` is an account seen from one namespace; operations
charge views. Threads share both; every change happens under the account's lock, in one step with
its check.

A charge has one step or two. `AccountView.charge` charges FLOPs at once. `AccountView.reserve`
reserves them; then `commit` charges the reserved FLOPs, once the operation has started, or
`release` returns them to the budget, if NumPy rejected the arguments. `used` counts committed
charges only, so it never decreases.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from threading import RLock
from typing import Any, NamedTuple

from shm_echo.copying import Uncopyable
from shm_echo.mechestim.errors import BudgetExhaustedError, TimeExhaustedError

Tally = list[int]  # [FLOPs, calls]
_NO_MARK = -1  # below every number of available FLOPs, so no charge reaches this mark
MARKS = 256  # the most marks of an account: enough for a plot, and small to send to a client


class OpRecord(NamedTuple):
    """One call in the optional log; `shapes` are the shapes of the operands."""

    op_name: str
    subscripts: str | None
    shapes: tuple[tuple[int, ...], ...]
    flop_cost: int
    cumulative: int
    namespace: str | None = None


class Mark(NamedTuple):
    """Totals at one moment: seconds since it was opened, FLOPs by (namespace, operation)."""

    elapsed_s: float
    flops: dict[tuple[str | None, str], int]


def scaled(cost: int, factor: float) -> int:
    """Return `cost * factor`, truncated; exact where a float does not hold `cost`."""
    if cost < 2**53 and factor < 2**53:  # floats represent every integer below 2**53
        return int(cost * factor)
    numerator, denominator = factor.as_integer_ratio()
    return cost * numerator // denominator


class Account(Uncopyable):
    """One budget: `limit` FLOPs, of which `available` are neither charged nor reserved."""

    _copying_advice = "it is one count"
    __slots__ = (
        "__weakref__",
        "available",
        "check_nan_inf",
        "clock_started",
        "deadline",
        "last_merge",
        "limit",
        "lock",
        "log",
        "marks",
        "multiplier",
        "next_mark",
        "reserved_flops",
        "time_limit",
        "views",
        "weights",
    )

    def __init__(
        self,
        limit: int,
        *,
        multiplier: float = 1.0,
        weights: Mapping[str, float] | None = None,
        log_length: int = 0,
        check_nan_inf: bool = False,
    ) -> None:
        self.check_nan_inf = check_nan_inf  # warn when a result holds NaN or Inf
        self.limit = limit
        self.available = limit
        self.reserved_flops = 0
        self.multiplier = multiplier
        self.weights = weights
        # Re-entrant: a signal handler or a finalizer may charge while this thread holds the lock.
        self.lock = RLock()
        self.views: dict[str | None, AccountView] = {}
        self.clock_started = time.monotonic()
        self.time_limit: float | None = None
        self.deadline: float | None = None
        self.log: deque[OpRecord] | None = deque(maxlen=log_length) if log_length else None
        # Written by `process_books.merge_closed`: the part of the books that it has merged already.
        self.last_merge: tuple[int, dict[str | None, dict[str, tuple[int, int]]]] | None = None
        self.marks: list[Mark] = []
        self.next_mark = limit - 1

    # State ----

    @property
    def used(self) -> int:
        """Return the FLOPs of the operations that have started."""
        with self.lock:
            return self.limit - self.available - self.reserved_flops

    @property
    def remaining(self) -> int:
        """Return `limit - used`."""
        return self.limit - self.used

    def books(self) -> dict[str | None, dict[str, tuple[int, int]]]:
        """Return `{namespace: {operation: (FLOPs, calls)}}`, one consistent copy."""
        with self.lock:
            return {
                namespace: {
                    name: (tally[0], tally[1]) for name, tally in list(view.tallies.items())
                }
                for namespace, view in list(self.views.items())
                if view.tallies
            }

    @property
    def history(self) -> list[Mark]:
        """Return totals over time: at most 256 marks, evenly thinned, the present included."""
        with self.lock:
            return [*self.marks, self._totals()]

    def deduct(
        self, namespace: str | None, name: str, cost: int, operands: tuple[Any, ...]
    ) -> None:
        """Charge work that is not an operation of the library.

        Raises:
            BudgetExhaustedError: the budget does not cover it; nothing has changed.
        """
        view = self.view(namespace)
        view.commit(name, view.reserve(name, cost), operands)

    def records(self) -> list[OpRecord]:
        """Return the optional log, oldest first."""
        with self.lock:
            return list(self.log or ())

    # Views ----

    def view(self, namespace: str | None) -> AccountView:
        """Return the view of this account for `namespace`."""
        with self.lock:
            found = self.views.get(namespace)
            if found is None:
                found = self.views[namespace] = self._new_view(namespace)
            return found

    def _new_view(self, namespace: str | None) -> AccountView:
        return AccountView(self, namespace)

    @property
    def needs_full_charge(self) -> bool:
        """Return True if a charge needs more than a subtraction: weights, a deadline, a log, ..."""
        return (
            self.check_nan_inf
            or self.weights is not None
            or self.multiplier != 1.0
            or self.deadline is not None
            or self.log is not None
        )

    def refresh(self) -> None:
        """Copy `needs_full_charge` to the views, whose fast paths read it."""
        needs_full_charge = self.needs_full_charge
        with self.lock:
            for view in self.views.values():
                view.needs_full_charge = needs_full_charge or view.closed

    def set_closed(self, closed: bool) -> None:
        """Open or close the account; operations do not charge a closed account."""
        with self.lock:
            for view in self.views.values():
                view.closed = closed
        self.refresh()

    def reset(self) -> None:
        """Forget every charge; only `budget_reset` calls this, on the default budget."""
        with self.lock:
            self.available = self.limit - self.reserved_flops
            for view in self.views.values():
                view.tallies.clear()
            self.marks.clear()
            self.next_mark = self.limit - 1
            self.clock_started = time.monotonic()

    def after_fork_in_child(self) -> None:
        """Renew the lock and drop reservations: the threads that hold them are not in the child."""
        self.lock = RLock()
        self.reserved_flops = 0
        booked = [tally[0] for view in self.views.values() for tally in view.tallies.values()]
        self.available = self.limit - sum(booked)

    # History: called with the lock held ----

    def mark(self) -> None:
        """Record the totals. The next mark is due when the count has grown by a 64th."""
        self.next_mark = _NO_MARK  # a signal handler that charges meanwhile must not mark again
        used = self.limit - self.available
        if len(self.marks) >= MARKS - 1:  # `history` adds the present
            self._thin(used // (MARKS // 2) + 1)  # leaves at most half of the marks
        self.marks.append(self._totals())
        self.next_mark = max(self.available - max(1, used >> 6), _NO_MARK)

    def _thin(self, step: int) -> None:
        """Drop marks until each is at least `step` FLOPs after the one before."""
        spaced: list[Mark] = []
        due = 0
        for mark in self.marks:
            total = sum(mark.flops.values())
            if total >= due:
                spaced.append(mark)
                due = total + step
        self.marks = spaced

    def _totals(self) -> Mark:
        return Mark(
            time.monotonic() - self.clock_started,
            {
                (namespace, name): tally[0]
                for namespace, view in list(self.views.items())
                for name, tally in list(view.tallies.items())
            },
        )


class AccountView:
    """An account seen from one namespace; the operations of a thread or task charge one view."""

    __slots__ = ("account", "closed", "namespace", "needs_full_charge", "tallies")

    def __init__(self, account: Account, namespace: str | None) -> None:
        self.account = account
        self.namespace = namespace
        self.tallies: dict[str, Tally] = {}
        self.closed: bool = any(view.closed for view in account.views.values())
        self.needs_full_charge = self.closed or account.needs_full_charge

    def charge(self, name: str, cost: int) -> None:
        """Charge `cost` FLOPs as they are. Only while `needs_full_charge` is false.

        Raises:
            BudgetExhaustedError: the budget does not cover them; nothing has changed.
        """
        account = self.account
        with account.lock:
            available = account.available - cost
            if available < 0:
                raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.available)
            account.available = available
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies.setdefault(name, [0, 0])
            tally[0] += cost
            tally[1] += 1
            if available <= account.next_mark:
                account.mark()

    def reserve(self, name: str, cost: int) -> int:
        """Reserve `cost` FLOPs, with weight and multiplier applied. Return the reserved FLOPs.

        Raises:
            TimeExhaustedError: the time of this account is over.
            BudgetExhaustedError: the budget does not cover them; nothing has changed.
        """
        account = self.account
        if self.needs_full_charge:
            if account.deadline is not None and account.time_limit is not None:
                left = account.deadline - time.monotonic()
                if left < 0:
                    limit = account.time_limit
                    raise TimeExhaustedError(name, elapsed_s=limit - left, limit_s=limit)
            if account.weights is not None:
                cost = scaled(cost, account.weights.get(name, 1))
            if account.multiplier != 1.0:
                cost = scaled(cost, account.multiplier)
        with account.lock:
            available = account.available - cost
            if available < 0:
                raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.available)
            account.available = available
            account.reserved_flops += cost
        return cost

    def commit(self, name: str, reserved: int, operands: tuple[Any, ...] = ()) -> None:
        """Charge reserved FLOPs: the operation has started, even if it fails later."""
        account = self.account
        with account.lock:
            account.reserved_flops -= reserved
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies.setdefault(name, [0, 0])
            tally[0] += reserved
            tally[1] += 1
            if account.log is not None:
                account.log.append(self._record(name, reserved, operands))
            if account.available <= account.next_mark:
                account.mark()

    def release(self, reserved: int, name: str = "", cost: int = 0) -> None:
        """Return reserved FLOPs to the budget: the operation was rejected before it started.

        Args:
            reserved: the result of `reserve`.
            name: the operation, as given to `reserve`; views that charge elsewhere too need it.
            cost: the FLOPs, as given to `reserve`.
        """
        account = self.account
        with account.lock:
            account.reserved_flops -= reserved
            account.available += reserved

    def _record(self, name: str, cost: int, operands: tuple[Any, ...]) -> OpRecord:
        account = self.account
        subscripts = operands[0] if operands and isinstance(operands[0], str) else None
        shapes = tuple(
            tuple(operand.shape)
            for operand in operands
            if isinstance(getattr(operand, "shape", None), tuple)
        )
        cumulative = account.limit - account.available - account.reserved_flops
        return OpRecord(name, subscripts, shapes, cost, cumulative, self.namespace)
