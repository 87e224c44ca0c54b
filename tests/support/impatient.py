"""`shm-echo` with a short deadline for messages that have begun: `python -m ... serve`."""

from __future__ import annotations

import functools
import sys

from shm_echo.mechestim.service.metering import quotas
from tests.support.mechestim_server import ServerProcess

__all__ = ["STALL_S", "ImpatientServer"]

STALL_S = 0.4


class ImpatientServer(ServerProcess):
    """A server that ends a session whose message stays incomplete for `STALL_S` seconds."""

    program = "tests.support.impatient"


if __name__ == "__main__":
    quotas.Quotas = functools.partial(quotas.Quotas, stall_s=STALL_S)  # type: ignore[assignment,misc]
    from shm_echo.cli.main import main

    sys.exit(main())
