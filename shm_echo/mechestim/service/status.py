"""The `status` service: the sessions and counts of a mechestim service.

Only a listener that lists it offers it, so a program on an inherited descriptor cannot reach it. It
reports counts only: no names and no contents of arrays.
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

_MAX_ROWS = 500  # the answer is one control message, whose length is limited
_MAX_OPERATIONS = 10  # the most expensive ones of each principal


class StatusService:
    """Answers the request `read` with the state of a mechestim service.

    Args:
        service: The service to report on.

    Example:
        >>> service = MechEstimService()
        >>> StatusService(service).state()["sessions"]
        0
    """

    name = "status"

    def __init__(self, service: MechEstimService) -> None:
        self._service = service
        self._started = time.monotonic()

    def open(self, session: ControlSession) -> dict[str, Any]:
        """Welcome every client that the listener admits."""
        session.watch = False
        return {}

    def request(
        self, session: ControlSession, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """Answer with the present state.

        Raises:
            ServiceRefusalError: The request is not `read`.
        """
        if op != "read":
            raise ServiceRefusalError(
                "unknown_op", f"the status service has no request {op[:64]!r}"
            )
        return self.state(), ()

    def state(self) -> dict[str, Any]:
        """Return the state that `shm-echo status` prints."""
        service = self._service
        hosts = service.hosts()
        rows = [
            _session_row(host, principal) for host, principal in list(hosts.items())[:_MAX_ROWS]
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
            "principals": [_principal_row(one) for one in service.principals()[:_MAX_ROWS]],
        }

    def goodbye(self, session: ControlSession) -> None:
        """Do nothing: the service keeps nothing per session."""

    def hangup(self, session: ControlSession) -> None:
        """Do nothing: the service keeps nothing per session."""

    def died(self, session: ControlSession, pid: int, signal: int | None) -> None:
        """Do nothing: the service keeps nothing per session."""

    def tick(self, now: float) -> None:
        """Do nothing: the state is read on request."""


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


def _principal_row(principal: Principal) -> dict[str, Any]:
    ceiling = principal.ceiling
    tallies = list(principal.tallies().items())[:_MAX_OPERATIONS]
    return {
        "label": principal.label,
        "sessions": principal.sessions,
        "flops": ceiling.spent,
        "promised": ceiling.reserved,
        "ceiling": ceiling.limit,
        "requests": principal.requests,
        "operations": [[name, flops, calls] for name, (flops, calls) in tallies],
    }
