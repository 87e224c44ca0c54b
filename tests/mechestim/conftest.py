"""The tests of ``mechestim`` in either mode: ``pytest tests/mechestim/fft --backend remote``.

With ``--backend remote`` the run starts a server, and this process becomes its client before pytest
imports a test. NumPy is installed as well: its results are the reference. Tests marked
``local_only`` are skipped then, each with its reason; ``docs/how-to/client.md`` names the same
reasons.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.mechestim.remote.server_process import run_server
from tests.mechestim.skip_reasons import REASONS

_serving = pytest.StashKey[ExitStack]()
_URL = "MECHESTIM_SERVER_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=("local", "remote"),
        default="local",
        help="where the operations of mechestim run in the tests that hold in both modes",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "local_only(reason): does not hold for a client; a key of tests.mechestim.skip_reasons",
    )
    if config.getoption("backend", "local") != "remote":
        return
    serving = config.stash[_serving] = ExitStack()
    os.environ[_URL] = serving.enter_context(run_server()).url
    assert os.environ[_URL], "the server did not start"


def pytest_unconfigure(config: pytest.Config) -> None:
    if _serving in config.stash:
        from shm_echo.mechestim.remote import client_session

        client_session.close()
        config.stash[_serving].close()
        del os.environ[_URL]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    remote = config.getoption("backend", "local") == "remote"
    for item in items:
        for marker in item.iter_markers("local_only"):
            (reason,) = marker.args
            if reason not in REASONS:
                raise pytest.UsageError(f"{item.nodeid}: no reason is called {reason!r}")
            if remote:
                item.add_marker(pytest.mark.skip(reason=f"local_only: {reason}"))
