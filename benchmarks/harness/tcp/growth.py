"""The growth of cost with the number of connections: the sender in C with both servers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.loads import Load
from harness.plots import growth
from harness.report import print_table, short, si
from harness.tcp import pairing
from harness.tcp.ends import ECHO, OURS
from harness.tcp.outcomes import Outcomes, Results, interleave
from harness.tcp.pairing import Setting

__all__ = ["COUNTS", "compare", "plot", "show"]

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Found = dict[str, dict[int, Results]]  # by load, then by connections, then by server


def compare(loads: list[Load], counts: list[int], setting: Setting, rounds: int) -> Found:
    """Run both servers with each number of connections, in turns."""
    found: Found = {}
    servers = [server for server in (OURS, ECHO) if server.missing() is None]
    for load in loads:
        for count in counts:
            clients = pairing.sender_in_c(count, 1, setting)
            runs = {
                server.name: partial(pairing.measure, server, clients, load, setting)
                for server in servers
            }
            found.setdefault(load.name, {})[count] = interleave(runs, rounds)
    return found


def show(found: Found) -> None:
    """Print a table for each load."""
    for load, by_count in found.items():
        names = list(dict.fromkeys(name for results in by_count.values() for name in results))
        rows = []
        for count, results in by_count.items():
            cells = []
            for name in names:
                cells += _cells(results[name])
            rows.append([str(count), *cells])
        head = ["connections"]
        for name in names:
            head += [f"{name}, samples/s", "server us"]
        print_table(f"{load}, the sender in C, one sample a write", head, rows)


def _cells(outcomes: Outcomes) -> list[str]:
    rate, cost = outcomes.series("rate"), outcomes.series("server_us")
    return ["stuck", ""] if rate is None or cost is None else [si(rate.median), short(cost.median)]


def plot(path: Path, found: Found, note: str) -> None:
    """Write the chart."""
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    for load, by_count in found.items():
        for what, title in (("rate", "samples/s"), ("server_us", "server: us of CPU per sample")):
            panel = panels.setdefault(f"{load}, {title}", {})
            for count, results in by_count.items():
                for name, outcomes in results.items():
                    series = outcomes.series(what)  # type: ignore[arg-type]
                    if series is not None:
                        panel.setdefault(name, []).append(
                            (count, series.median, series.low, series.high)
                        )
    growth(path, panels, "connections", note)
