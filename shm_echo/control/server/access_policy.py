"""Who is let in at one listener, and what is offered to whom. Rules only: no sockets.

A socket file is for the server's own user, who is offered all services of the listener, and for
other users that were allowed by name, service by service. A port is for holders of a token. What
is offered to those whom the server's process cannot watch (in another pid namespace, or behind a
port) are the services that need no watching and that say so (``Service.allows_unwatched_peers``):
never the ring, whose memory a producer maps, and never what looks into the server or stops it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from shm_echo.control.peer import Peer, check_user, check_visible
from shm_echo.control.server.service import Service
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import PeerRefusedError

__all__ = ["AccessPolicy"]


class AccessPolicy:
    """The rules of one listener.

    Args:
        services: what is offered there, by name.
        allow_uids: other users that may come, and the names of what is offered to each.
        tokens: who has to show one of these; None where the kernel says who comes.

    Attributes:
        tokens: as given.

    Raises:
        ValueError: the rules cannot be: they name a service that is not offered here, or offer one
            to strangers that is not for them.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        allow_uids: Mapping[int, Collection[str]] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.tokens = tokens
        self._all = tuple(services)
        self._of_strangers = tuple(
            name
            for name, service in services.items()
            if getattr(service, "allows_unwatched_peers", False)
        )
        self._allowed: dict[int, tuple[str, ...]] = {}
        closed = [name for name in self._all if name not in self._of_strangers]
        if tokens is not None and closed:
            raise ValueError(
                f"the service {closed[0]!r} is not for holders of a token: offer it at a Unix "
                "socket of this user"
            )
        for uid, names in (allow_uids or {}).items():
            self._allow(uid, names)

    def _allow(self, uid: int, names: Collection[str]) -> None:
        if type(uid) is not int or not 0 <= uid < 2**32 - 1:
            raise ValueError(f"allow_uids: {uid!r} is no user id")
        if self.tokens is not None:
            raise ValueError("allow_uids is for Unix sockets: over TCP nobody knows the user")
        if isinstance(names, str) or not names:
            raise ValueError(f"allow_uids: user {uid} needs a collection of names of services")
        for name in names:
            if name not in self._all:
                offered = ", ".join(repr(one) for one in self._all) or "none"
                raise ValueError(
                    f"allow_uids: user {uid} cannot be offered {name!r}: this listener offers "
                    f"{offered}"
                )
        self._allowed[uid] = tuple(dict.fromkeys(names))

    @property
    def others(self) -> bool:
        """Other users than the server's may come."""
        return bool(self._allowed)

    def offered_to(self, peer: Peer) -> tuple[str, ...]:
        """The names of what a client may ask for.

        Raises:
            PeerRefusedError: it may not come at all.
        """
        if self.tokens is not None:
            return self._of_strangers
        names = self._all
        if peer.uid != os.geteuid():
            if not self._allowed:
                check_user(peer, "the client")
            elif peer.uid not in self._allowed:
                raise PeerRefusedError(
                    f"the client runs as user {peer.uid}, who was not allowed (--allow-uid, "
                    "allow_uids)"
                )
            names = self._allowed[peer.uid]
        if peer.pid == 0:
            names = tuple(name for name in names if name in self._of_strangers)
            if not names:
                check_visible(peer, "the client")
        return names
