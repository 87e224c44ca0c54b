"""The server side of mechestim: it owns the arrays of its clients and counts their FLOPs.

Rooms, lowest first: `metering` (quotas and counts), `scheduling` (which thread works now),
`objects` (what a session owns), `operations` (what a client may ask for), `session` (one client),
`hosting` (where a session runs). `server` ties them together; `status` answers `shm-echo status`.

The names below load when they are first used.
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
