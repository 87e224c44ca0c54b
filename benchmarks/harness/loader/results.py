"""The figures of all rounds, their tables, and the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.loader.cases import Case
from harness.loader.contenders import CONTENDERS, OURS, STACKED
from harness.report import Target, print_table, si, span
from harness.rounds import Series, ratio

__all__ = ["Figures", "Result", "Results", "interleave", "show", "targets"]


@dataclass(frozen=True)
class Result:
    """One round of one contender, as its trainer measured it.

    Attributes:
        items, bytes, seconds: what came in how much time.
        loop_cpu: CPU seconds of the thread that runs the training loop.
        other_cpu: CPU seconds of all other threads and processes of the loader.
        first: seconds to the first batch.
    """

    items: int
    bytes: int
    seconds: float
    loop_cpu: float
    other_cpu: float
    first: float


@dataclass
class Figures:
    """The rounds of one contender with one case.

    Attributes:
        rate: items per second.
        bandwidth: bytes per second.
        loop, others: CPU microseconds per item.
        first: seconds to the first batch.
    """

    rate: Series = field(default_factory=Series)
    bandwidth: Series = field(default_factory=Series)
    loop: Series = field(default_factory=Series)
    others: Series = field(default_factory=Series)
    first: Series = field(default_factory=Series)

    def add(self, result: Result) -> None:
        """Take in one round."""
        self.rate.values.append(result.items / result.seconds)
        self.bandwidth.values.append(result.bytes / result.seconds)
        self.loop.values.append(1e6 * result.loop_cpu / result.items)
        self.others.values.append(1e6 * result.other_cpu / result.items)
        self.first.values.append(result.first)


Results = dict[str, Figures]


def interleave(runs: Mapping[str, Callable[[], Result]], rounds: int) -> Results:
    """Call every function once per round, in order; return their figures by name."""
    found = {name: Figures() for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].add(run())
    return found


def show(case: Case, workers: int, results: Results, stacked: str) -> None:
    """Print one table."""
    ours = [name for name in (OURS.name, stacked) if name in results]
    rows = []
    for name, found in results.items():
        ratios = [
            "" if name in ours else span(ratio(results[own].rate, found.rate)) for own in ours
        ]
        rows.append(
            [
                name,
                si(found.rate.median),
                f"{si(found.rate.low)}..{si(found.rate.high)}",
                f"{found.bandwidth.median / 1e9:.2f}",
                f"{found.loop.median:.3g}",
                f"{found.others.median:.3g}",
                f"{1e3 * found.first.median:.0f}",
                *ratios,
            ]
        )
    heads = {OURS.name: "shm-echo / it", stacked: "out= / it"}
    print_table(
        f"{case.name}: {case.title}, batches of {case.batch_size}, "
        f"{workers} worker{'s' if workers > 1 else ''}",
        [
            *("", "items/s", "min..max", "GB/s", "CPU us/item: loop", "workers", "first ms"),
            *(heads[own] for own in ours),
        ],
        rows,
    )


# ---------------------------------------------------------------- targets

PROCESSES = tuple(one.name for one in CONTENDERS if one.processes and one not in (OURS, STACKED))
TORCH = tuple(one.name for one in CONTENDERS if one.package == "torch")
SPDL = tuple(one.name for one in CONTENDERS if one.package == "spdl")


def _best(results: Results, names: tuple[str, ...]) -> Series | None:
    """Return the rate of the fastest of some contenders in each round."""
    rates = [results[name].rate.values for name in names if name in results]
    return Series([max(values) for values in zip(*rates, strict=True)]) if rates else None


def targets(results: dict[tuple[str, int], Results]) -> list[Target]:
    """Return the targets; a rate is compared with the fastest of the named peers in each round."""

    def rate(
        bound: float,
        case: str,
        workers: int,
        peers: tuple[str, ...],
        peer: str,
        own: str = OURS.name,
    ) -> Target:
        found = results.get((case, workers), {})
        best = _best(found, peers)
        spread = ratio(found[own].rate, best) if own in found and best is not None else None
        way = " with out=" if own == STACKED.name else ""
        what = f"{case}{way} / {peer}, {workers} worker{'s' if workers > 1 else ''}"
        return Target(
            what, bound, None if spread is None else spread.median, "x", True, spread=spread
        )

    def cost(bound: float, case: str, side: str, own: str = OURS.name) -> Target:
        found = results.get((case, 1), {}).get(own)
        spread = None
        if found is not None:
            spread = found.loop if side == "loop" else found.others
        way = " with out=" if own == STACKED.name else ""
        what = f"{case}{way}, CPU per item of the {side}, 1 worker"
        return Target(
            what, bound, None if spread is None else spread.median, "us", False, spread=spread
        )

    return [
        rate(8, "cifar", 1, TORCH, "torch"),
        rate(10, "cifar", 2, TORCH, "torch"),
        rate(20, "cifar", 1, TORCH, "torch", STACKED.name),
        rate(20, "cifar", 2, TORCH, "torch", STACKED.name),
        rate(2.5, "cifar", 1, SPDL, "SPDL"),
        rate(5, "cifar", 2, SPDL, "SPDL"),
        rate(5, "uint8-224", 1, TORCH, "torch"),
        rate(6.5, "uint8-224", 2, TORCH, "torch"),
        rate(1.3, "uint8-224", 1, SPDL, "SPDL"),
        rate(2, "uint8-224", 2, SPDL, "SPDL"),
        rate(5, "float32-224", 1, TORCH, "torch"),
        rate(1.1, "float32-224", 1, SPDL, "SPDL"),
        rate(0.95, "jpeg", 1, PROCESSES, "best peer with processes"),
        rate(0.95, "jpeg", 2, PROCESSES, "best peer with processes"),
        rate(1.5, "python", 2, SPDL, "SPDL"),
        rate(8, "tokens", 2, TORCH, "torch"),
        rate(3, "tokens", 2, SPDL, "SPDL"),
        cost(0.2, "cifar", "loop"),
        cost(2, "uint8-224", "loop"),
        cost(2, "float32-224", "loop"),
        cost(0.86, "cifar", "worker"),
        cost(0.40, "cifar", "worker", STACKED.name),
    ]
