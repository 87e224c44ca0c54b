"""mechestim over a server: how long calls take, how fast contents move, how many clients it bears.

In turns in one run: ours, flopscope-server with flopscope-client (each in a virtual environment of
its own, made under `--venvs`), and a bare ping-pong over a Unix socket between two Python
processes, which is the least that a call can take.

    python benchmarks/mechestim_remote.py --venvs ~/.cache/mechestim-bench
"""

from __future__ import annotations

import argparse
import os
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from harness import remote
from harness.children import run_python
from harness.report import Target, machine, print_table, print_targets, short
from harness.rounds import Series, ratio

COUNTS = {"add": 1000, "matvec": 500, "create 10k": 50, "fetch 10k": 50, "fetch 1M": 3}
COUNTS |= {"8 MB up": 10, "8 MB down": 10}
PEER_COUNTS = {"add": 200, "matvec": 200, "create 10k": 20, "fetch 10k": 20, "fetch 1M": 2}
TURNS = 2000
MEGABYTES = 8.0

_PACED = """
import json, sys, time
import mechestim as m
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
x = m.ones(4)
print("ready", flush=True)
sys.stdin.readline()
start = time.monotonic()
done = errors = 0
while True:
    now = time.monotonic() - start
    if now > seconds:
        break
    if done < now * rate:
        try:
            x + x
        except Exception:
            errors += 1
        done += 1
    else:
        time.sleep(0.01)
print(json.dumps({"rate": done / now, "errors": errors}))
"""

_CROWD = """
import json, sys, threading
from shm_echo.mechestim.remote.session_opening import open_session
count, url = int(sys.argv[1]), sys.argv[2]
errors, done = [], []
def work():
    try:
        channel = open_session(url)
        a = channel.request("random.rand", (200, 200))
        for _ in range(5):
            b = channel.request("matmul", (a, a))
            assert b.shape == (200, 200)
        channel.close()
        done.append(1)
    except Exception as error:
        errors.append(repr(error))
threads = [threading.Thread(target=work) for _ in range(count)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"sessions": len(done), "errors": errors[:3]}))
"""


