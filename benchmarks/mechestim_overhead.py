"""The cost of counting: time added per call over plain NumPy, by mechestim and by flopscope.

One process; the contenders take turns in every round, and a difference is taken within the round.
Small operands show the cost of the call itself, large ones its share of a real computation.
The time of the imports is measured in processes of their own.

    python benchmarks/mechestim_overhead.py
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
from harness.children import run_python
from harness.report import Target, machine, print_table, print_targets, short
from harness.rounds import Series, interleave

import mechestim as me

OURS, PEER, PLAIN = "mechestim", "flopscope", "numpy"
Call = Callable[[], Any]


def small(m: Any) -> dict[str, Call]:
    """Return calls of library `m` with very little work of their own."""
    v = m.array([1.0, 2.0, 3.0, 4.0])
    A, B, w = m.array(np.eye(16)), m.array(np.eye(16)), m.array(np.ones(16))
    return {
        "add, 4 elements": lambda: v + v,
        "add as a function": lambda: m.add(v, v),
        "multiply by a scalar": lambda: v * 2.0,
        "sum, 4 elements": lambda: m.sum(v),
        "matmul 16x16": lambda: A @ B,
        "einsum ij,j->i 16x16": lambda: m.einsum("ij,j->i", A, w),
        "indexing, one element": lambda: v[1],
        "indexing, a slice": lambda: v[1:3],
        "zeros(4)": lambda: m.zeros(4),
    }


BOUNDS = {"einsum ij,j->i 16x16": 6.0}  # microseconds added; 3 for the others


def per_call(call: Call, seconds: float) -> float:
    """Microseconds of one call: the best of five runs, which together take about `seconds`."""
    number, clock = 1, time.perf_counter
    while True:
        start = clock()
        for _ in range(number):
            call()
        took = clock() - start
        if took > seconds / 10:
            break
        number *= 4
    best = took
    for _ in range(4):
        start = clock()
        for _ in range(number):
            call()
        best = min(best, clock() - start)
    return best / number * 1e6


def large(m: Any, memory: dict[str, Any]) -> dict[str, Call]:
    """Calls whose own work should hide the counting, all contenders over the same memory."""
    square, other, long, out = (m.asarray(memory[name]) for name in memory)
    return {
        "matmul 1000x1000": lambda: square @ other,
        "add, 10^7 elements": lambda: m.add(long, long, out=out),
    }


def import_time(statement: str) -> float:
    """Milliseconds that a fresh process takes for `statement`, by its own clock."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(run_python(f"python -c {statement!r}", "-c", code)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="per call and round")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.seconds = 1, 0.001
    libraries: dict[str, Any] = {PLAIN: np, OURS: me}
    print(machine())
    with ExitStack() as stack:
        stack.enter_context(me.BudgetContext(2**63 - 1, quiet=True))
        if importlib.util.find_spec("flopscope"):
            import flopscope
            import flopscope.numpy

            libraries[PEER] = flopscope.numpy
            stack.enter_context(flopscope.BudgetContext(flop_budget=10**18, quiet=True))
        else:
            print("skipped flopscope: not installed (pip install 'shm-echo[bench]')")
        targets = small_calls(libraries, args.rounds, args.seconds)
        targets += large_calls({PLAIN: np, OURS: me}, args.rounds, args.smoke)
    first_op = "import mechestim as me; me.zeros(1)"
    times = interleave(
        {
            PLAIN: lambda: import_time("import numpy"),
            OURS: lambda: import_time(first_op),
        },
        1 if args.smoke else 15,
    )
    numpy_ms, ours_ms = times[PLAIN].median, times[OURS].median
    print(f"\nimport numpy: {numpy_ms:.1f} ms; import mechestim and a first op: {ours_ms:.1f} ms")
    targets.append(Target("import mechestim, over numpy", 60, ours_ms - numpy_ms, "ms", False))
    print_targets(targets)


def small_calls(libraries: dict[str, Any], rounds: int, seconds: float) -> list[Target]:
    """Measure and print the table of small operands."""
    results: dict[str, dict[str, Series]] = {}
    calls = {library: small(m) for library, m in libraries.items()}
    for name in calls[PLAIN]:
        series = results[name] = {library: Series() for library in calls}
        for _ in range(rounds):
            for library in calls:
                series[library].values.append(per_call(calls[library][name], seconds))
    rows, targets = [], []
    for name, series in results.items():
        added = [a - b for a, b in zip(series[OURS].values, series[PLAIN].values, strict=True)]
        row = [name, short(series[PLAIN].median), short(median(added))]
        row.append(f"{short(min(added))}..{short(max(added))}")
        if PEER in series:
            peer = [a - b for a, b in zip(series[PEER].values, series[PLAIN].values, strict=True)]
            less = median(p / max(a, 1e-3) for p, a in zip(peer, added, strict=True))
            row += [short(median(peer)), f"{short(less)}x"]
            if name == "add, 4 elements":
                targets.append(Target("add: less than flopscope adds", 50, less, "x", True))
        rows.append(row)
        targets.append(Target(f"{name}: added", BOUNDS.get(name, 3.0), median(added), "us", False))
    head = ["microseconds per call", "numpy", "mechestim adds", "min..max"]
    print_table("Small operands", head + ["flopscope adds", "ratio"] * (PEER in libraries), rows)
    return targets


def large_calls(libraries: dict[str, Any], rounds: int, smoke: bool) -> list[Target]:
    """Measure and print the table of large operands."""
    rng = np.random.default_rng(0)
    memory = {
        "square": rng.random((1000, 1000)),
        "other": rng.random((1000, 1000)),
        "long": rng.random(10**7),
        "out": np.zeros(10**7),
    }
    calls = {library: large(m, memory) for library, m in libraries.items()}
    rows, targets = [], []
    for name in calls[PLAIN]:
        times = {library: Series() for library in libraries}
        for turn in range(1 if smoke else 4 * rounds):
            # Each goes first as often as the other: what runs second finds warmer caches.
            for library in list(libraries)[:: 1 if turn % 2 else -1]:
                start = time.perf_counter()
                calls[library][name]()
                times[library].values.append((time.perf_counter() - start) * 1e3)
        over = median(a / b for a, b in zip(times[OURS].values, times[PLAIN].values, strict=True))
        best = times[OURS].low / times[PLAIN].low
        rows.append([name, *(short(times[library].median) for library in libraries), f"{over:.4f}"])
        targets.append(Target(f"{name}: to numpy", 1.01, over, "x", False, best))
    print_table("Large operands", ["ms per call", *libraries, "mechestim / numpy"], rows)
    return targets


if __name__ == "__main__":
    main()
