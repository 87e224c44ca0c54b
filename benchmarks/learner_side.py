"""The cost of a batch for the learner: sample() when a batch is ready, and reading its info.

One process, ten leaves. The ring is filled through submit(), and only then is sample() timed, so
that no thread waits. The first lap of the ring has a line of its own, because it builds the objects
that each buffer needs once. id-echo, where it is installed, does the same in the same rounds.

    python benchmarks/learner_side.py
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from harness.report import Target, machine, print_table, print_targets, short
from harness.rounds import Series, ratio

from shm_echo import Server

LEAVES, BATCH, BUFFERS = 10, 16, 3
EXAMPLE = {f"leaf_{i}": np.ones((8, i + 1), np.float32) for i in range(LEAVES)}
PLAIN, LEASED, DETAILED = "shm-echo", "shm-echo, lease=True", "shm-echo, detailed_metrics=True"
KEPT, BARE = "shm-echo, kept", "shm-echo, lease=False"
ECHO = "id-echo"
Times = dict[str, list[int]]


def ours(**options: Any) -> Callable[[], Any]:
    """Return a maker of our in-process server."""
    return lambda: Server(EXAMPLE, batch_size=BATCH, num_buffers=BUFFERS, **options)


def echo() -> Any:
    """Return the same for the peer."""
    return importlib.import_module("echo").Server(EXAMPLE, BATCH, num_buffers=BUFFERS)


def timed(make: Callable[[], Any], batches: int, *, keeps: bool = False) -> Times:
    """Nanoseconds of sample(): the first lap of the ring, and the rest; of looking at info.

    The end of the batch before is part of it, because it is part of a learner's work: before the
    call, or after it if `keeps`, as in a training loop.
    """
    sample_ns: list[int] = []
    info_ns: list[int] = []
    clock = time.perf_counter_ns
    with closing(make()) as server:
        sample = server.sample
        held = None
        for turn in range(batches + BUFFERS):
            for _ in range(BATCH):
                server.submit(EXAMPLE)
            start = clock()
            if not keeps:
                held = None
            held = sample()
            sample_ns.append(clock() - start)
            start = clock()
            read_info(held)
            if turn >= BUFFERS:
                info_ns.append(clock() - start)
        del held
    return {"first": sample_ns[:BUFFERS], "sample": sample_ns[BUFFERS:], "info": info_ns}


def read_info(sample: Any) -> None:
    """Read the fields that a training loop logs."""
    info = sample.info
    _ = info.store_size, info.active_connections, info.samples_inserted_total
    _ = info.push_blocked_count, info.queue_dwell.p50_ns, info.memcpy.mean_ns


def own_info(batches: int, **options: Any) -> list[int]:
    """Nanoseconds of server.info(), which makes a new one."""
    times = []
    clock = time.perf_counter_ns
    with closing(ours(**options)()) as server:
        server.submit(EXAMPLE)
        for _ in range(batches):
            start = clock()
            server.info()
            times.append(clock() - start)
    return times


def lending(results: dict[str, dict[str, Series]], name: str) -> float:
    """The cost of sample() beside that of a server that lends nothing, in the same rounds."""
    return ratio(results[name]["sample"], results[BARE]["sample"]).median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=2000, help="per contender and round")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.batches = 1, 20
    makers: dict[str, Callable[[], Any]] = {
        PLAIN: ours(),
        KEPT: ours(),
        LEASED: ours(lease=True),
        BARE: ours(lease=False),
        DETAILED: ours(detailed_metrics=True),
    }
    print(machine())
    print(f"{args.rounds} rounds of {args.batches} batches of {BATCH}, {LEAVES} leaves: p50 in us")
    if importlib.util.find_spec("echo"):
        makers[ECHO] = echo
    else:
        print("skipped id-echo: not installed (pip install 'shm-echo[bench]')")
    results = {name: {key: Series() for key in ("first", "sample", "info")} for name in makers}
    fresh = {PLAIN: Series(), DETAILED: Series()}
    for _ in range(args.rounds):
        for name, make in makers.items():
            gc.collect()
            for key, times in timed(make, args.batches, keeps=name == KEPT).items():
                results[name][key].values.append(float(np.percentile(times, 50)) / 1e3)
        for name, options in ((PLAIN, {}), (DETAILED, {"detailed_metrics": True})):
            times = own_info(args.batches, **options)
            fresh[name].values.append(float(np.percentile(times, 50)) / 1e3)
    rows = []
    for name, found in results.items():
        sample = found["sample"]
        rows.append(
            [
                name,
                short(found["first"].median),
                short(sample.median),
                f"{short(sample.low)}..{short(sample.high)}",
                short(found["info"].median),
                short(fresh[name].median) if name in fresh else "",
            ]
        )
    print_table(
        "A ready batch",
        ["", "sample(), first lap", "sample()", "min..max", "six fields of info", "server.info()"],
        rows,
    )
    plain = results[PLAIN]
    print_targets(
        [
            Target("lending / lease=False", 1.05, lending(results, PLAIN), "x", False),
            Target("lending, kept / lease=False", 1.05, lending(results, KEPT), "x", False),
            Target("sample(), first lap, 10 leaves", 20, plain["first"].median, "us", False),
            Target("sample() after that, 10 leaves", 5, plain["sample"].median, "us", False),
            Target("sample(), lease=True", 20, results[LEASED]["sample"].median, "us", False),
            Target("reading sample.info", 5, plain["info"].median, "us", False),
            Target("server.info()", 5, fresh[PLAIN].median, "us", False),
            Target("server.info(), detailed", 5, fresh[DETAILED].median, "us", False),
        ]
    )


if __name__ == "__main__":
    main()
