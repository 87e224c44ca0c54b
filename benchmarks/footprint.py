"""The cost of shm-echo for a process: the time of its import, and private memory.

Import: new interpreters are started in turn, and the time until they have exited is compared.
Memory: the unique set size (private pages, from /proc/self/smaps) of a learner and of an actor that
have moved some samples, without the pages of the shared segment itself, against a process that has
imported numpy and optree and nothing else.

    python benchmarks/footprint.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from harness.children import ended, run_python
from harness.report import Target, machine, print_table, print_targets, short
from harness.rounds import Series

STARTS = {
    "bare interpreter": "pass",
    "import shm_echo": "import shm_echo",
    "import numpy, optree": "import numpy, optree",
    "from shm_echo import ShmClient": "from shm_echo import ShmClient",
    "from shm_echo import Server, ShmTransport": "from shm_echo import Server, ShmTransport",
}
BARE, OURS, BASE = "bare interpreter", "import shm_echo", "numpy and optree imported"

_USS = """
def uss():
    total, ours = 0, False
    for line in open('/proc/self/smaps'):
        first = line.split(None, 1)[0]
        if not first.endswith(':'):
            ours = '/dev/shm/shm-echo' in line or 'memfd:shm-echo' in line
        elif first in ('Private_Clean:', 'Private_Dirty:') and not ours:
            total += int(line.split()[1])
    return total
"""
_EXAMPLE = "{'obs': numpy.zeros((64, 64), 'f4'), 'reward': numpy.zeros(1, 'f4')}"
_BASE = f"import numpy, optree{_USS}\nprint(uss())"
_ACTOR = f"""
import sys, numpy
from shm_echo import ShmClient
{_USS}
example = {_EXAMPLE}
with ShmClient(sys.argv[1], example) as client:
    for _ in range(960):
        client.send(example)
    print(uss())
"""
_LEARNER = f"""
import subprocess, sys, numpy
from shm_echo import Server, ShmTransport
{_USS}
address = sys.argv[1]
with Server({_EXAMPLE}, batch_size=32, transport=ShmTransport(address)) as server:
    actor = subprocess.Popen([sys.executable, '-c', sys.argv[2], address])
    batches = patience = 0
    while batches < 30:
        try:
            server.sample(timeout=0.5)
            batches += 1
        except TimeoutError:
            patience += 1
            if actor.poll() is not None or patience == 60:
                break
    if actor.wait(30) or batches < 30:
        sys.exit(f"the actor ended early, with exit status {{actor.returncode}}")
    print(uss())
"""


def start_up(code: str) -> tuple[float, float]:
    """Milliseconds from starting an interpreter on `code` until it has exited: elapsed, and CPU.

    The least of three starts: other programs can only add to it.

    Raises:
        ChildDiedError: it failed.
    """
    elapsed, cpu = [], []
    for _ in range(3):
        start = time.perf_counter()
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
        _, status, used = os.wait4(pid, 0)
        elapsed.append((time.perf_counter() - start) * 1e3)
        cpu.append((used.ru_utime + used.ru_stime) * 1e3)
        if status:
            raise ended(f"python -c {code!r}", os.waitstatus_to_exitcode(status))
    return min(elapsed), min(cpu)


def memory(number: int) -> tuple[float, float, float]:
    """MB that are unique to a bare process with numpy and optree, to an actor, to a learner."""
    (base,) = _megabytes("the bare process", _BASE)
    address = f"footprint-{os.getpid()}-{number}"
    actor, learner = _megabytes("the learner", _LEARNER, address, _ACTOR)
    return base, actor, learner


def _megabytes(name: str, code: str, *args: str) -> list[float]:
    return [int(line) / 1024 for line in run_python(name, "-c", code, *args).split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="a moment of each, to see it run")
    args = parser.parse_args()
    if args.smoke:
        args.rounds = 1
    print(machine())
    print(f"{args.rounds} rounds")

    times = {name: (Series(), Series()) for name in STARTS}
    sizes = {name: Series() for name in (BASE, "actor", "learner")}
    for number in range(args.rounds):
        for name, code in STARTS.items():
            for series, spent in zip(times[name], start_up(code), strict=True):
                series.values.append(spent)
        for series, size in zip(sizes.values(), memory(number), strict=True):
            series.values.append(size)

    def over(series: Series, base: Series) -> Series:
        return Series([a - b for a, b in zip(series.values, base.values, strict=True)])

    rows = []
    for name, (elapsed, cpu) in times.items():
        more, more_cpu = over(elapsed, times[BARE][0]), over(cpu, times[BARE][1])
        rows.append(
            [
                name,
                short(elapsed.median),
                f"{short(elapsed.low)}..{short(elapsed.high)}",
                "" if name == BARE else short(more.median),
                short(cpu.median),
                "" if name == BARE else short(more_cpu.median),
            ]
        )
    print_table(
        "Starting an interpreter and ending it, the best of three in each round",
        ["", "ms", "min..max", "more than bare", "CPU ms", "more than bare"],
        rows,
    )
    base = sizes[BASE]
    rows = []
    for name, found in sizes.items():
        beyond = "" if found is base else short(over(found, base).median)
        rows.append([name, short(found.median), f"{short(found.low)}..{short(found.high)}", beyond])
    print_table("USS without the segment", ["", "MB", "min..max", "more than that"], rows)
    bound = "USS beyond the segment and numpy + optree"
    print_targets(
        [
            Target(
                "import shm_echo, more than bare",
                20,
                over(times[OURS][0], times[BARE][0]).median,
                "ms",
                False,
                times[OURS][0].low - times[BARE][0].low,
            ),
            Target(f"{bound}, actor", 10, over(sizes["actor"], base).median, "MB", False),
            Target(f"{bound}, learner", 10, over(sizes["learner"], base).median, "MB", False),
        ]
    )


if __name__ == "__main__":
    main()
