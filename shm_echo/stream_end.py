"""The end of a stream: when a learner in `until="producers_closed"` stops waiting for a full batch.

It stops when every producer has left. It also takes an incomplete batch when every producer waits
until that batch is taken, or both sides would wait for each other.
"""

from __future__ import annotations

from typing import Any

from shm_echo.ring.core import lib
from shm_echo.ring.producers import Producers

__all__ = ["StreamEnd"]


class StreamEnd:
    """The end of one stream.

    Args:
        producers: the registry of the ring.
        consumer: the ring's `she_consumer`.
        at_least: the number of producers that must have come before the stream can end.
    """

    def __init__(self, producers: Producers, consumer: Any, at_least: int) -> None:
        self._producers = producers
        self._consumer = consumer
        self._at_least = at_least

    def reached(self) -> bool:
        """Return True if enough producers have come and all have left."""
        if not self._seems_reached():
            return False
        # A connection that began just now may not be registered yet. Its end is at most late.
        self._producers.catch_up()
        return self._seems_reached()

    def _seems_reached(self) -> bool:
        producers = self._producers
        return producers.come >= self._at_least and producers.active == 0

    def rest_is_due(self) -> bool:
        """Return True if an incomplete batch is to be taken as it is.

        Unless the end is reached, it has at least one sample then.
        """
        return self.reached() or all_wait_for_rest(self._producers, self._consumer)

    @property
    def text(self) -> str:
        """The part of a message that counts the producers: ", 1 of 2 producers have come"."""
        come = min(self._producers.come, self._at_least)
        return f", {come} of {self._at_least} producers have come"


def all_wait_for_rest(producers: Producers, consumer: Any) -> bool:
    """Return True if every producer waits until samples of the next batch are taken."""
    return producers.all_wait() and lib.she_committed(consumer) > 0
