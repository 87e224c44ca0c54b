"""The contract between the control server and the services that it offers.

The server owns sockets, sessions and deadlines. It calls the methods of a `Service` on its own
thread, one at a time, so a method that takes long delays every client of that server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shm_echo.control.peer import Peer
from shm_echo.control.protocol.messages import MAX_TEXT, Refused

__all__ = ["Service", "ServiceRefusalError", "Session"]


class ServiceRefusalError(Exception):
    """Raised by a service to refuse a client (from `open`) or a request (from `request`).

    The code, the text and the fields travel to the client as they are, so they may hold nothing
    that the client should not see. A text of more than 2,000 characters is cut.

    Raises:
        ValueError: the code is empty or above 64 characters, or the fields are not a map.

    Example:
        >>> ServiceRefusalError("full", "the ring has no owner id left", {"producers": 64}).code
        'full'
    """

    def __init__(self, code: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        checked = Refused(code, message[:MAX_TEXT], dict(fields or {}))
        self.code = checked.code
        self.message = checked.message
        self.fields = checked.fields


@dataclass(eq=False)
class Session:
    """One client of one service, from its welcome to its end.

    Attributes:
        id: a random number that says nothing about other sessions.
        peer: the process that connected.
        service: the name of the service.
        data: the service's own data about the session.
        watch: True if the session outlives its socket, and ends when its process does. The service
            may set this to False, at the latest in `hangup`, once the session holds nothing that a
            living process could still touch.
        holder: the name of the token's holder; None at a socket file, where the kernel reports the
            user.
    """

    id: int
    peer: Peer
    service: str
    data: Any = field(default=None, repr=False)
    watch: bool = True
    holder: str | None = None


class Service(Protocol):
    """The methods that the server calls. Each session ends with one call: `goodbye` or `died`.

    There are two exceptions. A session whose `watch` is False ends with the first of `hangup` and
    `died`. And a control server that closes notifies its clients but no service: the program that
    closes it closes the services too.

    Two members are optional. A service sets `allows_unwatched_peers = True` if clients may open it
    whose process cannot be watched, holders of a token among them. Their sessions have `watch`
    False, and `hangup` ends them. A service whose sessions speak another protocol after the welcome
    has a method

        def take_over(self, session: Session, sock: socket.socket) -> None

    The server calls it on its thread when the welcome has been sent. From then on the socket
    belongs to the service, and none of the methods below is called for that session.
    """

    @property
    def name(self) -> str:
        """The name that clients ask for in their hello."""

    def open(self, session: Session) -> dict[str, Any]:
        """Open a session, and return the `info` of its welcome.

        Raises:
            ServiceRefusalError: the service refuses the client.
        """

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """Answer a request with the result, and the file descriptors to pass with it.

        The descriptors stay the service's own: the server duplicates them at once. A
        `ServiceRefusalError` becomes an error reply. Any other exception is logged, and the client
        gets a fixed text.
        """

    def goodbye(self, session: Session) -> None:
        """End a session whose client said goodbye. The client gets `closed` after this returns."""

    def hangup(self, session: Session) -> None:
        """Note that the socket closed without a goodbye while the process lives on.

        `died` follows when the process ends, unless `watch` is False: then this ends the session.
        """

    def died(self, session: Session, pid: int, signal: int | None) -> None:
        """End a session whose process ended without a goodbye.

        Args:
            session: the session; `hangup` may have been called for it before.
            pid: the process.
            signal: the signal that killed the process; None if it exited, or if the kernel does
                not tell.
        """

    def tick(self, now: float) -> None:
        """Do periodic work. Called about four times a second, with `time.monotonic()`."""
