"""Counts the producers that have come, for `min_producers`.

A worker that attaches anew must not count as another one, or the stream would end before the last
worker came. So a process counts as often as it was attached at the same time, at most: two threads
with a client each are two producers. A worker that is restarted as a new process gives a name of
its own, its producer id, and each name counts once.
"""

from __future__ import annotations

from shm_echo.ring.segment import start_time

__all__ = ["Arrivals"]

Who = tuple[str, ...]


class Arrivals:
    """The producers that have come. The caller's lock guards it.

    Attributes:
        come: their number.
    """

    def __init__(self) -> None:
        self.come = 0
        self._attached: dict[Who, int] = {}
        self._most: dict[Who, int] = {}  # attached at the same time

    def arrive(self, owner: int, pid: int | None, producer_id: str | None) -> Who:
        """Count a producer that attaches, and return the key under which it is counted."""
        if producer_id is not None:
            who: Who = ("id", producer_id)
        elif pid is not None:
            # The start time tells a process from an earlier one that had its number.
            who = ("process", str(pid), start_time(pid))
        else:
            who = ("arrival", str(owner), str(self.come))  # nothing tells two of them apart
        now = self._attached.get(who, 0) + 1
        self._attached[who] = now
        most = self._most.get(who, 0)
        if now > most and (most == 0 or producer_id is None):
            self._most[who] = now
            self.come += 1
        return who

    def withdraw(self, who: Who) -> None:
        """Forget an arrival that nothing else tells apart: it was no producer."""
        if who[0] == "arrival" and self._most.pop(who, 0):
            self.come -= 1

    def leave(self, who: Who) -> None:
        """Note that a producer is no longer attached."""
        left = self._attached.pop(who, 0) - 1
        if left > 0:
            self._attached[who] = left
