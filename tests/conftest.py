"""What every test gets: a watchdog, a name of its own, and a look at what it left behind."""

from __future__ import annotations

import faulthandler
import os
import secrets
import signal
from collections.abc import Iterator

import pytest

from tests.support.leftovers import nothing_new_stays_in_shm, shm_names

WATCHDOG_SECONDS = 180


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run the long tests")


def pytest_configure() -> None:
    # Ignored in a job that a script runs in the background, and then in all children too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--nightly"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="long: runs with --nightly"))


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that hangs ends the run with every thread's traceback, instead of hanging it."""
    seconds = WATCHDOG_SECONDS * (20 if request.node.get_closest_marker("nightly") else 1)
    faulthandler.dump_traceback_later(seconds, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def name() -> str:
    """A server name that no other test uses."""
    return f"test-{os.getpid()}-{secrets.token_hex(4)}"


@pytest.fixture
def shm_unchanged() -> Iterator[None]:
    """The test leaves nothing of ours in /dev/shm."""
    before = shm_names()
    yield
    nothing_new_stays_in_shm(before)
