"""What a run is asked for, what it shows meanwhile, and how it ends.

What it is: the records that pass between the command line, the learner and the views. What
counts as success is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from shm_echo.demo.delivery_audit import Continuity
from shm_echo.demo.fleet import Death
from shm_echo.demo.history import History

__all__ = ["REQUIRED_IMPROVEMENT", "SOLVED", "Options", "Outcome", "Progress"]

REQUIRED_IMPROVEMENT = 3.0
SOLVED = 475.0  # Gymnasium's reward threshold of CartPole-v1


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Training ends when the last 50 episodes reach `target` (and, with `kill_actors`, at least
    `kills` actors have been killed, one per `kill_interval` in the mean), or after `seconds`.
    """

    actors: int = 2
    seconds: float = 45.0
    kill_actors: bool = False
    seed: int = 0
    target: float = SOLVED
    kills: int = 10
    kill_interval: float = 0.8


@dataclass(frozen=True)
class Progress:
    """The state of a run, for showing it.

    Attributes:
        history: what has happened so far.
        producers: actors that are attached to the ring now.
        ring_fill: the part of the ring that holds samples not yet handed out.
        version: the newest published policy.
        lag: how many versions older the policies were that acted in the latest batch, in the mean.
        deaths: actors that were killed.
        news: what the library logged last, or "".
    """

    history: History
    producers: int
    ring_fill: float
    version: int
    lag: float
    deaths: int
    news: str


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    history: History
    continuity: Continuity
    versions: int
    deaths: list[Death]

    @property
    def improved(self) -> bool:
        """Whether the last 50 episodes were good enough in comparison with the first 50."""
        improvement = self.history.improvement
        return improvement is not None and improvement >= REQUIRED_IMPROVEMENT

    @property
    def succeeded(self) -> bool:
        """What the exit status says."""
        return self.improved and self.continuity.intact
