"""Samples per second that reach a learner: shm-echo, its peers and a bare memcpy, in one run.

Producers are processes of their own and send the same sample over and over, as fast as they can.
The consumer, in this process, takes batches and reads one element of each. It drops a batch before
it asks for the next one; "kept" holds it until then, as a training loop does. Every contender has
the same batch size and room for three batches. See harness/rounds.py for how ratios are taken.

    python benchmarks/ring_throughput.py --plot throughput.png
"""

from __future__ import annotations

import argparse
import contextlib
import time
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from harness.contender import Contender, missing
from harness.limit import Limit
from harness.loads import LOADS, NUM_BUFFERS, Load, by_name
from harness.ours import ShmEcho
from harness.peers import PEERS
from harness.plots import bars
from harness.processes import producers
from harness.report import Target, machine, print_table, print_targets, si, span, versions
from harness.rounds import Series, interleave, ratio

SEND, BATCHED, KEPT = ShmEcho(), ShmEcho(batched=True), ShmEcho(keeps=True)
STREAMING, PLAIN = Limit("she_copy"), Limit("numpy")
ECHO = "id-echo"

Results = dict[str, Series]


def produce(stop: Any, _index: int, contender: Contender, address: Any, load: Load) -> None:
    """Send samples until the stop, in a producer process."""
    try:
        with contender.sender(address, load, load.make()) as send:
            burst = range(load.burst)
            while not stop.value:
                for _ in burst:
                    send()
    except OSError:  # the connection is closed at the end of a round
        if not stop.value:
            raise


def rate(contender: Contender, load: Load, count: int, warmup: float, seconds: float) -> float:
    """Samples/s at the consumer, with `count` producers."""
    with (
        contextlib.closing(contender.consume(load)) as consumer,
        producers(
            contender.name,
            produce,
            count,
            contender,
            consumer.address,
            load,
            interrupt=consumer.interrupt,
        ) as stop,
    ):
        for _ in range(2 * NUM_BUFFERS):  # all of the ring has been used
            load.touch(consumer.batch())
        _take(consumer, load, warmup)
        measured = _take(consumer, load, seconds)
        stop.value = True
        consumer.close()  # before the producers end: some of them are blocked in a send
        return measured


def _take(consumer: Any, load: Load, seconds: float) -> float:
    batches, start = 0, time.perf_counter()
    end = start
    while end - start < seconds:
        load.touch(consumer.batch())
        batches += 1
        end = time.perf_counter()
    return batches * load.batch_size / (end - start) if batches else 0.0


def compare(load: Load, count: int, contenders: list[Contender], args: Any) -> Results:
    """All contenders with one load."""
    window = (load, count, args.warmup, args.seconds)
    # First the limits, next to ours: their ratio is the one that the neighbours' use of the
    # memory disturbs most.
    runs = {limit.name: partial(limit.rate, *window) for limit in (PLAIN, STREAMING)}
    runs |= {
        contender.name: partial(rate, contender, *window)
        for contender in contenders
        if contender is not BATCHED or load.stack
    }
    return interleave(runs, args.rounds)


def show(load: Load, count: int, results: Results) -> None:
    """Print one table."""
    ours = [name for name in (SEND.name, BATCHED.name) if name in results]
    rows = []
    for name in sorted(results, key=lambda name: name.startswith("limit")):
        series = results[name]
        bandwidth = f"{series.median * load.nbytes / 1e9:.2f}"
        ratios = ["" if name in ours else span(ratio(results[own], series)) for own in ours]
        spread = f"{si(series.low)}..{si(series.high)}"
        rows.append([name, si(series.median), spread, bandwidth, *ratios])
    print_table(
        f"{load.name}: {load.nbytes:,} bytes per sample, batches of {load.batch_size}, "
        f"{count} producer{'s' if count > 1 else ''}",
        ["", "samples/s", "min..max", "GB/s", *(f"{own.split()[1]} / it" for own in ours)],
        rows,
    )


def targets(results: dict[tuple[str, int], Results]) -> list[Target]:
    """Return the targets for one producer."""

    def aim(what: str, bound: float, load: str, own: str, other: str) -> Target:
        found = results.get((load, 1), {})
        median = best = None
        if own in found and other in found:
            median = ratio(found[own], found[other]).median
            best = found[own].high / found[other].high
        return Target(f"{load}, {what}, 1 producer", bound, median, "x", True, best)

    return [
        aim("send / id-echo", 20.0, "small", SEND.name, ECHO),
        aim("send_batch(256) / id-echo", 200.0, "small", BATCHED.name, ECHO),
        aim("send / id-echo", 12.0, "atari", SEND.name, ECHO),
        aim("send / streaming copy", 0.9, "4MB", SEND.name, STREAMING.name),
        aim("send / id-echo", 10.0, "40 leaves", SEND.name, ECHO),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--producers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="contenders, by a part of the name")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.5, help="measured, in each round")
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--plot", type=Path, help="write a chart to this PNG")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.seconds, args.warmup = 1, 0.02, 0.0
        args.loads = ["small"]
    where = machine()
    print(where)
    print(f"{args.rounds} rounds of {args.seconds:g} s: medians, ratios within a round (min..max)")
    contenders: list[Contender] = []
    for contender in (SEND, KEPT, BATCHED, *PEERS):
        reason = missing(contender)
        if args.only and not any(part in contender.name for part in args.only):
            continue
        if reason:
            print(f"skipped {reason}")
        else:
            contenders.append(contender)
    results = {}
    for load in map(by_name, args.loads):
        for count in args.producers:
            results[load.name, count] = compare(load, count, contenders, args)
            show(load, count, results[load.name, count])
    if args.plot:
        how = f"medians of {args.rounds} rounds of {args.seconds:g} s, lines from lowest to highest"
        with_what = versions("shm-echo", "id-echo", "faster-fifo", "numpy")
        bars(args.plot, results, f"{where}\n{with_what}; {date.today()}; {how}")
        print(f"\nwrote {args.plot}")
    print_targets(targets(results))


if __name__ == "__main__":
    main()
