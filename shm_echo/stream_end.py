"""The end of a stream: when a learner in `until="producers_closed"` stops waiting for a batch."""

from __future__ import annotations

from shm_echo.ring.producers import Producers

__all__ = ["StreamEnd"]


class StreamEnd:
    """The end of one stream.

    Args:
        producers: the registry of the ring.
        at_least: the number of producers that must have come before the stream can end.
    """

    def __init__(self, producers: Producers, at_least: int) -> None:
        self._producers = producers
        self._at_least = at_least

    def reached(self) -> bool:
        """Return True if enough producers have come and all have left."""
        producers = self._producers
        return producers.come >= self._at_least and producers.active == 0

    @property
    def text(self) -> str:
        """The part of a message that counts the producers: ", 1 of 2 producers have come"."""
        come = min(self._producers.come, self._at_least)
        return f", {come} of {self._at_least} producers have come"
