"""Endless operations: neither the wall time nor the end of the server waits for them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.support.mechestim_server import RawClient, handle_of
from tests.support.waiting import stop, wait_until


@pytest.fixture
def service() -> Iterator[Any]:
    """Yield a function that creates a service whose sessions are processes."""
    opened: list[MechEstimService] = []

    def make(quotas: Quotas | None = None) -> MechEstimService:
        opened.append(MechEstimService(quotas))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def stuck(service: MechEstimService) -> tuple[RawClient, Any]:
    """Return a client whose operation never ends, because its worker is stopped.

    The operation takes many seconds, so it cannot end before the worker is stopped.
    """
    ours, theirs = socket.socketpair()
    spender = service.adopt(ours)
    client = RawClient(theirs)
    x = handle_of(client.result("random.randn", 2500, 2500))
    (host,) = service.hosts()
    pid = wait_until(lambda: host.pid, "the worker's number is known")
    client.send_message({"id": 50, "op": "linalg.eigvals", "a": [x], "b": 0})
    wait_until(lambda: host.stats.reserved > 0, "it has begun")
    stop(pid)
    return client, spender


def test_the_wall_time_ends_an_endless_operation(service: Any) -> None:
    running = service()
    client, spender = stuck(running)
    with client:
        before, reserved = spender.ceiling.spent, spender.ceiling.reserved
        assert reserved > 0
        running.quotas = Quotas(wall_time_s=0.01)
        assert client.closed_reason() == "its wall time of 0.01 s is over (wall_time_s)"
    wait_until(lambda: not running.hosts(), "the session has ended")
    assert (spender.ceiling.reserved, spender.ceiling.spent) == (0, before + reserved)


def test_closing_the_service_does_not_wait_for_an_endless_operation(
    service: Any,
) -> None:
    running = service()
    client, spender = stuck(running)
    with client:
        running.close(timeout=0.2)
        assert client.closed_reason() == "the server is shutting down"
    assert not running.hosts()
    assert spender.ceiling.reserved == 0


def test_other_sessions_are_served_beside_an_endless_operation(service: Any) -> None:
    running = service()
    client, _ = stuck(running)
    ours, theirs = socket.socketpair()
    running.adopt(ours)
    with client, RawClient(theirs) as neighbour:
        for _ in range(20):
            assert neighbour.result("add", 1.0, 2.0) is not None
