"""The ``status`` service: what a mechestim service is doing, for whoever may ask.

Only listeners that name it offer it; a participant on an inherited descriptor cannot reach it. What
it tells are counts: no names of arrays, no contents.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from shm_echo import __version__
from shm_echo.control.server.service import ServiceRefusalError
from shm_echo.control.server.service import Session as ControlSession
from shm_echo.mechestim.service.hosting.session_hosts import SessionHost
from shm_echo.mechestim.service.metering.principals import Principal
from shm_echo.mechestim.service.server import MechEstimService

__all__ = ["StatusService"]

_MOST_ROWS = 500  # an answer is one message
_MOST_OPERATIONS = 10


class StatusService:
    """Answers the request ``read`` with the state of a mechestim service.

    Args:
        service: the one to tell about.
    """

    name = "status"

    def __init__(self, service: MechEstimService) -> None:
        self._service = service
        self._started = time.monotonic()

    def open(self, session: ControlSession) -> dict[str, Any]:
        """Everybody who may connect here may ask."""
        session.watch = False
        return {}

    def request(
        self, session: ControlSession, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """The state now."""
        if op != "read":
            raise ServiceRefusalError(
                "unknown_op", f"the status service has no request {op[:64]!r}"
            )
        return self.state(), ()

    def state(self) -> dict[str, Any]:
        """What ``shm-echo status`` prints."""
        service = self._service
        hosts = service.hosts()
        rows = [
            _session_row(host, principal) for host, principal in list(hosts.items())[:_MOST_ROWS]
        ]
        return {
            "pid": os.getpid(),
            "version": __version__,
            "uptime_s": time.monotonic() - self._started,
            "isolation": service.isolation,
            "max_sessions": service.max_sessions,
            "sessions": len(hosts),
            "objects": sum(host.stats.objects for host in hosts),
            "bytes": sum(host.stats.bytes for host in hosts),
            "requests": service.requests,
            "requests_per_s": service.rate,
            "rows": rows,
            "principals": [_principal(one) for one in service.principals()[:_MOST_ROWS]],
        }

    def goodbye(self, session: ControlSession) -> None:
        """Nothing is kept for it."""

    def hangup(self, session: ControlSession) -> None:
        """Nothing is kept for it."""

    def died(self, session: ControlSession, pid: int, signal: int | None) -> None:
        """Nothing is kept for it."""

    def tick(self, now: float) -> None:
        """Nothing here depends on the clock."""


def _session_row(host: SessionHost, principal: Principal) -> dict[str, Any]:
    stats = host.stats
    return {
        "principal": principal.label,
        "isolation": host.isolation,
        "pid": host.pid or 0,
        "age_s": stats.age_s,
        "objects": stats.objects,
        "bytes": stats.bytes,
        "contexts": stats.contexts,
        "requests": stats.requests,
        "flops": stats.flops,
        "running_s": stats.running_s,
    }


def _principal(principal: Principal) -> dict[str, Any]:
    ceiling = principal.ceiling
    tallies = list(principal.tallies().items())[:_MOST_OPERATIONS]
    return {
        "label": principal.label,
        "sessions": principal.sessions,
        "flops": ceiling.spent,
        "promised": ceiling.reserved,
        "ceiling": ceiling.limit,
        "requests": principal.requests,
        "operations": [[name, flops, calls] for name, (flops, calls) in tallies],
    }
