"""The runs of a contender, one per round, of which some may be stuck; ratios within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.report import Target
from harness.rounds import Series
from harness.tcp.pairing import Run, StuckError

__all__ = ["Outcomes", "Results", "interleave", "target"]

Field = Literal["rate", "server_us", "client_us"]


@dataclass
class Outcomes:
    """The results of the rounds of one contender."""

    runs: list[Run | StuckError] = field(default_factory=list)

    def series(self, what: Field) -> Series | None:
        """Return one number per run that was not stuck; None if there is none."""
        values = [getattr(run, what) for run in self.runs if isinstance(run, Run)]
        return Series(values) if values else None

    def ratio(self, other: Outcomes, what: Field) -> Series | None:
        """Return self / other within each round in which neither was stuck."""
        values = [
            getattr(mine, what) / getattr(theirs, what)
            for mine, theirs in zip(self.runs, other.runs, strict=False)
            if isinstance(mine, Run) and isinstance(theirs, Run)
        ]
        return Series(values) if values else None

    @property
    def stuck(self) -> list[StuckError]:
        """Return the reasons of the runs that were stuck."""
        return [run for run in self.runs if isinstance(run, StuckError)]


Results = dict[str, Outcomes]


def interleave(runs: Mapping[str, Callable[[], Run | StuckError]], rounds: int) -> Results:
    """Run each contender once per round, in order."""
    results = {name: Outcomes() for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            results[name].runs.append(run())
    return results


def target(
    what: str, bound: float, ratio: Series | None, unit: str = "x", at_least: bool = True
) -> Target:
    """Return the target for a ratio; it counts as not measured if there is none."""
    median = None if ratio is None else ratio.median
    return Target(what, bound, median, unit, at_least, spread=ratio)
