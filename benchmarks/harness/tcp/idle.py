"""The cost of connections that send nothing, or a single byte: memory and processor time."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

from harness.loads import Load
from harness.report import Target, print_table, short
from harness.tcp import pairing, sockets
from harness.tcp.ends import ECHO, OURS, ServerEnd
from harness.tcp.pairing import Setting, StuckError

__all__ = ["IDLE", "Found", "compare", "show", "targets"]

IDLE = 1000  # connections, by default
MOST_MB = 6.0
INGRESS_MB = 256 * 1.048576  # the default of TcpTransport(ingress_bytes=...)
PAUSE_S = 0.5  # until a server has dealt with what has arrived


@dataclass(frozen=True)
class Found:
    """The needs of a server for idle connections.

    Attributes:
        connections: the number of them.
        idle_mb: more memory than without them.
        idle_ticks: processor time in ticks of 10 ms while they are idle.
        idle_ms: the same time in milliseconds.
        alone_ms: the processor time of the same period before they were opened.
        partial_mb: more memory when each has sent one byte of a large sample.
    """

    connections: int
    idle_mb: float
    idle_ticks: int
    idle_ms: float
    alone_ms: float
    partial_mb: float


def _connect(port: int, congestion: str) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.IPPROTO_TCP, sockets.CONGESTION, congestion.encode())
    one.settimeout(pairing.PATIENCE_S)
    one.connect(("127.0.0.1", port))
    return one


def _await_greeting(one: socket.socket) -> None:
    """Wait until the server has accepted the connection."""
    if not one.recv(4096).startswith(b"ECHO"):
        raise StuckError("a connection was not greeted")


def _growth(
    server: ServerEnd, load: Load, count: int, setting: Setting, sends: bytes
) -> tuple[float, int, float, float]:
    """Return MB more, then ticks and milliseconds with the connections, milliseconds before."""
    # The connections end after the server, which prints a line for each that it finds reset.
    with contextlib.ExitStack() as stack, pairing.live(server, None, load, setting) as live:
        pid, port = live.server_pid, int(live.state.port)
        with _connect(port, setting.congestion) as first:  # it makes what all of them share
            _await_greeting(first)
        time.sleep(PAUSE_S)
        used, memory = sockets.cpu_ns(pid), sockets.resident_bytes(pid)
        time.sleep(setting.seconds)
        alone = sockets.cpu_ns(pid) - used
        opened = [stack.enter_context(_connect(port, setting.congestion)) for _ in range(count)]
        for one in opened:
            _await_greeting(one)
            one.sendall(sends)
        time.sleep(PAUSE_S)
        ticks, used = sockets.ticks(pid), sockets.cpu_ns(pid)
        time.sleep(setting.seconds)
        ticks, used = sockets.ticks(pid) - ticks, sockets.cpu_ns(pid) - used
        grown = sockets.resident_bytes(pid) - memory
    return grown / 1e6, ticks, used / 1e6, alone / 1e6


def compare(small: Load, large: Load, count: int, setting: Setting) -> dict[str, Found]:
    """Measure both servers."""
    if not sockets.raise_descriptor_limit(count + 64):
        count = 200
        print("the limit of descriptors allows 200 idle connections only")
    found = {}
    for server in (OURS, ECHO):
        if server.missing() is not None:
            continue
        try:
            idle = _growth(server, small, count, setting, b"")
            partial, *_ = _growth(server, large, count, setting, b"x")
        except (StuckError, OSError) as error:
            print(f"stuck: {server.name}: {error}")
            continue
        found[server.name] = Found(count, *idle, partial)
    return found


def show(small: Load, large: Load, found: dict[str, Found]) -> None:
    """Print one table."""
    rows = [
        [
            name,
            f"{one.idle_mb:.1f}",
            str(one.idle_ticks),
            f"{one.idle_ms:.2f}",
            f"{one.alone_ms:.2f}",
            short(one.partial_mb),
        ]
        for name, one in found.items()
    ]
    counts = {one.connections for one in found.values()}
    title = f"{max(counts, default=0):,} idle connections, samples of {small.name}"
    head = [
        "",
        "MB more",
        "ticks",
        "CPU ms",
        "CPU ms before",
        f"MB more, 1 byte of {large.name} each",
    ]
    print_table(title, head, rows)


def targets(found: dict[str, Found]) -> list[Target]:
    """Return the targets for our server."""
    ours = found.get(OURS.name)
    count = IDLE if ours is None else ours.connections
    numbers = (
        (None, None, None) if ours is None else (ours.idle_mb, ours.idle_ticks, ours.partial_mb)
    )
    return [
        Target(f"{count:,} idle connections: memory", MOST_MB, numbers[0], "MB", False),
        Target(f"{count:,} idle connections: processor time", 0, numbers[1], "ticks", False),
        Target("1 byte of 4 MB from each: memory", INGRESS_MB, numbers[2], "MB", False),
    ]
