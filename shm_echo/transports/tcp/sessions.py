"""The sessions of a shm wire's clients: how many samples of each the server has queued.

A client that loses its connection comes again with the same session, is told the count, and sends
only what is missing. So each sample arrives exactly once while the server lives. The count is known
only when the old connection has ended, so a client that comes before that waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

__all__ = ["MAX_ENDED", "Key", "NativeConnections", "Session", "Sessions"]

# Sessions without a connection whose counts are kept; the oldest ones are forgotten first.
MAX_ENDED = 1 << 16

# The holder of the token that a session was opened with, None without tokens, and the session's 16
# bytes. Nobody can take over a session that was opened with another token.
Key = tuple[str | None, bytes]


class NativeConnections(Protocol):
    """The calls of the C ingress that a listener of the shm wire needs (`native_ingress`)."""

    def adopt(
        self,
        fd: int,
        queued_before: int = 0,
        *,
        peer: str,
        position_before: int = 0,
        producer_id: str | None = None,
        way: str | None = None,
        holder: str | None = None,
        lost: Callable[[], bool] | None = None,
        on_end: Callable[[Any], None] | None = None,
    ) -> int:
        """Take over a connection, and return its number. On an error the descriptor stays here."""

    def kick(self, connection: int) -> bool:
        """End a connection as soon as its whole samples are in the ring."""

    def taken(self, connection: int, count: int) -> bool:
        """Return True if the learner has the first `count` samples of the connection's session.

        It answers for connections that have ended, too.
        """

    def set_waiting(self, connection: int, waiting: bool) -> None:
        """Note that a producer waits until its samples are taken, or no more."""

    def taken_ticket(self) -> int:
        """Return a ticket for `taken_wait`."""

    def taken_wait(self, ticket: int, seconds: float) -> None:
        """Wait until the learner has taken a batch since the ticket, or `seconds`."""


@dataclass(frozen=True)
class Session:
    """One client, over all of its connections.

    Attributes:
        connection: the number of the last connection; None before the first.
        is_open: True until the end of that connection.
        queued: samples queued by the connections that have ended.
        position: 1 + the position in the ring of the last of these; 0 without one.
    """

    connection: int | None = None
    is_open: bool = False
    queued: int = 0
    position: int = 0


_NEW = Session()


class Sessions:
    """The sessions of one listener. Every method may be called from any thread.

    Args:
        native: the connections of the C ingress.
    """

    def __init__(self, native: NativeConnections) -> None:
        self._native = native
        self._lock = threading.Lock()
        self._open: dict[Key, Session] = {}
        self._ended: OrderedDict[Key, Session] = OrderedDict()

    def find(self, key: Key) -> Session:
        """Return a session; an unknown one is new."""
        with self._lock:
            return self._open.get(key) or self._ended.get(key) or _NEW

    def begin(self, key: Key, connection: int) -> None:
        """Note the connection of a new session, or the next one of a session that has none."""
        with self._lock:
            session = self._ended.pop(key, _NEW)
            self._open[key] = replace(session, connection=connection, is_open=True)

    def end(self, key: Key, connection: int, queued: int, position: int) -> None:
        """Note that a connection has ended.

        Args:
            key: the session.
            connection: the connection's number.
            queued: all samples of the session that were queued.
            position: 1 + the position in the ring of the last of these; 0 without one.
        """
        with self._lock:
            session = self._open.get(key, _NEW)
            if session.connection != connection:
                return
            del self._open[key]
            if not queued:
                return  # as if it had never come: strangers must not push others out
            self._ended[key] = Session(connection, False, queued, position)
            while len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)

    def taken(self, key: Key, count: int) -> bool:
        """Return True if the learner has been handed the first `count` samples of a session."""
        session = self.find(key)
        if count == 0:
            return True
        if session.connection is None or not (session.is_open or count <= session.queued):
            return False  # it counts samples that the server does not have
        return self._native.taken(session.connection, count)
