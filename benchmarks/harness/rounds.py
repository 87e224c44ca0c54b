"""Rounds: every contender once, then every contender again, and so on; then medians and ranges.

On a shared machine the speed of everything drifts. Contenders of one round run within seconds of
each other, so a ratio is taken within each round, and the median of these ratios is what is
reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Series", "interleave", "ratio"]


@dataclass
class Series:
    """One number per round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


def interleave(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Series]:
    """Call every function once per round, in order; return their results by name."""
    series = {name: Series() for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            series[name].values.append(run())
    return series


def ratio(numerator: Series, denominator: Series) -> Series:
    """Return the ratio within each round."""
    return Series([a / b for a, b in zip(numerator.values, denominator.values, strict=True)])
