"""The server side of mechestim: it owns the arrays of its clients and counts their FLOPs.

Its packages, lowest first; each one imports only those before it:

- `scheduling`: the thread that works now, and the operations that run at once.
- `metering`: quotas, budgets and counts of FLOPs. Charging a long operation acquires a long slot of
  the scheduler.
- `objects`: the objects that a session owns, and their form on the wire.
- `operations`: the requests that a client may make.
- `session`: one client and its requests.
- `hosting`: the threads or processes that sessions run on.

The module `server` ties them together, and `status` answers `shm-echo status`. The names below load
when they are first used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shm_echo.mechestim.service.metering.quotas import Quotas
    from shm_echo.mechestim.service.server import MechEstimService

_HOMES = {"MechEstimService": "server", "Quotas": "metering.quotas"}

__all__ = ["MechEstimService", "Quotas"]


def __getattr__(name: str) -> Any:
    if name == "MechestimService":  # the spelling of 0.1
        warnings.warn(
            "MechestimService is now spelled MechEstimService", DeprecationWarning, stacklevel=2
        )
        name = "MechEstimService"
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
