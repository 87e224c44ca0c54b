"""mechestim beside busy neighbours: what a cheap call takes while three others keep NumPy busy.

One server, a worker process for each session. The neighbours run `repeat`, `unique` and
`permutation` of many elements over and over: each holds its interpreter for seconds. A client
adds two small arrays every millisecond, first alone, then beside them; the server's status says how
many of those additions had all three neighbours' operations running around them.

    python benchmarks/mechestim_neighbours.py --elements 100000000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness import remote
from harness.line_client import LineClient
from harness.report import Target, machine, print_table, print_targets, short

from shm_echo.control.client.client_connection import connect

PAUSE_S = 0.001
LIMIT_MS = 50.0

_CHEAP = """
import json, sys, time
import mechestim as m
v = m.array([1.0, 2.0, 3.0, 4.0])
clock = time.perf_counter_ns
print("ready", flush=True)
for line in sys.stdin:
    end = time.monotonic() + float(line)
    times = []
    while time.monotonic() < end:
        start = clock()
        v + v
        times.append(clock() - start)
        time.sleep({pause})
    print(json.dumps(times), flush=True)
"""

_NEIGHBOURS = {
    "repeat": "x = m.ones({n} // 2); call = lambda: m.repeat(x, 2)",
    "unique": "x = m.random.rand({n}); call = lambda: m.unique(x)",
    "permutation": "call = lambda: m.random.permutation({n})",
}
_LOOP = """
import json, os, sys, threading, traceback
import mechestim as m
{setup}
done = []
over = threading.Event()
def run():
    try:
        while not over.is_set():
            call()
            done.append(1)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the main thread waits for a line, and would wait on
thread = threading.Thread(target=run)
thread.start()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(len(done)), flush=True)
sys.stdin.readline()
over.set()
thread.join()
"""


def start(name: str, source: str, url: str) -> LineClient:
    """Start a client of the server."""
    variables = remote.environment(MECHESTIM_SERVER_URL=url)
    return LineClient(name, [sys.executable, "-c", source], variables)


def quantile(times: list[int], part: float) -> float:
    """Milliseconds that this part of the calls stays below."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))] / 1e6


def rows(url: str) -> list[dict[str, Any]]:
    """Return the sessions that the server reports."""
    with connect(url, "status") as link:
        found: list[dict[str, Any]] = link.request("read", {})[0]["rows"]
        return found


def peak_mib(pid: int) -> float:
    """Return the most memory that a process had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def wait_for_work(url: str, neighbours: Collection[LineClient]) -> None:
    """Until each neighbour's session is in an operation that has run for a moment."""
    while sum((row["running_s"] or 0) > 0.01 for row in rows(url)) < len(neighbours):
        for neighbour in neighbours:
            neighbour.check()
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--elements", type=int, default=10**8, help="of the neighbours' operations")
    parser.add_argument("--seconds", type=float, default=30.0, help="alone, and beside them")
    parser.add_argument("--smoke", action="store_true", help="a moment, with small neighbours")
    args = parser.parse_args()
    if args.smoke:
        args.elements, args.seconds = 10**6, 1.0
    print(machine())
    table = []
    with tempfile.TemporaryDirectory(prefix="me-bench-") as name, ExitStack() as stack:
        room = max(1 << 30, 100 * args.elements)
        limits = ("--max-bytes", str(room), "--max-call-bytes", str(room))
        url, server = stack.enter_context(
            remote.serving(Path(name), "--isolation", "process", *limits)
        )
        cheap = start("the client", _CHEAP.format(pause=PAUSE_S), url)
        stack.callback(cheap.close)
        cheap.ask("0.2")  # to warm up
        times = {"alone": cheap.ask(str(args.seconds))}
        (own,) = rows(url)
        neighbours = {}
        for op, setup in _NEIGHBOURS.items():
            source = _LOOP.format(setup=setup.format(n=args.elements))
            neighbours[op] = start(f"the neighbour in {op}", source, url)
            stack.callback(neighbours[op].close)
        if not args.smoke:
            wait_for_work(url, neighbours.values())
        before = cpu_s(server)
        times["beside three"] = cheap.ask(str(args.seconds))
        busy = (cpu_s(server) - before) / args.seconds
        for op, client in neighbours.items():
            print(f"{op}: {client.ask()} of {args.elements:,} elements ended by then")
        workers = [row for row in rows(url) if row["pid"] != own["pid"]]
        peaks = sum(peak_mib(row["pid"]) for row in workers)
        print(f"workers of the neighbours: {peaks:,.0f} MiB at the most, in all")
        print(f"the server's own process was busy for {100 * busy:.1f} % of one processor")
    for where, taken in times.items():
        numbers = [quantile(taken, part) for part in (0.5, 0.9, 0.99, 1.0)]
        table.append([where, f"{len(taken):,}", *map(short, numbers)])
    print_table("Adding 4 elements", ["milliseconds", "calls", "p50", "p90", "p99", "most"], table)
    p99 = quantile(times["beside three"], 0.99)
    print_targets([Target("p99 beside three neighbours", LIMIT_MS, p99, "ms", False)])


if __name__ == "__main__":
    main()
