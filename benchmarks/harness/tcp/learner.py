"""The learner's own Python code while samples stream in: what ingress takes from it.

The main thread of the server's process runs a loop of pure Python, another one takes the batches.
Iterations are counted per second of that thread's processor time, because on a machine with few
cores the scheduler takes processor time away that no server can give back. With senders that are
held to a moderate rate, iterations are counted by the clock as well.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from harness.loads import Load
from harness.report import Target, print_table, short, span
from harness.rounds import Series
from harness.tcp import bare, pairing
from harness.tcp.ends import ECHO, OURS, ServerEnd
from harness.tcp.outcomes import target
from harness.tcp.pairing import Live, Setting, StuckError

__all__ = ["HELD", "Found", "compare", "show", "targets"]

HELD = 20_000  # samples per second over all connections
SHARE = 0.95
PHASES = 12  # of a run, in turns with the senders running and stopped
SETTLE_S = 0.05  # for what the sockets still hold, after the senders were stopped


@dataclass
class Found:
    """Ratios of one server: the loop beside streaming samples / the loop alone.

    Attributes:
        per_cpu: of iterations per second of processor time, senders as fast as they can.
        held: of iterations per second by the clock, senders held.
        beside_bare: as per_cpu, but what streams goes to another process.
        stuck: the runs without a result, and why.
    """

    per_cpu: Series = field(default_factory=Series)
    held: Series = field(default_factory=Series)
    beside_bare: Series = field(default_factory=Series)
    stuck: list[StuckError] = field(default_factory=list)


@dataclass
class Counts:
    """The work of the loop in some periods: iterations, its processor time, the clock's time."""

    iterations: int = 0
    used_ns: int = 0
    passed_ns: int = 0

    def add(self, live: Live, seconds: float) -> None:
        """Count for so long."""
        state = live.state
        before = state.iterations, state.loop_ns, time.monotonic_ns()
        time.sleep(seconds)
        self.iterations += state.iterations - before[0]
        self.used_ns += state.loop_ns - before[1]
        self.passed_ns += time.monotonic_ns() - before[2]

    @property
    def per_cpu(self) -> float:
        return self.iterations / max(self.used_ns, 1)

    @property
    def by_clock(self) -> float:
        return self.iterations / max(self.passed_ns, 1)


def _require(*counts: Counts) -> None:
    if not all(one.iterations for one in counts):
        raise StuckError("the learner's loop did not get the processor")


def _ratios(
    server: ServerEnd, load: Load, connections: int, setting: Setting, rate: int
) -> tuple[float, float]:
    """Return the two ratios of a loop with the senders running to one with them stopped."""
    clients = pairing.sender_in_c(connections, 1, setting, rate)
    with pairing.live(server, clients, load, setting, computes=True) as live:
        live.wait_batches(2)
        (pid,) = live.client_pids
        totals = [Counts(), Counts()]
        for runs in (True, False, False, True) * (PHASES // 4):  # a drift falls out
            os.kill(pid, signal.SIGCONT if runs else signal.SIGSTOP)
            time.sleep(SETTLE_S)
            if runs:
                live.wait_batches(1)
            totals[runs].add(live, 2 * setting.seconds / PHASES)
        alone, beside = totals
    _require(alone, beside)
    return beside.per_cpu / alone.per_cpu, beside.by_clock / alone.by_clock


def _beside_bare(load: Load, connections: int, setting: Setting) -> float:
    """Return the ratio of a loop beside traffic between two other processes to one alone."""
    with pairing.live(
        OURS if OURS.missing() is None else ECHO, None, load, setting, computes=True
    ) as live:
        alone, beside = Counts(), Counts()
        alone.add(live, setting.seconds / 2)
        with bare.streaming(connections, load.nbytes, setting.congestion):
            time.sleep(SETTLE_S)
            beside.add(live, setting.seconds)
        alone.add(live, setting.seconds / 2)
    _require(alone, beside)
    return beside.per_cpu / alone.per_cpu


def compare(load: Load, connections: int, setting: Setting, rounds: int) -> dict[str, Found]:
    """Measure both servers, in turns."""
    found = {server.name: Found() for server in (OURS, ECHO) if server.missing() is None}
    for _ in range(rounds):
        for server in (OURS, ECHO):
            if server.name not in found:
                continue
            results = found[server.name]
            try:
                results.per_cpu.values.append(_ratios(server, load, connections, setting, 0)[0])
                results.held.values.append(_ratios(server, load, connections, setting, HELD)[1])
                results.beside_bare.values.append(_beside_bare(load, connections, setting))
            except StuckError as stuck:
                results.stuck.append(stuck)
    return found


def show(load: Load, connections: int, found: dict[str, Found]) -> None:
    """Print one table."""
    rows = [
        [
            name,
            *(
                span(series) if series.values else ""
                for series in (one.per_cpu, one.held, one.beside_bare)
            ),
            short(len(one.stuck)) if one.stuck else "",
        ]
        for name, one in found.items()
    ]
    head = ["", "per CPU second", f"by the clock, {HELD:,}/s", "beside a bare stream", "stuck"]
    title = f"The learner's loop beside {connections} connections of {load.name} / alone"
    print_table(title, head, rows)
    for name, one in found.items():
        for stuck in one.stuck:
            print(f"stuck: {name}: {stuck}")


def targets(found: dict[str, Found]) -> list[Target]:
    """Return the targets for our server."""
    ours = found.get(OURS.name, Found())
    what = "the learner's loop keeps, "
    return [
        target(f"{what}per CPU second", SHARE, ours.per_cpu if ours.per_cpu.values else None),
        target(f"{what}by the clock, {HELD:,}/s", SHARE, ours.held if ours.held.values else None),
    ]
