"""Spinning: looking for a message again and again for a moment before sleeping until it comes.

A process that sleeps takes tens of microseconds to run again: its CPU has to be woken, too. Where
messages follow each other more quickly than that, spinning pays. How often it has paid lately
decides whether it is tried; and never do so many threads of a process spin that no CPU is left for
those whom they wait for. Both ends of a session use this file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["SPIN_S", "Spinner"]

SPIN_S = 60e-6  # about what going to sleep and waking up take together
_ALWAYS = 64  # the score of one whose every look paid
_ENOUGH = 16  # with this score it is always tried, below it
_EVERY = 16  # only so often

_clock = time.monotonic


class Spinner:
    """Spins on one descriptor.

    Args:
        ready: tells at once whether there is something to read.
        disturbs: tells at once whether somebody works whom spinning would slow down: another
            thread of this process, which needs the interpreter.
    """

    __slots__ = ("_disturbs", "_ready", "_score", "_skipped")

    def __init__(self, ready: Callable[[], object], disturbs: Callable[[], bool] = bool) -> None:
        self._ready = ready
        self._disturbs = disturbs
        self._score = _ALWAYS
        self._skipped = 0

    def wait(self) -> bool:
        """Spin; whether there is something to read. If not, sleeping is better now."""
        if self._score < _ENOUGH:
            self._skipped += 1
            if self._skipped < _EVERY:
                return False
            self._skipped = 0
        try:
            place = _places.pop()
        except IndexError:
            return False
        try:
            ready = self._ready
            if not ready():
                end = _clock() + SPIN_S
                disturbs = self._disturbs
                while not ready():
                    if disturbs():
                        return False
                    if _clock() > end:
                        self._score -= self._score >> 3
                        return False
            self._score += (_ALWAYS - self._score) >> 3
            return True
        finally:
            _places.append(place)

    def start_anew(self) -> None:
        """Forget what has not paid: things have changed."""
        self._score = _ALWAYS


# One for each thread that may spin at the same time. Taking and giving are single steps.
_places: list[None] = []


def _make_places() -> None:
    cpus = len(os.sched_getaffinity(0))
    _places[:] = [None] * (cpus - 1)


_make_places()
os.register_at_fork(after_in_child=_make_places)  # who had one is not in the child
