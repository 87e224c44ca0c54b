"""Who spends: one ceiling and one set of books for each principal, whatever sessions it opens."""

from __future__ import annotations

import threading

from shm_echo.mechestim.service.board import Board
from shm_echo.mechestim.service.ceiling import Ceiling
from shm_echo.mechestim.service.seats import Seat

__all__ = ["Principal"]


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
        self._seats: set[Seat] = set()
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

    def add(self, seat: Seat) -> None:
        """A session of it begins."""
        with self._lock:
            self._seats.add(seat)

    def remove(self, seat: Seat) -> None:
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


def _add(books: dict[str, tuple[int, int]], board: Board) -> None:
    for name, (flops, calls) in board.tallies().items():
        before = books.get(name, (0, 0))
        books[name] = before[0] + flops, before[1] + calls
