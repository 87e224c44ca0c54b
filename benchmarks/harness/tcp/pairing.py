"""One server and its clients, each in a process of its own, under a watchdog.

The learner's thread in the server's process counts batches in shared memory, and the benchmark
looks at that count, at the clock and at the processor time of all processes. Where no batch comes
for some seconds, the run is stuck: it is reported, and counts in no average.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.loads import NUM_BUFFERS, Load
from harness.processes import Program, context, running
from harness.tcp import children, sender
from harness.tcp.children import MOST_PROCESSES, State
from harness.tcp.ends import ClientEnd, ServerEnd
from harness.tcp.sockets import cpu_ns

__all__ = [
    "Clients",
    "Live",
    "Run",
    "Setting",
    "StuckError",
    "in_python",
    "live",
    "measure",
    "sender_in_c",
]

PATIENCE_S = 10.0  # without a batch, after which a run is stuck
SLICE_S = 0.0005


class StuckError(Exception):
    """A server stopped taking samples, or a process did not come up."""


@dataclass(frozen=True)
class Setting:
    """The settings that all runs have in common.

    Attributes:
        congestion: the algorithm of all sockets.
        seconds: measured.
        warmup: before that.
        processes: of clients in Python, at the most; each opens its share of the connections.
    """

    congestion: str
    seconds: float
    warmup: float
    processes: int


@dataclass(frozen=True)
class Run:
    """The results of one run.

    Attributes:
        rate: samples per second at the learner.
        server_us: processor time of the server's process per sample, its learner included.
        client_us: processor time of all clients per sample.
    """

    rate: float
    server_us: float
    client_us: float


@dataclass(frozen=True)
class Clients:
    """Programs that send, by the name that an error gives them.

    Attributes:
        programs: gets the shared state and returns the programs.
        processes: the number of programs.
        in_c: True if they never look at the stop flag.
    """

    programs: Callable[[Any], Mapping[str, Program]]
    processes: int
    in_c: bool = False


def in_python(end: ClientEnd, load: Load, connections: int, setting: Setting) -> Clients:
    """Return the processes that share so many connections."""
    count = min(connections, setting.processes, MOST_PROCESSES)

    def programs(state: Any) -> dict[str, Program]:
        found: dict[str, Program] = {}
        for index in range(count):
            share = len(range(index, connections, count))
            arguments = (index, end, load, share, setting.congestion, state)
            found[f"client {index} of {end.name}"] = (children.connect_and_send, arguments)
        return found

    return Clients(programs, count)


def sender_in_c(connections: int, per_write: int, setting: Setting, rate: int = 0) -> Clients:
    """Return the sender in C. `rate` is over all connections; 0 does not hold it."""
    command = sender.send(connections, per_write, rate, setting.congestion)

    def programs(state: Any) -> dict[str, Program]:
        return {"the sender in C": (children.become_sender, (0, command, state))}

    return Clients(programs, 1, in_c=True)


class Live:
    """A running pairing."""

    def __init__(self, state: Any, load: Load, processes: int) -> None:
        self.state = state
        self._load = load
        self._processes = processes

    @property
    def server_pid(self) -> int:
        return int(self.state.server_pid)

    @property
    def client_pids(self) -> list[int]:
        return [int(pid) for pid in self.state.client_pids[: self._processes]]

    def wait(self, is_there: Callable[[], bool], what: str, patience: float = PATIENCE_S) -> None:
        """Wait until the processes have come so far.

        Raises:
            StuckError: they have not within `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while not is_there():
            if time.monotonic() > deadline:
                raise StuckError(f"{what} within {patience:g} s")
            time.sleep(SLICE_S)

    def wait_connected(self) -> None:
        """Wait for the server and all client processes."""
        state = self.state
        self.wait(lambda: bool(state.port), "the server did not listen")
        connected = state.connected
        self.wait(
            lambda: sum(connected[: self._processes]) == self._processes,
            "the clients did not connect",
            3 * PATIENCE_S,
        )

    def wait_batches(self, more: int) -> None:
        """Wait until the learner has taken so many more batches."""
        for _ in range(more):  # each of them may take the whole patience
            before = self.state.batches
            self.wait(
                lambda before=before: self.state.batches > before,  # type: ignore[misc]
                f"after {before * self._load.batch_size:,} samples no batch",
            )

    def _look(self) -> tuple[int, int, int, int]:
        """Return batches, the clock at the last, and the processor times, right after a batch."""
        self.wait_batches(1)
        state = self.state
        while True:
            batches, at = state.batches, state.at_ns
            if state.batches == batches:
                break
        clients = sum(cpu_ns(pid) for pid in self.client_pids)
        return batches, at, cpu_ns(self.server_pid), clients

    def window(self, seconds: float) -> Run:
        """Measure for so long.

        Raises:
            StuckError: no batch came for some seconds.
        """
        before = self._look()
        time.sleep(seconds)
        after = self._look()
        batches, ns, server, clients = (b - a for a, b in zip(before, after, strict=True))
        samples = batches * self._load.batch_size
        return Run(samples / ns * 1e9, server / samples / 1e3, clients / samples / 1e3)


@contextlib.contextmanager
def live(
    server: ServerEnd,
    clients: Clients | None,
    load: Load,
    setting: Setting,
    *,
    computes: bool = False,
) -> Iterator[Live]:
    """Start a server and its clients; end them, the clients first, on leaving."""
    state = context().RawValue(State)
    closing = context().Semaphore(0)
    arguments = (0, server, load, setting.congestion, state, closing, computes)
    programs: dict[str, Program] = {f"the server of {server.name}": (children.serve, arguments)}
    if clients is not None:
        programs |= clients.programs(state)
    pairing = Live(state, load, clients.processes if clients is not None else 0)
    with running(programs) as stop:
        try:
            pairing.wait_connected()
            yield pairing
        finally:
            halted = list(filter(None, pairing.client_pids)) if clients and clients.in_c else []
            _signal(halted, signal.SIGSTOP)  # it would complain about the server that closes
            closing.release()
            with contextlib.suppress(StuckError):
                pairing.wait(lambda: not state.port, "the server did not close", 1.0)
            stop.value = True
            _signal(halted, signal.SIGKILL)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def measure(server: ServerEnd, clients: Clients, load: Load, setting: Setting) -> Run | StuckError:
    """Start a pairing, let it warm up, and measure it."""
    try:
        with live(server, clients, load, setting) as pairing:
            pairing.wait_batches(2 * NUM_BUFFERS)  # all of the ring has been used
            time.sleep(setting.warmup)
            return pairing.window(setting.seconds)
    except StuckError as stuck:
        return stuck
