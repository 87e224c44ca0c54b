"""The limits of one session, and the patience of its server."""

from __future__ import annotations

from dataclasses import dataclass

from shm_echo.validation import check_count

__all__ = ["Quotas"]


@dataclass(frozen=True)
class Quotas:
    """Limits of one session. Sizes are in bytes, times in seconds.

    Attributes:
        max_handles: The number of objects that it may hold.
        max_bytes: The size of the arrays that it may hold; each base counts once.
        max_call_bytes: The memory that one operation may use, for its result and for scratch.
        max_frame: The length of the longest message.
        max_flops: The FLOPs that all sessions of one principal may spend; None for no limit.
        wall_time_s: The duration of the session; None for no limit.
        default_budget: The FLOPs of the budget that is charged outside of any context.
        stall_s: The time that a message may take once it has begun to arrive or to leave. A long
            message has one second more for each MiB.
        busy_s: The interval at which the server reports to a waiting client that its operation is
            still running.
        memory: The address space of a session in a process of its own, beyond the interpreter's;
            None for the sum of `max_bytes` and `max_call_bytes`.

    Example:
        >>> Quotas(max_flops=10**9, wall_time_s=60.0).max_handles
        1048576
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

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None:
                # The way around the frozen class that its own __init__ takes.
                object.__setattr__(self, name, check_count(name, value, 0, most=None))


# NumPy's integers have no form in messages, so all counts become plain ones.
_COUNTS = (
    *("max_handles", "max_bytes", "max_call_bytes", "max_frame", "max_flops", "default_budget"),
    "memory",
)