def quantile(times: list[int], part: float) -> float:
    """Microseconds that this part of the calls stays below."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))] / 1e3


def calls(
    folder: Path, venvs: Path | None, url: str, rounds: int, scale: float
) -> tuple[dict[str, dict[str, Series]], dict[str, dict[str, Series]]]:
    """p50 and p99 of every call by contender: `[contender][call]`, one number for each round."""

    def scaled(counts: dict[str, int]) -> dict[str, int]:
        return {name: max(1, int(count * scale)) for name, count in counts.items()}

    with ExitStack() as stack:
        clients = {
            "ping-pong": remote.pingpong(max(10, int(TURNS * scale))),
            "ours": remote.ours(url, scaled(COUNTS)),
        }
        for client in clients.values():
            stack.callback(client.close)
        if venvs is None:
            print("skipped flopscope: no --venvs folder to make its environments in")
        else:
            try:
                client = stack.enter_context(remote.flopscope(venvs, folder, scaled(PEER_COUNTS)))
                clients["flopscope"] = client
            except (RuntimeError, OSError) as error:
                print(f"skipped flopscope: {error}")
        p50: dict[str, dict[str, Series]] = {name: {} for name in clients}
        p99: dict[str, dict[str, Series]] = {name: {} for name in clients}
        for client in clients.values():
            client.round()  # to warm up
        for _ in range(rounds):
            for name, client in clients.items():
                for call, times in client.round().items():
                    p50[name].setdefault(call, Series()).values.append(quantile(times, 0.5))
                    p99[name].setdefault(call, Series()).values.append(quantile(times, 0.99))
    return p50, p99


def call_tables(
    p50: dict[str, dict[str, Series]], p99: dict[str, dict[str, Series]]
) -> list[Target]:
    """Print what calls take; the targets about them."""
    turn = p50["ping-pong"]["turn"]
    rows = [["ping-pong", short(turn.median), short(p99["ping-pong"]["turn"].median), "1", "", ""]]
    targets = []
    for call, series in p50["ours"].items():
        row = [call, short(series.median), short(p99["ours"][call].median)]
        row.append(short(ratio(series, turn).median))
        peer = p50.get("flopscope", {}).get(call)
        if peer is not None:
            row += [short(peer.median), f"{short(ratio(peer, series).median)}x"]
        rows.append(row + [""] * (6 - len(row)))
    head = ["microseconds", "p50", "p99", "/ ping-pong", "flopscope p50", "ours is faster by"]
    print_table("Calls", head, rows)
    add = p50["ours"]["add"]
    targets.append(
        Target("add, to the ping-pong", 3, ratio(add, turn).median, "x", False, add.low / turn.low)
    )
    peer = p50.get("flopscope", {}).get("add")
    faster = None if peer is None else ratio(peer, add).median
    best = None if peer is None else peer.low / add.low
    targets.append(Target("add, faster than flopscope", 12, faster, "x", True, best))
    for way in ("up", "down"):
        series = p50["ours"][f"8 MB {way}"]
        speed = MEGABYTES * 1e3 / series.median
        targets.append(Target(f"8 MB {way}", 2, speed, "GB/s", True, MEGABYTES * 1e3 / series.low))
    return targets


def import_ms(runs: int) -> float:
    """Milliseconds that importing the client adds to an interpreter's life.

    Without `site`: what an environment's own start files import is in neither of the two.
    """
    added = []
    with tempfile.TemporaryDirectory(prefix="me-bench-") as cache:
        variables = remote.environment(
            MECHESTIM_SERVER_URL="ipc:///nowhere",
            PYTHONPATH=os.pathsep.join([str(remote.ROOT), sysconfig.get_path("platlib")]),
            PYTHONPYCACHEPREFIX=cache,
        )
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        for run in range(runs + 1):
            times = []
            for code in ("pass", "import mechestim as me; me.BudgetContext, me.add"):
                start = time.perf_counter()
                run_python(f"python -c {code!r}", "-S", "-c", code, env=variables)
                times.append((time.perf_counter() - start) * 1e3)
            if run:  # the first one compiles
                added.append(times[1] - times[0])
    return median(added)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--venvs", type=Path, help="where flopscope's environments are kept")
    parser.add_argument("--crowd", type=int, default=600, help="sessions in matmul at once")
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    scale, seconds = (0.01, 0.5) if args.smoke else (1.0, 5.0)
    if args.smoke:
        args.rounds, args.crowd = 1, 12
    print(machine())
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="me-bench-") as name:
        folder = Path(name)
        with remote.serving(folder) as (url, pid):
            idle = remote.rss_mb(pid)
            targets += call_tables(*calls(folder, args.venvs, url, args.rounds, scale))
        with remote.serving(folder) as (url, pid):
            slowest, errors = [], 0
            for _ in range(args.rounds):
                paced = remote.start_clients("client", _PACED, 16, url, 1000, seconds)
                errors += sum(one["errors"] for one in paced)
                slowest.append(min(one["rate"] for one in paced))
            print(
                f"\n16 clients at 1000 ops/s, {errors} errors; what the slowest did in each round:"
            )
            print("  " + ", ".join(f"{rate:,.0f}" for rate in sorted(slowest)))
            target = Target(
                "16 clients at once: each", 990, median(slowest), "ops/s", True, max(slowest)
            )
            targets.append(target)
            targets.append(Target("their errors", 0, errors, "", False))
            processes = min(6, args.crowd)
            each = args.crowd // processes
            crowd = remote.start_clients("process", _CROWD, processes, url, each, url)
            done = sum(one["sessions"] for one in crowd)
            print(f"{args.crowd} sessions in matmul at once: {done} ended well")
            for one in crowd:
                for error in one["errors"]:
                    print(f"  {error}")
            wanted = each * processes
            targets.append(Target("sessions in matmul at once", wanted, done, "", True))
    targets.append(Target("server, idle", 60, idle, "MB", False))
    added = import_ms(1 if args.smoke else 15)
    targets.append(Target("client import, over an interpreter", 40, added, "ms", False))
    print_targets(targets)


if __name__ == "__main__":
    main()
