"""Fixtures of the control tests."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from shm_echo.control.server.control_server import ControlServer
from tests.control.harness import Recorder, eventually, open_fds


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder with a path that is short enough for sockets."""
    path = tempfile.mkdtemp(prefix="se-", dir="/tmp")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def address(folder: str) -> str:
    return f"ipc://{folder}/s"


@pytest.fixture
def path(folder: str) -> str:
    """The path of the socket of `address`."""
    return f"{folder}/s"


@pytest.fixture
def service() -> Recorder:
    return Recorder()


@pytest.fixture
def server(address: str, service: Recorder) -> Iterator[ControlServer]:
    with ControlServer(address, {"test": service}) as running:
        yield running
        service.release.set()


@pytest.fixture
def no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A client leaves no descriptor behind, however its connection ended."""
    gc.collect()  # what earlier tests have left in cycles goes now, not in between
    before = open_fds()
    yield
    # A server that outlives the test has its own.
    if "server" not in request.fixturenames:
        gc.collect()  # the traceback of an expected error may hold what it went through
        eventually(lambda: open_fds() <= before)
