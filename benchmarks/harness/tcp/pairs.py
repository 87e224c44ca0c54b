"""All clients with all servers: samples per second, and processor time per sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.loads import Load
from harness.report import Target, print_table, short, si, span
from harness.rounds import Series
from harness.tcp import pairing, sender
from harness.tcp.ends import (
    BATCHED,
    ECHO,
    ECHO_CLIENT,
    OUR_CLIENT,
    OURS,
    ClientEnd,
    ServerEnd,
)
from harness.tcp.outcomes import Outcomes, Results, interleave, target
from harness.tcp.pairing import Clients, Setting

__all__ = ["PAIRS", "Pair", "compare", "show", "targets"]

PER_WRITE = 32
MOST_TO_JOIN = 1 << 10  # bytes of a sample up to which the sender in C joins several in a write
ECHO_QUEUE = 2 * 8 + 1  # samples that id-echo's server holds for each connection, or may


@dataclass(frozen=True)
class Pair:
    """A client and a server.

    Attributes:
        client: its end; None for the sender in C.
        server: its end.
        per_write: samples in one write of the sender in C.
        against: the name of the pair that this one's ratios are to.
    """

    client: ClientEnd | None
    server: ServerEnd
    per_write: int = 1

    @property
    def client_name(self) -> str:
        if self.client is not None:
            return self.client.name
        return "C" if self.per_write == 1 else f"C, {self.per_write} a write"

    @property
    def name(self) -> str:
        return f"{self.client_name} -> {self.server.name}"

    @property
    def against(self) -> str:
        client = self.client_name if self.client is None else ECHO_CLIENT.name
        return f"{client} -> {ECHO.name}"

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""
        client = sender.missing() if self.client is None else self.client.missing()
        return client or self.server.missing()

    def fits(self, load: Load) -> bool:
        """Return False if this load is not for it."""
        if self.client is not None:
            return self.client.fits(load)
        return self.per_write == 1 or load.nbytes <= MOST_TO_JOIN

    def clients(self, load: Load, connections: int, setting: Setting) -> Clients:
        """Return its clients, which share so many connections."""
        if self.client is None:
            return pairing.sender_in_c(connections, self.per_write, setting)
        return pairing.in_python(self.client, load, connections, setting)


PAIRS = (
    *(
        Pair(client, server)
        for client in (ECHO_CLIENT, OUR_CLIENT, BATCHED)
        for server in (ECHO, OURS)
    ),
    *(Pair(None, server, per_write) for per_write in (1, PER_WRITE) for server in (ECHO, OURS)),
)


def _available_bytes() -> int:
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def compare(
    load: Load, connections: int, pairs: Sequence[Pair], setting: Setting, rounds: int
) -> Results:
    """Run the pairs with one load and so many connections, in turns."""
    runs: dict[str, Callable[[], pairing.Run | pairing.StuckError]] = {}
    for pair in pairs:
        if not pair.fits(load):
            continue
        if pair.server is ECHO and ECHO_QUEUE * load.nbytes * connections > _available_bytes() // 2:
            print(f"skipped {pair.name}, {load.name}, {connections}: its queues need the memory")
            continue
        clients = pair.clients(load, connections, setting)
        runs[pair.name] = partial(pairing.measure, pair.server, clients, load, setting)
    return interleave(runs, rounds)


def show(load: Load, connections: int, results: Results, pairs: Sequence[Pair]) -> None:
    """Print one table, and the reasons of runs that were stuck."""
    rows = []
    for pair in pairs:
        found = results.get(pair.name)
        if found is None:
            continue
        rate = found.series("rate")
        stuck = f"{len(found.stuck)} of {len(found.runs)}" if found.stuck else ""
        if rate is None:
            rows.append([pair.name, *[""] * 6, stuck])
            continue
        cells = [f"{rate.median * load.nbytes / 1e9:.2f}" if load.nbytes > MOST_TO_JOIN else ""]
        cells += [_median(found.series("server_us")), _median(found.series("client_us"))]
        reference = results.get(pair.against)
        for what in ("rate", "server_us"):
            compared = reference and reference is not found and found.ratio(reference, what)
            cells.append(span(compared) if compared else "")
        spread = f"{si(rate.median)} ({si(rate.low)}..{si(rate.high)})"
        rows.append([pair.name, spread, *cells, stuck])
    head = [
        "client -> server",
        "samples/s",
        "GB/s",
        "server us",
        "clients us",
        "rate",
        "server's cost",
    ]
    title = f"{load.name}: {load.nbytes:,} bytes per sample, {connections} connection"
    print_table(title + "s" * (connections > 1), [*head, "stuck"], rows)
    for name, found in results.items():
        for reason in found.stuck:
            print(f"stuck: {name}: {reason}")


def _median(series: Series | None) -> str:
    return "" if series is None else short(series.median)


def _worst(found: dict[tuple[str, int], Results]) -> tuple[str, Series | None]:
    """Return the lowest ratio of the sender in C with our server to it with id-echo's."""
    worst: tuple[str, Series | None] = ("", None)
    for (load, connections), results in found.items():
        for per_write in (1, PER_WRITE):
            mine, theirs = Pair(None, OURS, per_write).name, Pair(None, ECHO, per_write).name
            if mine not in results or theirs not in results:
                continue
            ratio = results[mine].ratio(results[theirs], "rate")
            if ratio is not None and (worst[1] is None or ratio.median < worst[1].median):
                worst = (f": {load}, {connections} connections, {per_write} a write", ratio)
    return worst


