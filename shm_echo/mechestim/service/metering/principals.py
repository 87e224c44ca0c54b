"""The parties that FLOPs are billed to: one ceiling and one set of counts per principal."""

from __future__ import annotations

import threading

from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.stats_page import StatsPage

__all__ = ["GIVEN", "Key", "Principal", "Principals"]

GIVEN = "given"  # the kind of a name that the caller of `MechEstimService.adopt` chooses

Key = tuple[str, str | int]  # (kind of the name, name): ("user", 1000) or ("token", "alice")


class Principal:
    """A user, a token's holder or a descriptor that sessions are billed to.

    Attributes:
        label: A name for people to read: `"user 1000"`.
        ceiling: The FLOPs that all its sessions may spend together.
    """

    def __init__(self, label: str, limit: int | None) -> None:
        self.label = label
        self.ceiling = Ceiling(limit)
        self._lock = threading.Lock()
        self._open: set[StatsPage] = set()
        self._ended_tallies: dict[str, tuple[int, int]] = {}
        self._ended_requests = 0

    @property
    def sessions(self) -> int:
        """The number of its open sessions."""
        return len(self._open)

    @property
    def requests(self) -> int:
        """The number of requests of all its sessions so far."""
        with self._lock:
            return self._ended_requests + sum(stats.requests for stats in self._open)

    def add(self, stats: StatsPage) -> None:
        """Count a session that begins."""
        with self._lock:
            self._open.add(stats)

    def remove(self, stats: StatsPage) -> None:
        """Stop counting a session that has ended, and keep its totals. Idempotent."""
        with self._lock:
            if stats not in self._open:
                return
            self._open.discard(stats)
            if stats.reserved:  # killed in the middle of an operation, which stays charged
                self.ceiling.commit(stats.reserved)
                stats.mark_killed()
            self._ended_requests += stats.requests
            _add_tallies(self._ended_tallies, stats)

    def tallies(self) -> dict[str, tuple[int, int]]:
        """Return `{operation: (FLOPs, calls)}` of all its sessions, the most expensive first."""
        with self._lock:
            total = dict(self._ended_tallies)
            for stats in self._open:
                _add_tallies(total, stats)
        return dict(sorted(total.items(), key=lambda item: (-item[1][0], item[0])))


class Principals:
    """The principals of one service, by their keys.

    Args:
        limit: The FLOPs of each principal; None for no limit.
        max_sessions: The number of sessions that each principal may have at once. It does not
            apply to descriptors that were given to the service.
    """

    def __init__(self, limit: int | None, max_sessions: int) -> None:
        self._limit = limit
        self._max_sessions = max_sessions
        self._lock = threading.Lock()
        self._by_key: dict[Key, Principal] = {}

    def get(self, key: Key) -> Principal:
        """Return the principal with this key; create it the first time."""
        with self._lock:
            found = self._by_key.get(key)
            if found is None:
                kind, name = key
                label = f"{kind} {name}" if kind != GIVEN else str(name)
                found = self._by_key[key] = Principal(label, self._limit)
            return found

    def create_unnamed(self, label: str) -> Principal:
        """Create a principal without a key: no later session can be billed to it by name."""
        return Principal(label, self._limit)

    def refusal_reason(self, key: Key) -> str | None:
        """Return why the principal may open no further session; None if it may."""
        found = self._by_key.get(key)
        if found is None or found.sessions < self._max_sessions:
            return None
        return (
            f"{found.label} has {found.sessions:,} mechestim sessions, and may have no more "
            "(max_sessions_per_user)"
        )

    def named(self) -> list[Principal]:
        """Return the principals that have a key."""
        with self._lock:
            return list(self._by_key.values())

    def after_fork_in_child(self) -> None:
        """Replace the lock: a thread that the child does not have may hold it."""
        self._lock = threading.Lock()


def _add_tallies(total: dict[str, tuple[int, int]], stats: StatsPage) -> None:
    for name, (flops, calls) in stats.tallies().items():
        before = total.get(name, (0, 0))
        total[name] = before[0] + flops, before[1] + calls
