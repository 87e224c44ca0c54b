"""A budget whose count is kept by the server; this process only names it.

It has the face of :class:`shm_echo.mechestim.accounting.account.Account`, so that contexts,
namespaces, threads and summaries work the same in both modes.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from shm_echo.mechestim.accounting.account import Account, Mark, OpRecord
from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.remote.connection import session_options

if TYPE_CHECKING:
    from shm_echo.mechestim.remote.connection.channel import Channel

_opening = threading.RLock()  # threads that share a context open it once


def _in_child() -> None:
    global _opening
    _opening = threading.RLock()


os.register_at_fork(after_in_child=_in_child)


class RemoteAccount(Account):
    """One budget of a session; opened over there when it is first needed."""

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
        except AttributeError:  # never completed, or the interpreter is going down
            return

    def number_in(self, channel: Channel) -> int:
        """The account's number in a session; opens it there first if need be."""
        with _opening:
            if channel is not self.channel:
                self.number = channel.request(
                    "budget.open", (self.limit, self.multiplier, self.time_limit)
                )
                self._tell_time(channel)
                self.channel = channel
            return self.number

    def set_closed(self, closed: bool) -> None:
        """The context is entered or left: its time runs over there, or stands still."""
        super().set_closed(closed)
        channel = self._link()
        if channel is not None and self.time_limit is not None:
            if closed:
                channel.request("budget.leave", (self.number,))
            else:
                self._tell_time(channel)

    def _tell_time(self, channel: Channel) -> None:
        if self.deadline is not None and self.time_limit is not None:
            left = self.deadline - time.monotonic()
            channel.request("budget.enter", (self.number, self.time_limit - left))

    def _link(self) -> Channel | None:
        channel = self.channel
        return channel if channel is not None and channel.why_closed is None else None

    def _read(self) -> tuple[int, dict[str | None, dict[str, tuple[int, int]]]]:
        """The books, as the server has them; the last ones once it is gone."""
        channel = self._link()
        if channel is not None:
            found = channel.request("budget.read", (self.number,))
            books: dict[str | None, dict[str, tuple[int, int]]] = {
                namespace: {name: (tally[0], tally[1]) for name, tally in operations.items()}
                for namespace, operations in found["books"]
            }
            entered = [namespace for namespace in list(self.frames) if namespace in books]
            books = {namespace: books[namespace] for namespace in [*entered, *books]}
            self._last = (found["used"], books)
        return self._last

    @property
    def used(self) -> int:
        """FLOPs that have been charged."""
        return self._read()[0]

    def books(self) -> dict[str | None, dict[str, tuple[int, int]]]:
        """``{namespace: {operation: (FLOPs, calls)}}``."""
        return self._read()[1]

    @property
    def history(self) -> list[Mark]:
        """Totals over time."""
        channel = self._link()
        if channel is None:
            return []
        return [
            Mark(elapsed, {(namespace, name): flops for namespace, name, flops in totals})
            for elapsed, totals in channel.request("budget.history", (self.number,))
        ]

    def records(self) -> list[OpRecord]:
        """The optional log."""
        channel = self._link()
        if channel is None or not settings.op_log:
            return []
        return [
            OpRecord(name, subscripts, tuple(map(tuple, shapes)), cost, cumulative, namespace)
            for name, subscripts, shapes, cost, cumulative, namespace in channel.request(
                "budget.log", (self.number,), wanted=session_options.wanted()
            )
        ]

    def deduct(
        self, namespace: str | None, name: str, cost: int, operands: tuple[Any, ...]
    ) -> None:
        """Charge work that no operation of the library did."""
        from shm_echo.mechestim.remote import client_session

        link = client_session.channel()
        texts = [one for one in operands if isinstance(one, str)]
        shapes = [one.shape for one in operands if not isinstance(one, str)]
        args = (name, cost, texts[0] if texts else None, shapes)
        number = self.number_in(link)
        link.request("budget.deduct", args, None, number, namespace, session_options.wanted())

    def reset(self) -> None:
        """Start the default budget anew: the server forgets this one, the next use opens one."""
        channel = self._link()
        if channel is not None:
            channel.forget(self.number)
        self.channel, self.number, self._last = None, 0, (0, {})


def new(limit: int, multiplier: float = 1.0) -> RemoteAccount:
    """A budget of ``limit`` FLOPs."""
    return RemoteAccount(limit, multiplier=multiplier)