def targets(found: dict[tuple[str, int], Results]) -> list[Target]:
    """Return the targets, each for a load and a number of connections."""
    echo, cross = Pair(ECHO_CLIENT, ECHO).name, Pair(ECHO_CLIENT, OURS).name
    none = Outcomes()

    def ratio(
        load: str, connections: int, mine: str, other: str, cost: bool = False
    ) -> Series | None:
        results = found.get((load, connections), {})
        return results.get(mine, none).ratio(
            results.get(other, none), "server_us" if cost else "rate"
        )

    aims = [
        target(
            f"{load}, id-echo's clients, 8 connections: our server / its server",
            bound,
            ratio(load, 8, cross, echo),
        )
        for load, bound in (("small", 1.4), ("atari", 1.15), ("40 leaves", 1.0), ("4MB", 1.0))
    ]
    cost = ratio("small", 8, cross, echo, cost=True)
    aims.append(target("small, the same: processor time per sample", 0.4, cost, at_least=False))
    for load, connections, per_write, bound in (
        ("small", 8, PER_WRITE, 5.0),
        ("small", 8, 1, 1.3),
        ("atari", 1, 1, 1.6),
        ("atari", 8, 1, 1.1),
        ("40 leaves", 8, 1, 1.1),
        ("4MB", 8, 1, 1.25),
    ):
        mine, theirs = Pair(None, OURS, per_write), Pair(None, ECHO, per_write)
        what = f"{load}, {mine.client_name}, {connections} connection{'s' * (connections > 1)}"
        aims.append(
            target(
                f"{what}: our server / its server",
                bound,
                ratio(load, connections, mine.name, theirs.name),
            )
        )
    where, lowest = _worst(found)
    aims.append(target(f"lowest of all with C{where}", 0.95, lowest))
    for what, load, pair, bound in (
        ("our client and server", "small", Pair(OUR_CLIENT, OURS), 4.0),
        ("send_batch and our server", "small", Pair(BATCHED, OURS), 25.0),
        ("our client and server", "40 leaves", Pair(OUR_CLIENT, OURS), 1.7),
        ("our client, id-echo's server", "small", Pair(OUR_CLIENT, ECHO), 1.7),
    ):
        aims.append(
            target(
                f"{load}, 1 connection, {what} / id-echo", bound, ratio(load, 1, pair.name, echo)
            )
        )
    return aims
