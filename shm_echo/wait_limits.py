"""How long a call for a batch may wait, and who sleeps meanwhile.

A `sample()` sleeps in the consumer, slice by slice, and looks at events in between. A coroutine
must not sleep there: it makes one round of looking at a time, and awaits the next one.
"""

from __future__ import annotations

import time

__all__ = ["NotReadyError", "PolledWait", "WaitLimit"]


# Seconds until the next round, after one that found the consumer in use.
_ROUND = 0.1


class NotReadyError(Exception):
    """One round of a `PolledWait` has found neither a batch nor a reason to end."""


class WaitLimit:
    """The limit of one call that sleeps in the consumer.

    Args:
        timeout: seconds to wait; None waits without limit.

    Attributes:
        timeout: the same.
        began: the monotonic time at which the wait began.
    """

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.began = time.monotonic()
        self._deadline = None if timeout is None else self.began + timeout

    def slice(self, most: float) -> float:
        """Return the seconds to sleep in the consumer now: `most`, or what is left."""
        if self._deadline is None:
            return most
        return min(most, max(0.0, self._deadline - time.monotonic()))

    def passed(self, now: float) -> bool:
        """Return True if the limit has passed at the monotonic time `now`."""
        return self._deadline is not None and now >= self._deadline

    def end_of_round(self, woken: bool) -> None:
        """Go on with the next round."""


class PolledWait(WaitLimit):
    """The limit of one call that makes a round at a time; between rounds the caller sleeps.

    Attributes:
        pause: seconds that the caller may sleep before the next round.
    """

    def __init__(self, timeout: float | None) -> None:
        super().__init__(timeout)
        self.pause = 0.0

    def end_early(self) -> None:
        """End a round that found the consumer in use.

        Raises:
            NotReadyError: always.
        """
        self.slice(_ROUND)
        raise NotReadyError

    def slice(self, most: float) -> float:
        """Return 0, and keep the time for the caller's sleep."""
        self.pause = super().slice(most)
        return 0.0

    def end_of_round(self, woken: bool) -> None:
        """Return to the caller, unless the consumer was woken: then something has just happened.

        Raises:
            NotReadyError: always, unless `woken`.
        """
        if not woken:
            raise NotReadyError
