"""What a service is to the control server: the only contract between the two.

The server owns sockets, sessions and deadlines, and calls the methods below on its own thread,
one at a time. A method that takes long delays every client of that server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shm_echo.control.peer import Peer
from shm_echo.control.protocol.messages import MAX_SENTENCE, Refused

__all__ = ["Service", "ServiceRefusalError", "Session"]


class ServiceRefusalError(Exception):
    """A service raises this to say no: from ``open`` to a client, from ``request`` to a request.

    The code, the text and the fields travel to the client as they are, so they may hold nothing
    that the client should not see. A long text is cut.

    Raises:
        ValueError: the code is empty or above 64 characters, or the fields are no map.
    """

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        checked = Refused(code, message[:MAX_SENTENCE], dict(fields or {}))
        self.code = checked.code
        self.message = checked.message
        self.fields = checked.fields


@dataclass(eq=False)
class Session:
    """One client of one service, from its welcome to its end.

    Attributes:
        id: a random number that says nothing about other sessions.
        peer: the process that connected.
        holder: whose token it has shown; None where the kernel says who comes.
        service: the name of the service.
        data: whatever the service keeps with it.
        watch: the service wants to be told when the process ends although the socket has closed
            before. It may set this to False, at the latest in ``hangup``, when the session holds
            nothing that a living process could still touch.
    """

    id: int
    peer: Peer
    service: str
    data: Any = field(default=None, repr=False)
    watch: bool = True
    holder: str | None = None


class Service(Protocol):
    """What a service offers. Each session ends with exactly one of ``goodbye`` and ``died``.

    There are two exceptions. A session with ``watch`` switched off ends with the first of
    ``hangup`` and ``died``. And a control server that closes tells its clients, but no service:
    whoever closes it closes the services too.
    """

    @property
    def name(self) -> str:
        """What clients ask for in their hello."""

    def open(self, session: Session) -> dict[str, Any]:
        """Take a client in. The map is the ``info`` of its welcome. May raise Refusal."""

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """Answer a request: the result, and file descriptors to pass with it.

        The descriptors stay the service's own; they are duplicated before this returns control.
        Refusal becomes an error reply; any other exception is logged, and the client gets a
        fixed text.
        """

    # A service that may be offered to those whose process cannot be watched, holders of a token
    # among them, has an attribute more: ``allows_unwatched_peers = True``. Their sessions are never
    # watched: ``hangup`` ends them.
    #
    # A service whose sessions speak a protocol of their own after the welcome has one method more:
    #
    #     def take_over(self, session: Session, sock: socket.socket) -> None
    #
    # It is called, on the server's thread, when the welcome has been sent. The socket is the
    # service's from then on, and of the methods below none is called for that session.

    def goodbye(self, session: Session) -> None:
        """The client leaves on purpose. It gets its `closed` after this returns."""

    def hangup(self, session: Session) -> None:
        """The socket closed without goodbye, and the process still lives. ``died`` follows."""

    def died(self, session: Session, pid: int, signal: int | None) -> None:
        """The process has ended, without goodbye. Called once, with or without a hangup before."""

    def tick(self, now: float) -> None:
        """Called about four times a second, with ``time.monotonic()``."""
