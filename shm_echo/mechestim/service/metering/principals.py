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
        self._seats: set[SessionHost] = set()
        self._booked: dict[str, tuple[int, int]] = {}
        self._requests = 0

    @property
    def sessions(self) -> int:
        """Sessions that it has open."""
        return len(self._seats)

    @property
    def requests(self) -> int:
        """Requests of all of its sessions so far."""
        with self._lock:
            return self._requests + sum(seat.board.requests for seat in self._seats)

    def add(self, seat: SessionHost) -> None:
        """A session of it begins."""
        with self._lock:
            self._seats.add(seat)

    def remove(self, seat: SessionHost) -> None:
        """A session of it has ended: keep what it had charged."""
        with self._lock:
            if seat not in self._seats:
                return
            self._seats.discard(seat)
            if seat.board.promised:  # killed in the middle of an operation
                self.ceiling.settle(seat.board.promised)
                seat.board.bury()
            self._requests += seat.board.requests
            _add(self._booked, seat.board)

    def tallies(self) -> dict[str, tuple[int, int]]:
        """``{operation: (FLOPs, calls)}`` of all of its sessions, the most expensive first."""
        with self._lock:
            found = dict(self._booked)
            for seat in self._seats:
                _add(found, seat.board)
        return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


class Principals:
    """All who have a ceiling, by what kind of name and which.

    Args:
        limit: FLOPs of each; None for no limit.
        most_sessions: how many sessions each may have, except those whose descriptors were given
            to the service.
    """

    def __init__(self, limit: int | None, most_sessions: int) -> None:
        self._limit = limit
        self._most_sessions = most_sessions
        self._lock = threading.Lock()
        self._known: dict[Key, Principal] = {}

    def of(self, key: Key) -> Principal:
        """The principal of that name; a new one the first time."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                kind, name = key
                label = f"{kind} {name}" if kind != GIVEN else str(name)
                found = self._known[key] = Principal(label, self._limit)
            return found

    def new(self, label: str) -> Principal:
        """One that nobody can name again."""
        return Principal(label, self._limit)

    def no_room(self, key: Key) -> str | None:
        """Why the principal may have no more sessions; None if it may."""
        found = self._known.get(key)
        if found is None or found.sessions < self._most_sessions:
            return None
        return (
            f"{found.label} has {found.sessions:,} mechestim sessions, and may have no more "
            "(max_sessions_per_user)"
        )

    def all(self) -> list[Principal]:
        """Those with a name."""
        with self._lock:
            return list(self._known.values())

    def after_fork_in_child(self) -> None:
        """Whoever had the lock is not in a forked child."""
        self._lock = threading.Lock()


def _add(books: dict[str, tuple[int, int]], board: StatsPage) -> None:
    for name, (flops, calls) in board.tallies().items():
        before = books.get(name, (0, 0))
        books[name] = before[0] + flops, before[1] + calls
