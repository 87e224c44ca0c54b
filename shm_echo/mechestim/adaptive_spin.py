"""Spinning: polling for a message again and again for a moment before sleeping until it comes.

A process that sleeps takes tens of microseconds to run again, as its CPU has to wake up, too. Where
messages follow each other more quickly than that, spinning pays. A score of the recent waits
decides whether it is tried, and the number of threads that spin is limited: one CPU stays free for
the process that they wait for. Both ends of a session use this module.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["SPIN_S", "Spinner"]

SPIN_S = 60e-6  # about the time that going to sleep and waking up take together
# The score is an average of recent waits: 0 where none paid, _BEST_SCORE where all did. Each wait
# has a weight of 1/8, so twelve waits in vain bring a spinner from the best score below the least.
_BEST_SCORE = 64
_LEAST_SCORE = 16  # from this score on, each wait spins
_RETRY_EVERY = 16  # below it, one wait out of so many, to notice that spinning pays again

_clock = time.monotonic


class Spinner:
    """Spins on one descriptor.

    Args:
        is_ready: Returns at once, with a true value if there is something to read.
        is_contended: Returns True if another thread of this process has work, which spinning slows
            down because both need the interpreter.
    """

    __slots__ = ("_is_contended", "_is_ready", "_score", "_skipped")

    def __init__(
        self, is_ready: Callable[[], object], is_contended: Callable[[], bool] = bool
    ) -> None:
        self._is_ready = is_ready
        self._is_contended = is_contended
        self._score = _BEST_SCORE
        self._skipped = 0

    def wait(self) -> bool:
        """Spin for a moment; return True if there is something to read, False to sleep instead."""
        if self._score < _LEAST_SCORE:
            self._skipped += 1
            if self._skipped < _RETRY_EVERY:
                return False
            self._skipped = 0
        try:
            permit = _permits.pop()
        except IndexError:  # other threads of this process spin on every CPU but one
            return False
        try:
            is_ready = self._is_ready
            if not is_ready():
                end = _clock() + SPIN_S
                is_contended = self._is_contended
                while not is_ready():
                    if is_contended():  # does not count: the descriptor is not to blame
                        return False
                    if _clock() > end:
                        self._score -= self._score >> 3
                        return False
            self._score += (_BEST_SCORE - self._score) >> 3
            return True
        finally:
            _permits.append(permit)

    def reset(self) -> None:
        """Forget the waits in vain: the traffic has changed."""
        self._score = _BEST_SCORE


# One for each thread that may spin at the same time. pop() and append() are single steps, so no
# lock is needed.
_permits: list[None] = []


def _reset_permits() -> None:
    cpus = len(os.sched_getaffinity(0))
    _permits[:] = [None] * (cpus - 1)


_reset_permits()
# The threads of the parent that hold permits are not in a forked child.
os.register_at_fork(after_in_child=_reset_permits)
