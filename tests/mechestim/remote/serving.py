"""A mechestim server in this process, for clients in others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shm_echo.control.server.control_server import ControlServer
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.folders import socket_folder


@dataclass
class InProcessServer:
    """The address of a server, and its service."""

    url: str
    service: MechEstimService


@contextmanager
def serving(quotas: Quotas | None = None, **options: object) -> Iterator[InProcessServer]:
    """Serve at a socket in a new folder while the block runs."""
    with socket_folder() as folder:
        url = f"ipc://{folder}/s.sock"
        service = MechEstimService(quotas, **options)  # type: ignore[arg-type]
        with ControlServer(url, {"mechestim": service}):
            try:
                yield InProcessServer(url, service)
            finally:
                service.close()
