"""A budget whose count the server keeps; this process has its number.

It has the interface of `shm_echo.mechestim.accounting.account.Account`, so that contexts,
namespaces, threads and summaries work the same in both modes.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.account import Account, Mark, OpRecord
from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.connection.session_options import current_options

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

_open_lock = threading.RLock()  # threads that share a context open its budget once


def _after_fork_in_child() -> None:
    global _open_lock
    _open_lock = threading.RLock()  # the thread that may hold it is not in the child


os.register_at_fork(after_in_child=_after_fork_in_child)


class RemoteAccount(Account):
    """One budget of a session; the server opens it when an operation first charges it."""

    __slots__ = ("_last", "channel", "number")

    def __init__(self, limit: int, *, multiplier: float = 1.0) -> None:
        super().__init__(limit, multiplier=multiplier)
        self.channel: Channel | None = None
        self.number = 0
        self._last: tuple[int, dict[str | None, dict[str, tuple[int, int]]]] = (0, {})

    def __del__(self) -> None:
        try:
            if self.channel is not None:
                self.channel.forget(self.number)
        except AttributeError:  # its making was interrupted, or the interpreter is shutting down
            return

    def number_in(self, channel: Channel) -> int:
        """Return the account's number in a session, which opens the budget if it has not yet."""
        with _open_lock:
            if channel is not self.channel:
                self.number = channel.request(
                    "budget.open", (self.limit, self.multiplier, self.time_limit)
                )
                self._send_elapsed_time(channel)
                self.channel = channel
            return self.number

    def set_closed(self, closed: bool) -> None:
        """Enter or leave the context: its time on the server runs, or stops."""
        super().set_closed(closed)
        channel = self._open_channel()
        if channel is not None and self.time_limit is not None:
            if closed:
                channel.request("budget.leave", (self.number,))
            else:
                self._send_elapsed_time(channel)

    def _send_elapsed_time(self, channel: Channel) -> None:
        if self.deadline is not None and self.time_limit is not None:
            left = self.deadline - time.monotonic()
            channel.request("budget.enter", (self.number, self.time_limit - left))

    def _open_channel(self) -> Channel | None:
        channel = self.channel
        return channel if channel is not None and channel.why_closed is None else None

    def _read(self) -> tuple[int, dict[str | None, dict[str, tuple[int, int]]]]:
        """Return FLOPs and books from the server; the last ones if the session has ended."""
        channel = self._open_channel()
        if channel is not None:
            answer = channel.request("budget.read", (self.number,))
            books: dict[str | None, dict[str, tuple[int, int]]] = {
                namespace: {name: (tally[0], tally[1]) for name, tally in operations.items()}
                for namespace, operations in answer["books"]
            }
            # In the order in which this process entered the namespaces.
            entered = [namespace for namespace in list(self.views) if namespace in books]
            books = {namespace: books[namespace] for namespace in [*entered, *books]}
            self._last = (answer["used"], books)
        return self._last

    @property
    def used(self) -> int:
        """The FLOPs that have been charged."""
        return self._read()[0]

    def books(self) -> dict[str | None, dict[str, tuple[int, int]]]:
        """Return `{namespace: {operation: (FLOPs, calls)}}`."""
        return self._read()[1]

    @property
    def history(self) -> list[Mark]:
        """The totals over time."""
        channel = self._open_channel()
        if channel is None:
            return []
        return [
            Mark(elapsed, {(namespace, name): flops for namespace, name, flops in totals})
            for elapsed, totals in channel.request("budget.history", (self.number,))
        ]

    def records(self) -> list[OpRecord]:
        """Return the optional log, oldest call first."""
        channel = self._open_channel()
        if channel is None or not settings.op_log:
            return []
        return [
            OpRecord(name, subscripts, tuple(map(tuple, shapes)), cost, cumulative, namespace)
            for name, subscripts, shapes, cost, cumulative, namespace in channel.request(
                "budget.log", (self.number,), options=current_options()
            )
        ]

    def deduct(
        self, namespace: str | None, name: str, cost: int, operands: tuple[Any, ...]
    ) -> None:
        """Charge work that no operation of the library did.

        Raises:
            BudgetExhaustedError: It does not fit. Nothing has changed.
        """
        channel = client_session.channel()
        texts = [one for one in operands if isinstance(one, str)]
        shapes = [one.shape for one in operands if not isinstance(one, str)]
        args = (name, cost, texts[0] if texts else None, shapes)
        number = self.number_in(channel)
        channel.request("budget.deduct", args, None, number, namespace, current_options())

    def reset(self) -> None:
        """Reset the default budget: the server forgets it, and the next charge opens a new one."""
        channel = self._open_channel()
        if channel is not None:
            channel.forget(self.number)
        self.channel, self.number, self._last = None, 0, (0, {})


def new(limit: int, multiplier: float = 1.0) -> RemoteAccount:
    """Return a budget of `limit` FLOPs."""
    return RemoteAccount(limit, multiplier=multiplier)
