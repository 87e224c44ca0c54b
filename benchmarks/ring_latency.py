"""The time of one sample from before send() to the return of sample(), with batch_size=1.

One sample is under way per producer: the producer stamps it with the monotonic clock, which all
processes of a host share, and sends it; the consumer, asleep in sample() until then, looks at the
clock as sample() returns, and answers over a bare event count; then the next one. All contenders
are paced in this way. The yardstick is half of a round trip of such answers alone: two processes
that only wake each other, through the same futex code, from Python.

    python benchmarks/ring_latency.py --plot latency.png
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness.contender import Contender, missing
from harness.loads import Load
from harness.ours import ShmEcho
from harness.peers import PEERS
from harness.pingpong import Reply, round_trips
from harness.plots import whiskers
from harness.processes import producers
from harness.report import Target, machine, print_table, print_targets, span
from harness.rounds import Series, ratio

HALF_TRIP = "half a bare round trip"
OURS = ShmEcho()
PERCENTILES = (50, 90, 99)


def _stamped() -> Any:
    return {
        "obs": np.ones(4, np.float32),
        "action": np.ones(1, np.int32),
        "reward": np.ones(1, np.float32),
        "sent": np.zeros(2, np.int64),  # when, by whom
    }


LOAD = Load("small, stamped", _stamped, batch_size=1)


def produce(
    stop: Any, index: int, contender: Contender, address: Any, replies: list[Any], pause: float
) -> None:
    """Run a producer process: send one sample, wait for the answer, send the next one."""
    reply = Reply(replies[index])
    sample = _stamped()
    stamp = sample["sent"]
    stamp[1] = index
    clock = time.perf_counter_ns
    try:
        with contender.sender(address, LOAD, sample) as send:
            while not stop.value:
                ticket = reply.ticket()
                stamp[0] = clock()
                send()
                reply.wait(ticket)
                if pause:
                    time.sleep(pause)
    except OSError:  # the connection is closed at the end of a round
        if not stop.value:
            raise


def latencies(contender: Contender, count: int, samples: int, pause: float) -> list[int]:
    """Nanoseconds from stamp to hand-out, for the last `samples` of a little more."""
    words = [Reply.make() for _ in range(count)]
    replies = [Reply(word) for word in words]
    times: list[int] = []
    clock = time.perf_counter_ns
    with (
        contextlib.closing(contender.consume(LOAD)) as consumer,
        producers(
            contender.name,
            produce,
            count,
            contender,
            consumer.address,
            words,
            pause,
            interrupt=consumer.interrupt,
        ) as stop,
    ):
        for _ in range(samples + samples // 10):
            sent = consumer.batch()["sent"]
            now = clock()
            times.append(now - int(sent[0, 0]))
            replies[int(sent[0, 1])].signal()
        stop.value = True
        consumer.close()
    return times[-samples:]


def half_trips(samples: int) -> list[float]:
    """Return half the round trips of the yardstick, in ns."""
    return [trip / 2 for trip in round_trips(samples + samples // 10)[-samples:]]


def show(title: str, results: dict[str, dict[int, Series]]) -> None:
    """Print one table."""
    ours = results.get(OURS.name)
    rows = []
    for name, found in results.items():
        cells = [f"{found[p].median:.1f}" for p in PERCENTILES]
        spread = f"{found[50].low:.1f}..{found[50].high:.1f}"
        times = "" if ours is None or name == OURS.name else span(ratio(found[50], ours[50]))
        rows.append([name, *cells, spread, times])
    print_table(
        title,
        ["", *(f"p{p} us" for p in PERCENTILES), "p50 min..max", f"its p50 / {OURS.name}"],
        rows,
    )


def compare(contenders: list[Contender], count: int, args: Any) -> dict[str, dict[int, Series]]:
    """Measure every contender once per round."""
    names = [HALF_TRIP] if count == 1 else []
    names += [contender.name for contender in contenders]
    results = {name: {p: Series() for p in PERCENTILES} for name in names}
    for _ in range(args.rounds):
        measured: dict[str, Any] = {}
        if count == 1:
            measured[HALF_TRIP] = half_trips(args.samples)
        for contender in contenders:
            measured[contender.name] = latencies(contender, count, args.samples, args.pause)
        for name, times in measured.items():
            for p in PERCENTILES:
                results[name][p].values.append(float(np.percentile(times, p)) / 1e3)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--producers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="contenders, by a part of the name")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=5000, help="per contender and round")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two samples")
    parser.add_argument("--plot", type=Path, help="write a chart to this PNG")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.samples = 1, 20
    print(machine())
    print(f"{args.rounds} rounds of {args.samples} samples: medians of the rounds' percentiles")
    contenders: list[Contender] = []
    for contender in (OURS, *PEERS):
        reason = missing(contender)
        if args.only and not any(part in contender.name for part in args.only):
            continue
        if reason:
            print(f"skipped {reason}")
        else:
            contenders.append(contender)
    measured = best = None
    spans = {}
    for count in args.producers:
        results = compare(contenders, count, args)
        show(f"send() to sample() return, {count} producer{'s' if count > 1 else ''}", results)
        if count == 1:
            spans = {name: (found[50].median, found[99].median) for name, found in results.items()}
            if OURS.name in results:
                ours, bare = results[OURS.name][50], results[HALF_TRIP][50]
                measured, best = ratio(ours, bare).median, ours.low / bare.low
    if args.plot:
        title = "One sample, send() to sample(), 1 producer"
        whiskers(args.plot, title, "us (log): p50, line to p99", spans)
        print(f"\nwrote {args.plot}")
    print_targets(
        [
            Target(
                "p50 of one sample / half a bare round trip, 1 producer",
                2.0,
                measured,
                "x",
                at_least=False,
                undisturbed=best,
            )
        ]
    )


if __name__ == "__main__":
    main()
