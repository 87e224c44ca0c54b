"""One server for the clients of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mechestim.remote.server_process import RunningServer, run_server
from tests.support.folders import socket_folder


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """Yield a server with the default quotas, in a process without pytest's warning filters."""
    with run_server() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield an empty folder for sockets, with a short path."""
    with socket_folder() as path:
        yield path
