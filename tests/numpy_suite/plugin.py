"""The pytest plugin that runs NumPy's tests on counted arrays and writes down what happened."""

from __future__ import annotations

import faulthandler
import functools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shm_echo.mechestim as me
from shm_echo.mechestim.local import dispatch
from tests.numpy_suite.counted_numpy import CHECKS, CountedImporter

HANG_SECONDS = 120

_outcomes: dict[str, str] = {}
_details: dict[str, str] = {}
_unpriced: Counter[str] = Counter()
_unpriced_example: dict[str, str] = {}
_current = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--suite-report", help="where the outcomes are written, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    CountedImporter().install()
    _watch_unpriced()


def _watch_unpriced() -> None:
    """Note every call that a price rule refused and NumPy did not."""
    original = dispatch._call_unpriced

    @functools.wraps(original)
    def watched(op: Any, function: Any, args: Any, kwargs: Any, error: Exception) -> Any:
        result = original(op, function, args, kwargs, error)
        _unpriced[op.name] += 1
        _unpriced_example.setdefault(
            op.name, f"{_current}: {type(error).__name__}: {error} <- {args!r:.200} {kwargs!r:.200}"
        )
        return result

    dispatch._call_unpriced = watched


def case_id(nodeid: str) -> str:
    """``TestResize::test_copies``: a case within its module; each module is a run of its own."""
    return nodeid.partition("::")[2]


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    global _current
    _current = request.node.nodeid
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    case = case_id(report.nodeid)
    if report.failed:
        _outcomes[case] = "failed"
        _details.setdefault(case, report.longreprtext)
    elif report.when == "call" or report.skipped:
        _outcomes.setdefault(case, "skipped" if report.skipped else "passed")


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = session.config.getoption("--suite-report")
    if not target:
        return
    calls: Counter[str] = Counter()
    checks = 0
    for namespace, books in me.budget_summary_dict(by_namespace=True)["by_namespace"].items():
        for name, tally in books["operations"].items():
            if namespace == CHECKS:
                checks += tally["calls"]
            else:
                calls[name] += tally["calls"]
    report = {
        "outcomes": _outcomes,
        "details": _details,
        "calls": calls,
        "checks": checks,
        "unpriced": {
            name: {"count": count, "example": _unpriced_example[name]}
            for name, count in _unpriced.items()
        },
        "pid": os.getpid(),
    }
    Path(target).write_text(json.dumps(report))
