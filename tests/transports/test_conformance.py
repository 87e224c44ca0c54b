"""Every transport of the project, and a small one in memory, through the same suite."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shm_echo import Server
from tests.support.numbered import stacked
from tests.transports import memory
from tests.transports.conformance import BLOCKING, Conformance, taken
from tests.transports.harnesses import MemoryHarness, Producer, ShmHarness, TransportHarness
from tests.transports.tcp_harness import TcpConformance, TcpHarness, client_of


class TestShmTransport(Conformance):
    @pytest.fixture
    def harness(self, name: str) -> TransportHarness:
        return ShmHarness(name)


class TestTcpTransport(TcpConformance):
    @pytest.fixture
    def harness(self) -> TransportHarness:
        return TcpHarness("shm")


class TestTcpTransportOfEcho(TcpConformance):
    """Echo's wire does not say what the learner has taken, nor who has connected."""

    @pytest.fixture
    def harness(self) -> TransportHarness:
        return TcpHarness("echo")

    def test_wait_ends_when_the_last_sample_is_handed_out(
        self, server: Server, harness: TransportHarness
    ) -> None:
        with closing(client_of(harness)) as client:
            client.send_batch(stacked([0, 1]))
            with pytest.raises(ValueError, match="taken"):
                client.wait(until="taken")
        assert taken(server) == [0, 1]

    @pytest.mark.parametrize("count", [1, 50])  # who sends nothing counts as nobody
    def test_a_batch_of_any_size_passes_while_a_learner_samples(
        self, server: Server, harness: TransportHarness, count: int
    ) -> None:
        super().test_a_batch_of_any_size_passes_while_a_learner_samples(server, harness, count)

    @pytest.mark.parametrize("call", [BLOCKING["send"], BLOCKING["send_batch"]])
    def test_closing_the_server_wakes_all_waiting_calls(
        self, server: Server, harness: TransportHarness, call: Callable[[Producer], object]
    ) -> None:
        super().test_closing_the_server_wakes_all_waiting_calls(server, harness, call)


class TestMemoryTransport(Conformance):
    @pytest.fixture
    def harness(self, name: str) -> TransportHarness:
        return MemoryHarness(name)


def test_the_transport_in_memory_uses_the_public_interface_alone() -> None:
    source = Path(memory.__file__).read_text()
    found = {
        node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module and "shm_echo" in node.module
    }
    assert found == {"shm_echo"}
    assert "import shm_echo" not in source
