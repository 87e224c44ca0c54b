"""The connector of a TCP port: the addresses that lead to it, from this host and from others."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Literal

from shm_echo.transports.connector import Connector
from shm_echo.transports.entrances import is_wildcard, tcp_entrance
from shm_echo.transports.host_facts import own_addresses, this_host

__all__ = ["connector_of_port"]


def connector_of_port(
    host: str,
    port: int,
    advertise: Sequence[str] | None,
    *,
    wire: Literal["echo", "shm"],
    tls: bool,
    run_id: str | None,
) -> Connector:
    """Return the connector of a port; `tcp_entrance` has the arguments."""
    here = this_host()
    entrance = tcp_entrance(
        host,
        port,
        advertise,
        wire=wire,
        tls=tls,
        host_name=here.name,
        own=own_addresses(reachable=True) if is_wildcard(host) else (),
        resolved=_resolve(host),
    )
    return Connector(None, run_id, (entrance,), here)


def _resolve(host: str) -> list[str]:
    """Return the addresses of a name that this host listens at; none if it is no name."""
    try:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, 0)]
    except (OSError, UnicodeError):
        return []
