"""Fixtures of all tests: a watchdog, a unique server name, and a check for leftovers."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import secrets
import signal
from collections.abc import Iterator

import pytest

from tests.support.leftovers import nothing_new_stays_in_shm, shm_names

WATCHDOG_SECONDS = 600

# The signals that end processes or report their end: the parent process may ignore them.
IGNORED = (signal.SIGTERM, signal.SIGCHLD)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run the long tests")


def pytest_configure(config: pytest.Config) -> None:
    # Ignored in a job that a script runs in the background, and then in all children too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # A developer may have set it in this shell, but tests read released batches.
    os.environ.pop("SHM_ECHO_DEBUG", None)
    os.environ.pop("SHM_ECHO_RUNTIME_DIR", None)
    draw_cases(anew=config.getoption("--nightly"))


def draw_cases(*, anew: bool) -> None:
    """Let Hypothesis draw the same cases every day, and other ones in each nightly run.

    How long that takes, or a test, says something about the machine only.
    """
    with contextlib.suppress(ImportError):  # not every test needs it
        from hypothesis import HealthCheck, settings

        slow = [HealthCheck.too_slow]
        settings.register_profile(
            "ours", deadline=None, suppress_health_check=slow, derandomize=not anew
        )
        settings.load_profile("ours")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--nightly"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="long: runs with --nightly"))


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the run with every thread's traceback if a test hangs."""
    seconds = WATCHDOG_SECONDS * (20 if request.node.get_closest_marker("nightly") else 1)
    faulthandler.dump_traceback_later(seconds, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def name() -> str:
    """Return a server name that no other test uses."""
    return f"test-{os.getpid()}-{secrets.token_hex(4)}"


@pytest.fixture
def shm_unchanged() -> Iterator[None]:
    """Fail if the test leaves a name of the library in /dev/shm."""
    before = shm_names()
    yield
    nothing_new_stays_in_shm(before)
