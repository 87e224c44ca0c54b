"""The warning of a client that waits for room which its own thread would have to make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo import Server, ShmClient, ShmTransport, TcpClient, TcpTransport
from shm_echo.transports import client_attachment, full_ring_warning
from tests.support.numbered import EXAMPLE, numbered, stacked
from tests.support.threads import Worker

TEXT = "may wait for ever: its server is in this process, and no thread has sampled yet"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_attachment, "BLOCKED_AFTER", 0.1)
    monkeypatch.setattr(full_ring_warning, "BLOCKED_AFTER", 0.1)


@pytest.fixture(params=["shm", "echo's wire", "our wire"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Any]]:
    if request.param == "shm":
        with Server(EXAMPLE, 1, ShmTransport(), num_buffers=2) as server:
            with ShmClient(server.address, EXAMPLE) as shm_client:
                yield server, shm_client
        return
    wire: Any = "echo" if request.param == "echo's wire" else "shm"
    transport = TcpTransport(0, wire=wire)
    with Server(EXAMPLE, 1, transport, num_buffers=2, producer_queue_size=1) as server:
        with TcpClient("127.0.0.1", server.port, EXAMPLE, max_inflight_msgs=2) as client:
            yield server, client


@pytest.mark.parametrize("call", ["send", "send_batch"])
def test_the_thread_that_made_the_server_and_floods_it_is_named_once(
    pair: tuple[Server, Any], call: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = pair
    with pytest.raises(TimeoutError):
        flood(client, call)
    assert caplog.text.count(TEXT) == 1
    take_all(server)


@pytest.mark.parametrize("call", ["send", "send_batch"])
def test_an_actor_that_waits_for_a_learner_to_begin_is_not(
    pair: tuple[Server, Any], call: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = pair
    with pytest.raises(TimeoutError):
        Worker(flood, client, call).result()
    assert "may wait for ever" not in caplog.text
    take_all(server)


def flood(client: Any, call: str) -> None:
    """Send more samples than there is room for."""
    if call == "send":
        for number in range(12):
            client.send(numbered(number), timeout=1)
    else:
        client.send_batch(stacked(range(12)), timeout=1)


def take_all(server: Server) -> None:
    """Take what is there, so that no sample is left in a queue."""
    with contextlib.suppress(TimeoutError):
        while True:
            server.sample(timeout=0.2)


def test_the_thread_that_samples_is_named_when_it_sends(
    pair: tuple[Server, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server, client = pair
    client.send(numbered(0))
    assert server.sample(timeout=30) is not None  # in this thread
    with pytest.raises(TimeoutError):
        flood(client, "send")
    assert caplog.text.count("may wait for ever") == 1
    assert "this process, and this thread is the one that samples" in caplog.text
    take_all(server)
