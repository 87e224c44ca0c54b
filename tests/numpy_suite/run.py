"""Run NumPy's own tests on counted arrays: ``python -m tests.numpy_suite.run``.

A pytest of its own runs each chosen module of the installed NumPy, with our functions in the place
of NumPy's (`tests.numpy_suite.counted_numpy`). An excluded case runs too and counts as not passed.
If it passes, the run reports it, because its line in the list is out of date. The run also reports
every call that a price rule rejects although NumPy accepts it.

The run succeeds if it has nothing to report, if only excluded cases fail, and if at least 95 % of
the cases pass.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.numpy_suite.exclusions import Exclusions

MODULES = (
    "numpy._core.tests.test_multiarray",  # the longest first
    "numpy._core.tests.test_umath",
    "numpy._core.tests.test_numeric",
    "numpy._core.tests.test_einsum",
    "numpy.lib.tests.test_function_base",
    "numpy.lib.tests.test_arraysetops",
    "numpy.linalg.tests.test_linalg",
    "numpy.fft.tests.test_pocketfft",
    "numpy.fft.tests.test_helper",
)
REQUIRED = 95.0
HERE = Path(__file__).parent


@dataclass
class Result:
    """The results of the cases of one module. NumPy itself skips the skipped ones."""

    module: str
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    outdated: list[str] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    unpriced: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: str = ""

    @property
    def cases(self) -> int:
        return len(self.passed) + len(self.failed) + len(self.excluded)

    @property
    def percentage(self) -> float:
        return 100.0 * len(self.passed) / self.cases if self.cases else 0.0


def run_module(module: str, exclusions: Exclusions, extra: list[str]) -> Result:
    """Run one module in a process of its own."""
    short = module.rpartition(".")[2]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "report.json"
        command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--tb=short"]
        command += ["-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE)]
        command += ["-p", "tests.numpy_suite.plugin", "-p", "no:cacheprovider"]
        command += ["-m", "not slow", "--suite-report", str(target), *extra, "--pyargs", module]
        environment = {
            **os.environ,
            "MECHESTIM_DEFAULT_BUDGET": "1e18",
            "OPENBLAS_NUM_THREADS": "1",
        }
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace"
        )
        result = Result(module)
        if not target.exists():
            result.broken = (done.stdout + done.stderr)[-4000:]
            return result
        report = json.loads(target.read_text())
    for case, outcome in report["outcomes"].items():
        if exclusions.reason(short, case) is not None and outcome != "skipped":
            result.excluded.append(case)
            if outcome == "passed":
                result.outdated.append(case)
        else:
            getattr(result, outcome).append(case)
    result.details = report["details"]
    result.calls = Counter(report["calls"])
    result.checks = report["checks"]
    result.unpriced = report["unpriced"]
    return result


def table(results: list[Result]) -> str:
    """The figures, module by module."""
    head = f"{'module':<22}{'cases':>7}{'passed':>8}{'failed':>8}{'excluded':>10}{'passed %':>10}"
    head += f"{'counted calls':>15}{'in checks':>11}"
    lines = [head, "-" * len(head)]
    for result in results:
        lines.append(
            f"{result.module.rpartition('.')[2]:<22}{result.cases:>7}{len(result.passed):>8}"
            f"{len(result.failed):>8}{len(result.excluded):>10}{result.percentage:>10.2f}"
            f"{result.calls.total():>15,}{result.checks:>11,}"
        )
    cases = sum(result.cases for result in results)
    passed = sum(len(result.passed) for result in results)
    lines.append("-" * len(head))
    lines.append(
        f"{'all':<22}{cases:>7}{passed:>8}{sum(len(r.failed) for r in results):>8}"
        f"{sum(len(r.excluded) for r in results):>10}{100.0 * passed / max(cases, 1):>10.2f}"
        f"{sum(r.calls.total() for r in results):>15,}{sum(r.checks for r in results):>11,}"
    )
    return "\n".join(lines)


def complaints(results: list[Result], exclusions: Exclusions, whole: bool) -> list[str]:
    """Everything that is wrong, one line each; empty when the run succeeds."""
    found = []
    for result in results:
        short = result.module.rpartition(".")[2]
        if result.broken:
            found.append(f"{short}: the run broke off:\n{result.broken}")
            continue
        found += [f"{short}::{case} fails and is not excluded" for case in result.failed]
        found += [f"{short}::{case} is excluded and passes" for case in result.outdated]
        if whole:
            known = {*result.excluded, *result.skipped}
            found += [
                f"{entry} is excluded and does not exist"
                for entry in exclusions.unused(short, known)
            ]
        if not result.calls and result.cases:
            found.append(f"{short}: nothing was counted")
        found += [
            f"{short}: the price rule of {name} refused what NumPy accepts, {entry['count']} "
            f"times; first in {entry['example']}"
            for name, entry in result.unpriced.items()
        ]
    cases = sum(result.cases for result in results)
    passed = sum(len(result.passed) for result in results)
    if whole and 100.0 * passed < REQUIRED * cases:
        found.append(f"{100.0 * passed / cases:.2f} % pass, {REQUIRED} % must")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen modules; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="last names of modules: test_numeric ...")
    parser.add_argument("-k", help="only cases that match this, as pytest's -k")
    parser.add_argument("--jobs", type=int, default=2, help="modules at a time")
    parser.add_argument("--failures", type=Path, help="write the tracebacks of failures here")
    options = parser.parse_args(arguments)
    chosen = [
        module
        for module in MODULES
        if not options.modules or module.rpartition(".")[2] in options.modules
    ]
    exclusions = Exclusions.read(HERE / "exclusions.txt")
    extra = ["-k", options.k] if options.k else []
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda module: run_module(module, exclusions, extra), chosen))
    if options.failures:
        text = [
            f"=== {result.module.rpartition('.')[2]}::{case}\n{detail}\n"
            for result in results
            for case, detail in result.details.items()
            if case in result.failed
        ]
        options.failures.write_text("\n".join(text))
    print(table(results))
    wrong = complaints(results, exclusions, whole=not extra)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
