"""The pytest plugin of the run: a watchdog, and the outcomes as a file."""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

HANG_SECONDS = 60

_outcomes: dict[str, str] = {}
_details: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite-report", help="where the outcomes are written, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    import echo

    import shm_echo

    assert echo.TcpClient is shm_echo.TcpClient, "the installed echo hides the shim"


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = "failed"
        _details[report.nodeid] = report.longreprtext
    elif report.skipped:
        _outcomes[report.nodeid] = "skipped"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = "failed"
        _details.setdefault(report.nodeid, report.longreprtext)
    elif report.when == "call" or report.skipped:
        _outcomes.setdefault(report.nodeid, "skipped" if report.skipped else "passed")


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = session.config.getoption("--suite-report")
    if target:
        Path(target).write_text(json.dumps({"outcomes": _outcomes, "details": _details}))
