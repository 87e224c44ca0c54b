"""Kills actors at random while the demo runs.

A thread SIGKILLs a random actor at random moments, which are independent of the learner's loop.
`fleet` restarts the actors, `delivery_audit` checks the samples.
"""

from __future__ import annotations

import random
import threading
from types import TracebackType

from shm_echo.demo.fleet import Fleet

__all__ = ["Killer"]


class Killer:
    """Kills actors from entering the context until `stop` or its end."""

    def __init__(self, fleet: Fleet, *, mean_interval: float, seed: int) -> None:
        self._fleet = fleet
        self._rate = 1 / mean_interval
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-killer", daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread. No kill happens after the return."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # Exponential intervals make every instant equally likely.
        while not self._stop.wait(self._rng.expovariate(self._rate)):
            self._fleet.kill_one(self._rng)
