"""Fixtures: a server process shared by the tests of a module, and a pool for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.assert_alive import assert_unharmed
from tests.support.fake_sessions import PoolHarness
from tests.support.folders import socket_folder
from tests.support.mechestim_server import ServerProcess, serving
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a short path, for sockets."""
    with socket_folder() as path:
        yield path


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Yield a server with a ceiling and small quotas, shared by the tests of a module."""
    with socket_folder() as path:
        options = ("--max-flop-budget", "1e12", "--max-bytes", "64M", "--max-call-bytes", "64M")
        with serving(path, *options, "--max-frame", "4M") as running:
            yield running
            assert running.alive, running.log.read_text()


@pytest.fixture
def server_stays_alive(server: ServerProcess) -> Iterator[None]:
    """Assert that the test leaves the server as it was."""
    with assert_unharmed(server):
        yield


@pytest.fixture
def harness() -> Iterator[PoolHarness]:
    """A pool without sessions. Afterwards its sessions end, and its slots must be free."""
    found = PoolHarness()
    yield found
    for session in found.sessions:
        session.hang_up()
    threads = found.threads()
    found.close()
    wait_until(lambda: not any(one.is_alive() for one in threads), "its threads have ended")
    assert (found.scheduler.short.free, found.scheduler.long.free) == (1, 2)
