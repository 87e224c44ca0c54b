"""The part of a channel that the other modules of this room use.

[`Channel`](channel.py) has it; the modules below the channel name this protocol in their types, so
that none of them imports the channel.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, Protocol


class Requester(Protocol):
    """Sends requests of a session and knows its live objects.

    Attributes:
        why_closed: The reason for which the session is over; None while it is open.
        live: A weak reference to each stand-in of a server's object, by handle.
    """

    why_closed: str | None
    live: dict[int, weakref.ref[Any]]

    def request(
        self, op: str, args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Send a request and return its result."""
        ...

    def request_descriptors(self, op: str) -> tuple[Any, list[int]]:
        """Send a request; return its result and the descriptors that came with it."""
        ...

    def free(self, handle: int, size: int) -> None:
        """Let the server free an object of `size` bytes."""
        ...

    def object(self, handle: int) -> Any:
        """Return the stand-in of the object with this handle; None if there is none."""
        ...
