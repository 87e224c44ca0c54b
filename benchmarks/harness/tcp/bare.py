"""The bound for large samples: a bare loop of send and recv between two processes.

The receiver writes into rotating rows of a region of 256 MB, as a server writes into a ring that
is larger than the cache; a loop into one hot buffer is faster, and nobody's ring can be that.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import wait
from signal import SIGSTOP, SIGTERM, SIGUSR1

from harness.children import check_alive, ended
from harness.loads import Load
from harness.report import Target, print_table, short, span
from harness.tcp import pairing, sender
from harness.tcp.ends import ECHO, OURS, ServerEnd
from harness.tcp.outcomes import Results, interleave, target
from harness.tcp.pairing import PATIENCE_S, Run, Setting, StuckError

__all__ = ["compare", "measure", "show", "streaming", "targets"]

BARE = "bare send and recv"
SHARE = 0.9


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(name: str, process: subprocess.Popen[str]) -> str:
    """Return the next line of a process.

    Raises:
        StuckError: none came.
    """
    assert process.stdout is not None
    if not wait([process.stdout.fileno()], PATIENCE_S):
        raise StuckError(f"{name} said nothing within {PATIENCE_S:g} s")
    line = process.stdout.readline()
    if not line:
        raise ended(name, process.wait())
    return line


@contextlib.contextmanager
def streaming(
    connections: int, nbytes: int, congestion: str
) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """Run the bare receiver and the bare sender."""
    with _process(sender.sink(connections, nbytes, congestion)) as receiver:
        port = int(_line("the bare receiver", receiver))
        with _process(sender.stream(port, connections, nbytes, congestion)) as source:
            try:
                yield receiver, source
            finally:  # neither is to complain about the end of the other
                source.send_signal(SIGSTOP)
                receiver.kill()


def measure(load: Load, connections: int, setting: Setting) -> Run | StuckError:
    """Return messages per second, and the receiver's processor time for each."""
    try:
        with streaming(connections, load.nbytes, setting.congestion) as (receiver, source):
            time.sleep(max(setting.warmup, 0.1))
            receiver.send_signal(SIGUSR1)
            time.sleep(setting.seconds)
            check_alive("the bare sender", source)
            source.send_signal(SIGSTOP)
            receiver.send_signal(SIGTERM)
            ns, messages, used = map(int, _line("the bare receiver", receiver).split())
    except StuckError as stuck:
        return stuck
    if not messages:
        return StuckError(f"no message within {setting.seconds:g} s")
    return Run(messages / ns * 1e9, used / messages / 1e3, 0.0)


def _with(server: ServerEnd) -> str:
    return f"C -> {server.name}"


def compare(load: Load, connections: int, setting: Setting, rounds: int) -> Results:
    """Run the sender in C with both servers and the bare loop, in turns."""
    runs: dict[str, Callable[[], Run | StuckError]] = {
        BARE: partial(measure, load, connections, setting)
    }
    for server in (OURS, ECHO):
        if server.missing() is None:
            clients = pairing.sender_in_c(connections, 1, setting)
            runs[_with(server)] = partial(pairing.measure, server, clients, load, setting)
    return interleave(runs, rounds)


def show(load: Load, connections: int, results: Results) -> None:
    """Print one table."""
    rows = []
    for name, found in results.items():
        rate, cost = found.series("rate"), found.series("server_us")
        if rate is None or cost is None:
            rows.append([name, "stuck", "", "", ""])
            continue
        ratio = found.ratio(results[BARE], "rate") if name != BARE else None
        cells = [short(rate.median), f"{rate.median * load.nbytes / 1e9:.2f}", short(cost.median)]
        rows.append([name, *cells, span(ratio) if ratio else ""])
    title = f"The bound: {load.name}, {connections} connection{'s' * (connections > 1)}"
    print_table(title, ["", "samples/s", "GB/s", "receiver us", "rate / bare"], rows)


def targets(found: dict[tuple[str, int], Results]) -> list[Target]:
    """Return one target per number of connections."""
    aims = []
    for (load, connections), results in found.items():
        ours = results.get(_with(OURS))
        ratio = None if ours is None else ours.ratio(results[BARE], "rate")
        what = f"{load}, C, {connections} connection{'s' * (connections > 1)}: our server / bare"
        aims.append(target(what, SHARE, ratio))
    return aims
