"""Samples per second over TCP on loopback: id-echo and shm-echo, all clients with all servers.

Every pairing runs in processes of its own, with one congestion control for all sockets, and under a
watchdog: a run in which samples stop is reported and counts in no average. The learner of either
server takes batches and reads one element of each. See harness/tcp/ for how each part measures.

    python benchmarks/tcp_throughput.py --quick
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from harness.loads import LOADS, by_name
from harness.report import Target, machine, print_targets, versions
from harness.tcp import bare, growth, idle, learner, pairs, sender
from harness.tcp.pairing import Setting
from harness.tcp.sockets import available_congestion


def measure_pairs(args: argparse.Namespace, setting: Setting) -> list[Target]:
    """All clients with all servers."""
    found = {}
    chosen = []
    skipped = set()
    for pair in pairs.PAIRS:
        if args.only and not any(part in pair.name for part in args.only):
            continue
        reason = pair.missing()
        if reason is None:
            chosen.append(pair)
        else:
            skipped.add(reason)
    for reason in sorted(skipped):
        print(f"skipped {reason}")
    for load in map(by_name, args.loads):
        for connections in args.connections:
            results = pairs.compare(load, connections, chosen, setting, args.rounds)
            pairs.show(load, connections, results, chosen)
            found[load.name, connections] = results
    return pairs.targets(found)


def measure_bare(args: argparse.Namespace, setting: Setting) -> list[Target]:
    """4 MB beside a bare loop."""
    found = {}
    load = by_name("4MB")
    for connections in (1, 8):
        results = bare.compare(load, connections, setting, args.rounds)
        bare.show(load, connections, results)
        found[load.name, connections] = results
    return bare.targets(found)


def measure_learner(args: argparse.Namespace, setting: Setting) -> list[Target]:
    """The learner's own Python code."""
    load, connections = by_name("small"), max(args.connections)
    found = learner.compare(load, connections, setting, args.rounds)
    learner.show(load, connections, found)
    return learner.targets(found)


def measure_idle(args: argparse.Namespace, setting: Setting) -> list[Target]:
    """Idle connections."""
    small, large = by_name("small"), by_name("4MB")
    found = idle.compare(small, large, args.idle, setting)
    idle.show(small, large, found)
    return idle.targets(found)


def measure_growth(args: argparse.Namespace, setting: Setting) -> list[Target]:
    """Cost from one connection to many."""
    found = growth.compare([by_name("small"), by_name("atari")], args.growth, setting, args.rounds)
    growth.show(found)
    if args.plot:
        how = f"medians of {args.rounds} rounds of {args.seconds:g} s, bands from lowest to highest"
        packages = f"{versions('shm-echo', 'id-echo')}, {setting.congestion}"
        growth.plot(args.plot, found, f"{machine()}\n{packages}; {date.today()}; {how}")
        print(f"\nwrote {args.plot}")
    return []


PARTS: dict[str, Callable[[argparse.Namespace, Setting], list[Target]]] = {
    "pairs": measure_pairs,
    "bare": measure_bare,
    "learner": measure_learner,
    "idle": measure_idle,
    "growth": measure_growth,
}
NEED_SENDER = ("bare", "learner", "growth")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 2, 8, 64])
    parser.add_argument("--only", nargs="+", default=[], help="pairs, by a part of the name")
    parser.add_argument("--processes", type=int, default=8, help="of clients in Python, at most")
    parser.add_argument("--idle", type=int, default=idle.IDLE, help="connections that send nothing")
    parser.add_argument("--growth", nargs="+", type=int, default=list(growth.COUNTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="measured, in each round")
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--plot", type=Path, help="write a chart of the growth to this PNG")
    parser.add_argument("--quick", action="store_true", help="3 rounds, 1 and 8 connections")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.connections, args.growth = 3, 0.3, [1, 8], [1, 8, 64]
    if args.smoke:
        args.rounds, args.seconds, args.warmup, args.idle = 1, 0.02, 0.0, 20
        args.loads, args.connections, args.growth = ["small"], [1, 2], [1, 4]
    return args


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a run takes long
    args = options()
    setting = Setting(available_congestion(), args.seconds, args.warmup, args.processes)
    print(machine())
    print(f"{versions('shm-echo', 'id-echo', 'numpy')}; congestion control {setting.congestion}")
    print(f"{args.rounds} rounds of {args.seconds:g} s: medians, ratios within a round (min..max)")
    targets: list[Target] = []
    for part in args.parts:
        reason = sender.missing() if part in NEED_SENDER else None
        if reason is None:
            targets += PARTS[part](args, setting)
        else:
            print(f"skipped {part}: {reason}")
    print_targets(targets)


if __name__ == "__main__":
    main()
