"""Two processes in turn, over the same futex event counts that the ring sleeps on.

The reply that paces every latency contender, and by itself the bare round trip that the ring's
latency is measured against.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

from harness.processes import context, producers
from shm_echo.ring.core import ffi, lib

__all__ = ["Reply", "round_trips"]

_WAIT_NS = 100_000_000


class Reply:
    """One event count in shared memory: one side waits, the other signals.

    Args:
        memory: a one-word ctypes array from `make`, which can travel to a process.
    """

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self._count = ffi.cast("she_event_count *", ctypes.addressof(memory))

    @staticmethod
    def make() -> Any:
        """Return the shared word."""
        return context().RawArray(ctypes.c_uint32, 1)

    def ticket(self) -> int:
        """Return the current count; call it before the action that the other side answers."""
        return int(lib.she_ec_ticket(self._count))

    def wait(self, ticket: int) -> None:
        """Sleep until a signal that came after the ticket was read."""
        while True:
            lib.she_ec_wait(self._count, ticket, _WAIT_NS)
            if lib.she_ec_ticket(self._count) >> 1 != ticket >> 1:  # bit 0: a process sleeps
                return

    def signal(self) -> None:
        """Wake the waiting process."""
        lib.she_ec_signal(self._count)


def round_trips(count: int) -> list[int]:
    """Nanoseconds of `count` round trips: signal the other process, sleep, be woken by it."""
    ping_memory, pong_memory = Reply.make(), Reply.make()
    ping, pong = Reply(ping_memory), Reply(pong_memory)
    times = []
    up = pong.ticket()
    with producers("a bare round trip", _echo, 1, ping_memory, pong_memory) as stop:
        pong.wait(up)
        for _ in range(count):
            ticket = pong.ticket()
            start = time.perf_counter_ns()
            ping.signal()
            pong.wait(ticket)
            times.append(time.perf_counter_ns() - start)
        stop.value = True
        ping.signal()
    return times


def _echo(stop: Any, _index: int, ping_memory: Any, pong_memory: Any) -> None:
    ping, pong = Reply(ping_memory), Reply(pong_memory)
    ticket = ping.ticket()
    while not stop.value:
        pong.signal()
        ping.wait(ticket)
        ticket = ping.ticket()
