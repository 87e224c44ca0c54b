"""The access rules of one listener: which clients may connect, and which services each may open.

The server's own user may open every service at a socket file. Other users may connect if
`allow_uids` lists them, and may open the services listed for them. At a TCP port, clients need a
token. The server cannot watch a process that lives in another pid namespace or behind a port, so
such a client may open only services that declare `Service.allows_unwatched_peers`: never the ring,
whose memory a producer maps, and never a service that inspects or stops the server.

Rules only: nothing here touches a socket.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from shm_echo.control.peer import Peer, check_user, check_visible
from shm_echo.control.server.service import Service
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import PeerRefusedError
from shm_echo.validation import check_count

__all__ = ["AccessPolicy"]


class AccessPolicy:
    """The rules of one listener.

    Args:
        services: the services of the listener, by name.
        allow_uids: other users that may connect, and the names of the services that each may open.
        tokens: the tokens that clients have to show; None at a socket file, where the kernel
            reports the user.

    Attributes:
        tokens: as given.

    Raises:
        ValueError: the rules name a service that the listener does not have, or open a service to
            token holders that must watch its clients.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        allow_uids: Mapping[int, Collection[str]] | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.tokens = tokens
        self._services = tuple(services)
        self._unwatched_services = tuple(
            name
            for name, service in services.items()
            if getattr(service, "allows_unwatched_peers", False)
        )
        self._allowed: dict[int, tuple[str, ...]] = {}
        watched = [name for name in self._services if name not in self._unwatched_services]
        if tokens is not None and watched:
            raise ValueError(
                f"the service {watched[0]!r} is not for holders of a token: offer it at a Unix "
                "socket of this user"
            )
        for uid, names in (allow_uids or {}).items():
            self._allow(uid, names)

    def _allow(self, uid: int, names: Collection[str]) -> None:
        try:
            # The last number stands for "no user" in the kernel's interface.
            uid = check_count("allow_uids", uid, 0, most=2**32 - 2)
        except (TypeError, ValueError):
            raise ValueError(f"allow_uids: {uid!r} is no user id") from None
        if self.tokens is not None:
            raise ValueError(
                "allow_uids is for Unix sockets: a TCP connection does not tell the user"
            )
        if isinstance(names, str) or not names:
            raise ValueError(f"allow_uids: user {uid} needs a collection of names of services")
        for name in names:
            if name not in self._services:
                offered = ", ".join(repr(one) for one in self._services) or "none"
                raise ValueError(
                    f"allow_uids: user {uid} cannot be offered {name!r}: this listener offers "
                    f"{offered}"
                )
        self._allowed[uid] = tuple(dict.fromkeys(names))

    @property
    def allows_other_users(self) -> bool:
        """True if users other than the server's own may connect."""
        return bool(self._allowed)

    def services_for(self, peer: Peer) -> tuple[str, ...]:
        """Return the names of the services that a client may open.

        Raises:
            PeerRefusedError: the client may not connect at all.
        """
        if self.tokens is not None:
            return self._unwatched_services
        names = self._services
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
            names = tuple(name for name in names if name in self._unwatched_services)
            if not names:
                check_visible(peer, "the client")
        return names
