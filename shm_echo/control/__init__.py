"""The control plane: small messages over a socket between a server and its clients.

Lowest first:

- `address`, `peer`, `descriptors`, `fork_safety`: leaves that both ends use;
- `protocol`: the protocol without I/O: frames, codec, messages, transition table, endpoint and
  handshake;
- `client`: connects to a server's socket, sends requests, waits for replies;
- `server`: listeners, connections, sessions and the event loop that drives them.

`client` and `server` do not import each other. Programs register services with a `ControlServer`,
which knows nothing about their requests. The names below load when they are first used, so that the
protocol alone can run without the `socket` module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shm_echo.control.client.client_connection import ClientConnection, connect
    from shm_echo.control.server.control_server import ControlServer
    from shm_echo.control.server.service import Service, ServiceRefusalError, Session
    from shm_echo.control.server.tokens import Tokens

_HOMES = {
    "ClientConnection": "client.client_connection",
    "ControlServer": "server.control_server",
    "Service": "server.service",
    "ServiceRefusalError": "server.service",
    "Session": "server.service",
    "Tokens": "server.tokens",
    "connect": "client.client_connection",
}

__all__ = [
    "ClientConnection",
    "ControlServer",
    "Service",
    "ServiceRefusalError",
    "Session",
    "Tokens",
    "connect",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
