"""The events of a run over time, which the learner records for the view, the table and the plot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import fmean

__all__ = ["WINDOW", "History", "Throughput"]

WINDOW = 50  # episodes of one mean
_BUCKET_SECONDS = 0.25  # of throughput: short enough to show a kill


@dataclass(frozen=True)
class Throughput:
    """The mean rates per second of one short span of time, which ended at `at` seconds."""

    at: float
    samples: float
    transitions: float


@dataclass
class History:
    """The events in their order; times are seconds since the record was created."""

    returns: list[float] = field(default_factory=list)
    return_times: list[float] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)
    death_times: list[float] = field(default_factory=list)
    samples: int = 0
    transitions: int = 0
    _started: float = field(default_factory=time.monotonic)
    _bucket: tuple[float, int, int] = (0.0, 0, 0)

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def add_batch(self, returns: list[float], samples: int, transitions: int) -> None:
        """Record a batch, with the returns of the episodes that ended in it."""
        self.returns += returns
        self.return_times += [self.elapsed] * len(returns)
        self.samples += samples
        self.transitions += transitions

    def note_deaths(self, total: int) -> None:
        """Record that `total` actors have died so far."""
        self.death_times += [self.elapsed] * (total - len(self.death_times))

    def tick(self) -> None:
        """Close the current throughput bucket if it is old enough."""
        now = self.elapsed
        then, samples, transitions = self._bucket
        if (seconds := now - then) >= _BUCKET_SECONDS:
            self.throughput.append(
                Throughput(
                    at=now,
                    samples=(self.samples - samples) / seconds,
                    transitions=(self.transitions - transitions) / seconds,
                )
            )
            self._bucket = (now, self.samples, self.transitions)

    def recent_throughput(self, buckets: int = 8) -> Throughput:
        """Return the mean of the last buckets, by default about two seconds."""
        last = self.throughput[-buckets:] or [Throughput(0.0, 0.0, 0.0)]
        return Throughput(
            at=last[-1].at,
            samples=fmean(one.samples for one in last),
            transitions=fmean(one.transitions for one in last),
        )

    @property
    def recent_mean(self) -> float | None:
        """Return the mean return of the latest 50 episodes or fewer, None before the first."""
        return fmean(self.returns[-WINDOW:]) if self.returns else None

    @property
    def first_mean(self) -> float | None:
        """Return the mean return of the first 50 episodes, None before their end."""
        return fmean(self.returns[:WINDOW]) if len(self.returns) >= WINDOW else None

    @property
    def last_mean(self) -> float | None:
        """Return the mean return of the last 50 episodes, None if the first 50 overlap them."""
        return fmean(self.returns[-WINDOW:]) if len(self.returns) >= 2 * WINDOW else None

    @property
    def improvement(self) -> float | None:
        """Return the last mean divided by the first one, None before both exist."""
        if self.first_mean is None or self.last_mean is None:
            return None
        return self.last_mean / self.first_mean
