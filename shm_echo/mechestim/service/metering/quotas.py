"""What one session may use, and how patient its server is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Quotas"]


@dataclass(frozen=True)
class Quotas:
    """Limits of one session. Sizes are in bytes, times in seconds.

    Attributes:
        max_handles: objects that it may hold.
        max_bytes: arrays that it may hold, each base counted once.
        max_call_bytes: what one operation may take for its result and on the way to it.
        max_frame: the longest message.
        max_flops: the ceiling of its principal; None for no ceiling.
        wall_time_s: how long the session may last; None for any time.
        default_budget: FLOPs of the budget that is charged outside of any context.
        stall_s: for a message that has begun to come or to go; a long one has a second more for
            each MiB.
        busy_s: a client hears at least this often that its operation is still running.
        memory: address space of a session that is a process of its own, above what the interpreter
            takes; None for what ``max_bytes`` and ``max_call_bytes`` add up to.
    """

    max_handles: int = 1 << 20
    max_bytes: int = 4 << 30
    max_call_bytes: int = 4 << 30
    max_frame: int = 256 << 20
    max_flops: int | None = None
    wall_time_s: float | None = None
    default_budget: int = 10**15
    stall_s: float = 10.0
    busy_s: float = 5.0
    memory: int | None = None
