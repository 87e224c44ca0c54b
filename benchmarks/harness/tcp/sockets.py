"""Congestion control and processor time of whole processes, for libraries that show neither.

A socket that began with BBR keeps BBR's pacing, even after another algorithm has been chosen, and
pacing halves what loopback moves. So the algorithm is set before `connect` and `listen`, on both
ends and for every contender.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

__all__ = [
    "available_congestion",
    "cpu_ns",
    "raise_descriptor_limit",
    "resident_bytes",
    "set_at_connect",
    "set_at_listeners",
    "ticks",
]

CONGESTION = socket.TCP_CONGESTION
PREFERRED = ("cubic", "reno")


def available_congestion() -> str:
    """Return the first of cubic and reno that this process may choose.

    Raises:
        SystemExit: neither is allowed.
    """
    for name in PREFERRED:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.IPPROTO_TCP, CONGESTION, name.encode())
            return name
    raise SystemExit(f"this process may choose none of {', '.join(PREFERRED)} as TCP_CONGESTION")


def set_at_connect(congestion: str) -> None:
    """Make every TCP socket that this process connects from now on use the algorithm."""
    plain = socket.socket

    class Tuned(plain):  # type: ignore[misc, valid-type]
        def connect(self, address: Any, /) -> None:
            self._tune()
            super().connect(address)

        def connect_ex(self, address: Any, /) -> int:
            self._tune()
            return int(super().connect_ex(address))

        def _tune(self) -> None:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                self.setsockopt(socket.IPPROTO_TCP, CONGESTION, congestion.encode())

    socket.socket = Tuned  # type: ignore[misc]


def set_at_listeners(congestion: str) -> None:
    """Make every TCP socket that listens in this process use it; accepted sockets inherit it."""
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # not a socket, or the descriptor of this listing
            if not os.readlink(f"/proc/self/fd/{entry}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry))) as same:
                listens = same.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and same.family in (socket.AF_INET, socket.AF_INET6):
                    same.setsockopt(socket.IPPROTO_TCP, CONGESTION, congestion.encode())


def cpu_ns(pid: int) -> int:
    """Return the processor time that a process has used, all its threads together.

    /proc/PID/stat counts ticks of 10 ms; the clock of the process counts nanoseconds.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)  # as clock_getcpuclockid(3) computes it


def ticks(pid: int) -> int:
    """Return the processor time in the ticks of the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident_bytes(pid: int) -> int:
    """Return the memory of a process that is resident, without pages of files."""
    kib = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            kib += int(line.split()[1])
    return kib * 1024


def raise_descriptor_limit(wanted: int) -> bool:
    """Allow this process `wanted` descriptors; return False if that is not permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return True
    if hard < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True
