"""Every transport of the project, and a small one in memory, through the same suite."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.transports import memory
from tests.transports.conformance import Conformance
from tests.transports.harnesses import MemoryHarness, ShmHarness, TransportHarness


class TestShmTransport(Conformance):
    @pytest.fixture
    def harness(self, name: str) -> TransportHarness:
        return ShmHarness(name)


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
