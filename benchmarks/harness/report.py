"""Plain-text tables, and the one that every benchmark ends with: target, measured, met."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.rounds import Series

__all__ = ["Target", "machine", "print_table", "print_targets", "short", "si", "span", "versions"]


@dataclass(frozen=True)
class Target:
    """The target of a measurement.

    Attributes:
        what: the measured quantity, in words.
        bound: the number to reach.
        measured: the result; None if it was not measured in this run.
        unit: the unit of both numbers.
        at_least: True if more is better.
        undisturbed: the result from the best round of each side, for a shared machine; it is shown
            and does not count.
        spread: the results of the rounds, of which `measured` is the median.
    """

    what: str
    bound: float
    measured: float | None
    unit: str
    at_least: bool
    undisturbed: float | None = None
    spread: Series | None = None

    @property
    def met(self) -> bool | None:
        """Return True if the target was reached; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def si(number: float) -> str:
    """Three digits and k or M."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{letter}" if number < 1e9 else f"{number / 1e6:,.0f}M"
    return f"{number:.3g}"


def short(number: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def span(series: Series) -> str:
    """Return `median (min..max)`."""
    return f"{short(series.median)} ({short(series.low)}..{short(series.high)})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be; the first left-aligned, the others right-aligned."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}")
    for line in (head, ["-" * width for width in widths], *rows):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def print_targets(targets: Sequence[Target]) -> None:
    """Print whether each target is met."""
    rows = []
    for target in targets:
        sign = ">=" if target.at_least else "<="
        numbers = [
            "-" if number is None else f"{short(number)} {target.unit}"
            for number in (target.measured, target.undisturbed)
        ]
        spread = target.spread
        numbers.append("-" if spread is None else f"{short(spread.low)}..{short(spread.high)}")
        verdict = {True: "yes", False: "NO", None: "not measured"}[target.met]
        rows.append([target.what, f"{sign} {target.bound:g} {target.unit}", *numbers, verdict])
    head = ["", "target", "measured", "best rounds", "min..max", "met"]
    for name, absent in (
        ("best rounds", all(target.undisturbed is None for target in targets)),
        ("min..max", all(target.spread is None for target in targets)),
    ):
        if absent:
            at = head.index(name)
            head, rows = head[:at] + head[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]
    print_table("Targets", head, rows)


def machine() -> str:
    """Describe the machine and its load: other programs lower all numbers, ratios less so."""
    model = platform.processor() or platform.machine()
    kernel = ".".join(platform.release().split(".")[:2])
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.1f}; "
        f"Linux {kernel}, Python {platform.python_version()}"
    )


def versions(*packages: str) -> str:
    """Return the names and versions of those packages that are installed."""
    found = []
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return ", ".join(found)
