"""Fixtures of the control tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from shm_echo.control.listener import ControlServer
from tests.control.harness import Recorder

# How long one example takes says something about the machine only.
settings.register_profile("control", deadline=None)
settings.load_profile("control")


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
    """The socket of ``address``."""
    return f"{folder}/s"


@pytest.fixture
def service() -> Recorder:
    return Recorder()


@pytest.fixture
def server(address: str, service: Recorder) -> Iterator[ControlServer]:
    with ControlServer(address, {"test": service}) as running:
        yield running
        service.release.set()
