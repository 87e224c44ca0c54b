"""What every test gets: a watchdog, a name of its own, and a look at what it left behind."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator

import pytest

from tests.support.folders import socket_folder
from tests.support.leftovers import nothing_new_stays_in_shm, shm_names

WATCHDOG_SECONDS = 600

# Where servers with a name have their sockets if nobody says where: a path may have 107 bytes.
LONGEST_TEMPORARY = 50

# Beside Ctrl-C, what must end processes or tell of their end: whoever started us may ignore it.
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
    # Of whoever debugs a program of theirs in this shell: tests read batches that were given back.
    os.environ.pop("SHM_ECHO_DEBUG", None)
    draw_cases(anew=config.getoption("--nightly"))
    if len(tempfile.gettempdir()) > LONGEST_TEMPORARY:
        runtime = contextlib.ExitStack()
        config.add_cleanup(runtime.close)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime.enter_context(socket_folder()))


def draw_cases(*, anew: bool) -> None:
    """How Hypothesis draws: the same cases every day, and other ones in each nightly run.

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
