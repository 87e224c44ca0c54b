"""The count itself: what a budget allows, what is used, and the books by operation and by
namespace.

An `Account` is one budget. An `AccountView` is an account seen from one namespace: the pair
that operations charge. Both are shared by threads; every change happens under the account's lock,
and the check and the charge are one step of it.

`room` is what is neither used nor reserved. `AccountView.charge` takes from it for good.
`AccountView.reserve` only sets FLOPs aside: `AccountView.commit` takes them once the operation has
started, and `AccountView.cancel` releases them when NumPy refused the arguments. `flops_used`
counts what is taken, so it never goes down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from threading import RLock
from typing import Any, NamedTuple

from shm_echo.mechestim.errors import BudgetExhaustedError, TimeExhaustedError

Tally = list[int]  # [FLOPs, calls]
_NO_MARK = -1  # a mark that room, which is never negative, does not reach
MARKS = 256


class OpRecord(NamedTuple):
    """One call in the optional log. ``shapes`` are the operands'."""

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
    """``cost * factor``, truncated: as floats have it while they hold ``cost``, then exactly."""
    if cost < 2**53 and factor < 2**53:
        return int(cost * factor)
    numerator, denominator = factor.as_integer_ratio()
    return cost * numerator // denominator


class Account:
    """One budget: ``limit`` FLOPs, of which ``room`` are free."""

    __slots__ = (
        "__weakref__",
        "careful",
        "clock_started",
        "deadline",
        "frames",
        "kept",
        "limit",
        "lock",
        "log",
        "marks",
        "multiplier",
        "next_mark",
        "pending",
        "room",
        "time_limit",
        "weights",
    )

    def __init__(
        self,
        limit: int,
        *,
        multiplier: float = 1.0,
        weights: Mapping[str, float] | None = None,
        log_length: int = 0,
        careful: bool = False,
    ) -> None:
        self.careful = careful  # results are looked at for NaN and Inf
        self.limit = limit
        self.room = limit
        self.pending = 0
        self.multiplier = multiplier
        self.weights = weights
        self.lock = RLock()  # a signal handler or a finalizer may charge while this thread has it
        self.frames: dict[str | None, AccountView] = {}
        self.clock_started = time.monotonic()
        self.time_limit: float | None = None
        self.deadline: float | None = None
        self.log: deque[OpRecord] | None = deque(maxlen=log_length) if log_length else None
        self.kept: tuple[int, dict[str | None, dict[str, tuple[int, int]]]] | None = (
            None  # session.keep's
        )
        self.marks: list[Mark] = []
        self.next_mark = limit - 1

    # What is asked about it ----

    @property
    def used(self) -> int:
        """FLOPs of the operations that have started."""
        with self.lock:
            return self.limit - self.room - self.pending

    @property
    def remaining(self) -> int:
        """``limit - used``."""
        return self.limit - self.used

    def books(self) -> dict[str | None, dict[str, tuple[int, int]]]:
        """``{namespace: {operation: (FLOPs, calls)}}``, one consistent copy."""
        with self.lock:
            return {
                namespace: {
                    name: (tally[0], tally[1]) for name, tally in list(frame.tallies.items())
                }
                for namespace, frame in list(self.frames.items())
                if frame.tallies
            }

    @property
    def history(self) -> list[Mark]:
        """Totals over time: at most 256 marks, evenly thinned, the present included."""
        with self.lock:
            return [*self.marks, self._totals()]

    def deduct(
        self, namespace: str | None, name: str, cost: int, operands: tuple[Any, ...]
    ) -> None:
        """Charge work that no operation of the library did.

        Raises:
            BudgetExhaustedError: It does not fit. Nothing has changed.
        """
        frame = self.frame(namespace)
        frame.commit(name, frame.reserve(name, cost), operands)

    def records(self) -> list[OpRecord]:
        """The optional log, oldest first."""
        with self.lock:
            return list(self.log or ())

    # Frames ----

    def frame(self, namespace: str | None) -> AccountView:
        """This account, seen from ``namespace``."""
        with self.lock:
            found = self.frames.get(namespace)
            if found is None:
                found = self.frames[namespace] = self._new_frame(namespace)
            return found

    def _new_frame(self, namespace: str | None) -> AccountView:
        return AccountView(self, namespace)

    @property
    def special(self) -> bool:
        """True when a charge needs more than the sum."""
        return (
            self.careful
            or self.weights is not None
            or self.multiplier != 1.0
            or self.deadline is not None
            or self.log is not None
        )

    def refresh(self) -> None:
        """Tell the frames whether a charge needs more than the sum."""
        special = self.special
        with self.lock:
            for frame in self.frames.values():
                frame.special = special or frame.closed

    def set_closed(self, closed: bool) -> None:
        """Open or close it: a closed one is passed over by the operations that come after."""
        with self.lock:
            for frame in self.frames.values():
                frame.closed = closed
        self.refresh()

    def reset(self) -> None:
        """Forget every charge. Only for the default budget, at its owner's word."""
        with self.lock:
            self.room = self.limit - self.pending
            for frame in self.frames.values():
                frame.tallies.clear()
            self.marks.clear()
            self.next_mark = self.limit - 1
            self.clock_started = time.monotonic()

    def renew(self) -> None:
        """In a child just forked: whichever threads had the lock, or had promised, are not here."""
        self.lock = RLock()
        self.pending = 0
        booked = [tally[0] for frame in self.frames.values() for tally in frame.tallies.values()]
        self.room = self.limit - sum(booked)

    # History: called with the lock held ----

    def mark(self) -> None:
        """Note the totals. The next mark is due when the count has grown by a 64th."""
        self.next_mark = _NO_MARK  # for charges by a signal handler meanwhile
        used = self.limit - self.room
        if len(self.marks) >= MARKS - 1:  # the present is one, too
            self._thin(used // 128 + 1)
        self.marks.append(self._totals())
        self.next_mark = max(self.room - max(1, used >> 6), _NO_MARK)

    def _thin(self, step: int) -> None:
        """Keep only marks that are ``step`` FLOPs apart."""
        kept: list[Mark] = []
        due = 0
        for mark in self.marks:
            total = sum(mark.flops.values())
            if total >= due:
                kept.append(mark)
                due = total + step
        self.marks = kept

    def _totals(self) -> Mark:
        return Mark(
            time.monotonic() - self.clock_started,
            {
                (namespace, name): tally[0]
                for namespace, frame in list(self.frames.items())
                for name, tally in list(frame.tallies.items())
            },
        )


class AccountView:
    """An account, seen from one namespace: what the operations of a thread or task charge."""

    __slots__ = ("account", "closed", "namespace", "special", "tallies")

    def __init__(self, account: Account, namespace: str | None) -> None:
        self.account = account
        self.namespace = namespace
        self.tallies: dict[str, Tally] = {}
        self.closed: bool = any(frame.closed for frame in account.frames.values())
        self.special = self.closed or account.special

    def charge(self, name: str, cost: int) -> None:
        """Charge ``cost`` FLOPs as they are. Only while ``special`` is false.

        Raises:
            BudgetExhaustedError: They do not fit. Nothing has changed.
        """
        account = self.account
        with account.lock:
            room = account.room - cost
            if room < 0:
                raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.room)
            account.room = room
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies.setdefault(name, [0, 0])
            tally[0] += cost
            tally[1] += 1
            if room <= account.next_mark:
                account.mark()

    def reserve(self, name: str, cost: int) -> int:
        """Promise ``cost`` FLOPs, weight and multiplier applied, and return what was promised.

        Raises:
            TimeExhaustedError: The time of this account is over.
            BudgetExhaustedError: They do not fit. Nothing has changed.
        """
        account = self.account
        if self.special:
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
            room = account.room - cost
            if room < 0:
                raise BudgetExhaustedError(name, flop_cost=cost, flops_remaining=account.room)
            account.room = room
            account.pending += cost
        return cost

    def commit(self, name: str, promised: int, operands: tuple[Any, ...] = ()) -> None:
        """Keep a promise: the operation has started, whatever became of it."""
        account = self.account
        with account.lock:
            account.pending -= promised
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies.setdefault(name, [0, 0])
            tally[0] += promised
            tally[1] += 1
            if account.log is not None:
                account.log.append(self._record(name, promised, operands))
            if account.room <= account.next_mark:
                account.mark()

    def cancel(self, promised: int, name: str = "", cost: int = 0) -> None:
        """Give a promise back: the operation was refused before it started.

        Args:
            promised: what :meth:`reserve` returned.
            name, cost: what it was given; for frames that pay elsewhere, too.
        """
        account = self.account
        with account.lock:
            account.pending -= promised
            account.room += promised

    def _record(self, name: str, cost: int, operands: tuple[Any, ...]) -> OpRecord:
        account = self.account
        subscripts = operands[0] if operands and isinstance(operands[0], str) else None
        shapes = tuple(
            tuple(operand.shape)
            for operand in operands
            if isinstance(getattr(operand, "shape", None), tuple)
        )
        cumulative = account.limit - account.room - account.pending
        return OpRecord(name, subscripts, shapes, cost, cumulative, self.namespace)
