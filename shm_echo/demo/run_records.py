"""The records of a run: options, progress and outcome.

They pass between the command line, the learner and the views. `Outcome` defines the success of a
run.
"""

from __future__ import annotations

from dataclasses import dataclass

from shm_echo.demo.delivery_audit import DeliveryReport
from shm_echo.demo.fleet import Death
from shm_echo.demo.history import History

__all__ = ["REQUIRED_IMPROVEMENT", "SOLVED", "Options", "Outcome", "Progress"]

REQUIRED_IMPROVEMENT = 3.0  # factor of the mean return: far above its noise
SOLVED = 475.0  # Gymnasium's reward threshold of CartPole-v1


@dataclass(frozen=True)
class Options:
    """The options of a run, from the command line.

    Training ends after `seconds`, or when the last 50 episodes reach `target`. With `kill_actors`,
    one actor per `kill_interval` seconds is killed on average, and training does not end early
    before `kills` actors have been killed.
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
        history: the events so far.
        producers: the number of attached actors.
        ring_fill: the fraction of the ring that holds samples not yet handed out.
        version: the newest published policy.
        lag: the mean age, in versions, of the policies that acted in the latest batch.
        deaths: the number of killed actors.
        last_log: the last message that the library logged, or "".
    """

    history: History
    producers: int
    ring_fill: float
    version: int
    lag: float
    deaths: int
    last_log: str


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    history: History
    delivery: DeliveryReport
    versions: int
    deaths: list[Death]

    @property
    def improved(self) -> bool:
        """Return True if the mean return has grown by `REQUIRED_IMPROVEMENT`."""
        improvement = self.history.improvement
        return improvement is not None and improvement >= REQUIRED_IMPROVEMENT

    @property
    def succeeded(self) -> bool:
        """Return True if the policy improved and every sample arrived: the exit status is 0."""
        return self.improved and self.delivery.intact
