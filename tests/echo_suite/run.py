"""Run echo's own Python tests against shm-echo: ``python -m tests.echo_suite.run``.

The tests are those of the sdist of id-echo 0.2.1, which is downloaded, or given by ``--sdist``.
They `import echo` and get the shim beside this file, whose names are ours. An excluded test runs
too; if it passes, the run reports it, because its line in the list is out of date.

The run succeeds if only excluded tests fail.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.echo_suite.sdist import SdistError, fetch, unpack
from tests.numpy_suite.exclusions import Exclusions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run_tests(sources: Path, scratch: Path, extra: list[str]) -> dict[str, dict[str, str]]:
    """Run the tests in a pytest of their own, and return outcomes and tracebacks by test.

    Raises:
        RuntimeError: pytest ended without a report.
    """
    tests, report = sources / "python" / "tests", scratch / "report.json"
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--tb=short", "-rs"]
    command += ["-c", str(HERE / "pytest.ini"), "--rootdir", str(tests)]
    command += ["-p", "tests.echo_suite.plugin", "-p", "no:cacheprovider"]
    command += ["--suite-report", str(report), *extra, str(tests)]
    # The root of the sources has a package of benchmarks, of which two modules are tests.
    path = os.pathsep.join(map(str, (HERE / "shim", sources, ROOT)))
    done = subprocess.run(
        command,
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
    )
    if not report.exists():
        raise RuntimeError(f"the run broke off:\n{(done.stdout + done.stderr)[-6000:]}")
    found: dict[str, dict[str, str]] = json.loads(report.read_text())
    return found


def complaints(
    outcomes: dict[str, str], details: dict[str, str], exclusions: Exclusions, whole: bool
) -> list[str]:
    """Return everything that is wrong, one entry each."""
    found, cases = [], {}
    for node, outcome in outcomes.items():
        module, _, case = node.partition("::")
        module = module.removesuffix(".py")
        cases.setdefault(module, []).append(case)
        reason = exclusions.reason(module, case)
        if reason is None and outcome == "failed":
            found.append(f"{node} fails and is not excluded:\n{details.get(node, '')}")
        elif reason is not None and outcome == "passed":
            found.append(f"{node} is excluded and passes")
    if whole:
        known = {f"{module}::{case}" for module in cases for case in cases[module]}
        known |= {entry.partition("[")[0] for entry in known}
        missing = [entry for entry in exclusions.reasons if entry not in known]
        found += [f"{entry} is excluded and does not exist" for entry in missing]
        if not outcomes:
            found.append("no test was found")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the tests; return 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdist", type=Path, help="the file, instead of a download")
    parser.add_argument("-k", help="only tests that match this, as pytest's -k")
    options = parser.parse_args(arguments)
    exclusions = Exclusions.read(HERE / "exclusions.txt")
    extra = ["-k", options.k] if options.k else []
    with tempfile.TemporaryDirectory(prefix="echo-suite-") as folder:
        scratch = Path(folder)
        try:
            sources = unpack(options.sdist or fetch(scratch), scratch)
        except SdistError as error:
            print(f"{error}\nGive the file with --sdist PATH.", file=sys.stderr)
            return 2
        try:
            report = run_tests(sources, scratch, extra)
        except RuntimeError as error:
            print(error)
            return 1
    outcomes = report["outcomes"]
    passed, failed, skipped = map(list(outcomes.values()).count, ("passed", "failed", "skipped"))
    wrong = complaints(outcomes, report["details"], exclusions, whole=not extra)
    print("\n".join(wrong))
    print(
        f"{len(outcomes)} tests: {passed} passed, {failed} failed ({len(exclusions.reasons)} are "
        f"excluded), {skipped} skipped"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
