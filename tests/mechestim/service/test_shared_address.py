"""One address for both the ring and mechestim: each client gets its service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import ConnectionClosedError
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.mechestim_server import dialled
from tests.support.waiting import WATCHDOG

SAMPLE = {"x": np.zeros(2)}


def test_samples_and_operations_go_through_one_address(folder: Path) -> None:
    url = f"ipc://{folder}/both.sock"
    metering = MechEstimService(Quotas(max_flops=10))
    transport = ShmTransport(url, services={"mechestim": metering})
    with Server(SAMPLE, batch_size=1, transport=transport) as server:
        with ShmClient(url, SAMPLE) as ring, dialled(url) as compute:
            total = compute.request("add", (np.ones(2).tolist(), 1.0))
            ring.send({"x": np.array(compute.request("ndarray.tolist", (total,)))})
            sample = server.sample(timeout=WATCHDOG)
            assert sample is not None
            assert sample.batch["x"].tolist() == [[2.0, 2.0]]
            with pytest.raises(BudgetExhaustedError):
                compute.request("add", (np.ones(9).tolist(), 1.0))
            (principal,) = metering.principals()
            assert principal.tallies() == {"add": (2, 1)}
    metering.close()


def test_closing_the_service_alone_leaves_the_ring_open(folder: Path) -> None:
    url = f"ipc://{folder}/both.sock"
    metering = MechEstimService()
    with Server(SAMPLE, 1, ShmTransport(url, services={"mechestim": metering})) as server:
        with ShmClient(url, SAMPLE) as ring, dialled(url) as compute:
            compute.request("add", (1.0, 2.0))
            metering.close()
            with pytest.raises(ConnectionClosedError, match="shutting down"):
                compute.request("add", (1.0, 2.0))
            ring.send(SAMPLE)
            assert server.sample(timeout=WATCHDOG) is not None


def test_the_name_of_the_ring_is_taken() -> None:
    with pytest.raises(ValueError, match="the service 'ring' is the transport's own"):
        ShmTransport("x", services={"ring": MechEstimService()})
