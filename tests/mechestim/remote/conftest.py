"""One server for the clients of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mechestim.remote.server_process import Apart, server_apart
from tests.support.folders import socket_folder


@pytest.fixture(scope="session")
def server() -> Iterator[Apart]:
    """A server with ordinary quotas, in a process of its own: pytest's filters are not its."""
    with server_apart() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for sockets."""
    with socket_folder() as path:
        yield path
