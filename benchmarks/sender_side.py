"""The cost of a sample for the producer: send(), reserve() and commit, and numbers at 0-d leaves.

Each case runs in a process of its own, with the server in it, and the ring is emptied between the
bursts that are timed: nothing waits. With `--against CHECKOUT`, processes of this build and of
another one take turns, and ratios are taken within each round: the way to see whether a change
costs anything. The other checkout needs its extensions (`just dev` there, or `python -c "from
setuptools import setup; setup()" build_ext --inplace`).

    python benchmarks/sender_side.py --against ../shm-echo-before
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness.report import Target, machine, print_table, print_targets, span
from harness.rounds import Series, ratio

FILE = Path(__file__).resolve()
OURS = FILE.parents[1]
BURST = 512  # samples, which are one batch


class Step(NamedTuple):
    """A node that is not a plain container."""

    obs: Any
    action: Any
    reward: Any


def _leaves(count: int) -> dict[str, Any]:
    return {f"leaf_{i}": np.ones(4, np.float32) for i in range(count)}


def _step() -> Step:
    return Step(*_leaves(3).values())


REWARD = {"obs": np.ones(4, np.float32), "action": np.ones(2, np.float32), "reward": np.float32(0)}
TREES: dict[str, Any] = {
    "1 leaf": np.ones(4, np.float32),
    "3 leaves": _leaves(3),
    "40 leaves": _leaves(40),
    "nested": {"obs": _leaves(3), "more": [np.ones(2), (np.ones(2), np.int64(0))]},
    "namedtuple": _step(),
    "14 namedtuples": [_step() for _ in range(14)],
}
NUMBERS: dict[str, Any] = {
    "0-d array of the dtype": np.zeros((), np.float32),
    "Python float": 0.5,
    "np.float32": np.float32(0.5),
    "np.float64": np.float64(0.5),
    "0-d float64 array": np.array(0.5),
}


def _burst(call: Callable[[], object], server: Any, bursts: int) -> float:
    """Return the nanoseconds of a call: the lower quartile of the bursts."""
    clock = time.perf_counter_ns
    times = []
    for _ in range(bursts):
        start = clock()
        for _ in range(BURST):
            call()
        times.append((clock() - start) / BURST)
        server.sample()
    return float(np.percentile(times, 25))


def _send(client: Any, sample: Any) -> Callable[[], None]:
    return lambda: client.send(sample)


def _reserve(client: Any) -> Callable[[], None]:
    def call() -> None:
        with client.reserve():
            pass

    return call


def child(bursts: int) -> dict[str, float]:
    """Return the nanoseconds of each case, by its name."""
    from shm_echo import Server, ShmClient, ShmTransport, SpecMismatchError

    found = {}
    at = f"sender-side-{os.getpid()}"
    for name, tree in TREES.items():
        transport = ShmTransport(at)
        with Server(tree, BURST, transport, num_buffers=2) as server, ShmClient(at, tree) as client:
            found[f"send, {name}"] = _burst(_send(client, tree), server, bursts)
            found[f"reserve + commit, {name}"] = _burst(_reserve(client), server, bursts)
    transport = ShmTransport(at)
    with Server(REWARD, BURST, transport, num_buffers=2) as server, ShmClient(at, REWARD) as client:
        for name, number in NUMBERS.items():
            sample = {**REWARD, "reward": number}
            try:
                client.send(sample)
            except SpecMismatchError:  # an older build
                continue
            server.flush()
            found[f"send, {name}"] = _burst(_send(client, sample), server, bursts)
    return found


def run(checkout: Path, bursts: int) -> dict[str, float]:
    """Run `child` with the package of a checkout.

    Raises:
        subprocess.CalledProcessError: the process failed; its traceback is on stderr.
    """
    done = subprocess.run(
        [sys.executable, str(FILE), "--child", "--bursts", str(bursts)],
        env=os.environ | {"PYTHONPATH": f"{checkout}{os.pathsep}{FILE.parent}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def measure(checkouts: list[Path], args: argparse.Namespace) -> list[dict[str, Series]]:
    """Return the series of each case, for each checkout."""
    series: list[dict[str, Series]] = [{} for _ in checkouts]
    for _ in range(args.rounds):
        for found, checkout in zip(series, checkouts, strict=True):
            for case, nanoseconds in run(checkout, args.bursts).items():
                found.setdefault(case, Series()).values.append(nanoseconds)
    return series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bursts", type=int, default=40, help=f"of {BURST} samples, per case")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another build")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.bursts = 1, 2
    if args.child:
        print(json.dumps(child(args.bursts)))
        return
    print(machine())
    print(f"{args.rounds} rounds of {args.bursts} bursts of {BURST} samples; ns per sample")
    checkouts = [OURS] if args.against is None else [OURS, args.against.resolve()]
    ours, *others = measure(checkouts, args)
    head = ["", "this build", *(["other build", "this / other"] if others else [])]
    rows = []
    for case, series in ours.items():
        row = [case, span(series)]
        for other in others:
            known = other.get(case)
            row += ["-", "-"] if known is None else [span(known), span(ratio(series, known))]
        rows.append(row)
    print_table("A sample", head, rows)
    exact, scalar = ours["send, Python float"], ours["send, np.float32"]
    print_targets(
        [
            Target("send, 3 leaves", 250, ours["send, 3 leaves"].median, "ns", False),
            Target("reserve + commit, 3 leaves", 1500, _median(ours, "3 leaves"), "ns", False),
            Target("reserve + commit, 40 leaves", 7000, _median(ours, "40 leaves"), "ns", False),
            Target("np.float32 / Python float", 1.2, ratio(scalar, exact).median, "x", False),
        ]
    )


def _median(found: dict[str, Series], tree: str) -> float:
    return found[f"reserve + commit, {tree}"].median


if __name__ == "__main__":
    main()
