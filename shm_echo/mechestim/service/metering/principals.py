"""Who spends: one ceiling and one set of books for each principal, whatever sessions it opens."""

from __future__ import annotations

import threading

from shm_echo.mechestim.service.hosting.session_hosts import SessionHost
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.stats_page import StatsPage

__all__ = ["GIVEN", "Key", "Principal", "Principals"]

GIVEN = "given"  # by whoever gave the service a descriptor

Key = tuple[str, str | int]  # the kind of name, and the name


class Principal:
    """A user, a descriptor, or whatever else sessions are booked to.

    Attributes:
        label: for people to read: ``"user 1000"``.
        ceiling: what all of its sessions may spend together.
    """

    def __init__(self, label: str, limit: int | None) -> None:
        self.label = label
        self.ceiling = Ceiling(limit)
        self._lock = threading.Lock()
        self._hosts: set[SessionHost] = set()
        self._ended_tallies: dict[str, tuple[int, int]] = {}
        self._requests = 0

    @property
    def sessions(self) -> int:
        """Sessions that it has open."""
        return len(self._hosts)

    @property
    def requests(self) -> int:
        """Requests of all of its sessions so far."""
        with self._lock:
            return self._requests + sum(host.stats.requests for host in self._hosts)

    def add(self, host: SessionHost) -> None:
        """A session of it begins."""
        with self._lock:
            self._hosts.add(host)

    def remove(self, host: SessionHost) -> None:
        """A session of it has ended: keep what it had charged."""
        with self._lock:
            if host not in self._hosts:
                return
            self._hosts.discard(host)
            if host.stats.reserved:  # killed in the middle of an operation
                self.ceiling.commit(host.stats.reserved)
                host.stats.mark_killed()
            self._requests += host.stats.requests
            _add_tallies(self._ended_tallies, host.stats)

    def tallies(self) -> dict[str, tuple[int, int]]:
        """``{operation: (FLOPs, calls)}`` of all of its sessions, the most expensive first."""
        with self._lock:
            found = dict(self._ended_tallies)
            for host in self._hosts:
                _add_tallies(found, host.stats)
        return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


class Principals:
    """All who have a ceiling, by what kind of name and which.

    Args:
        limit: FLOPs of each; None for no limit.
        max_sessions: how many sessions each may have, except those whose descriptors were given
            to the service.
    """

    def __init__(self, limit: int | None, max_sessions: int) -> None:
        self._limit = limit
        self._max_sessions = max_sessions
        self._lock = threading.Lock()
        self._by_key: dict[Key, Principal] = {}

    def get(self, key: Key) -> Principal:
        """The principal of that name; a new one the first time."""
        with self._lock:
            found = self._by_key.get(key)
            if found is None:
                kind, name = key
                label = f"{kind} {name}" if kind != GIVEN else str(name)
                found = self._by_key[key] = Principal(label, self._limit)
            return found

    def create_unnamed(self, label: str) -> Principal:
        """One that nobody can name again."""
        return Principal(label, self._limit)

    def refusal_reason(self, key: Key) -> str | None:
        """Why the principal may have no more sessions; None if it may."""
        found = self._by_key.get(key)
        if found is None or found.sessions < self._max_sessions:
            return None
        return (
            f"{found.label} has {found.sessions:,} mechestim sessions, and may have no more "
            "(max_sessions_per_user)"
        )

    def named(self) -> list[Principal]:
        """Those with a name."""
        with self._lock:
            return list(self._by_key.values())

    def after_fork_in_child(self) -> None:
        """Whoever had the lock is not in a forked child."""
        self._lock = threading.Lock()


def _add_tallies(books: dict[str, tuple[int, int]], stats: StatsPage) -> None:
    for name, (flops, calls) in stats.tallies().items():
        before = books.get(name, (0, 0))
        books[name] = before[0] + flops, before[1] + calls
