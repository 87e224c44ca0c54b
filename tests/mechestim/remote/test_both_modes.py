"""The tests of local mode pass for a client: each folder of them is one test here.

Each folder runs in a process of its own, because the mode belongs to the process, with a server.
Tests that cannot pass there are marked with a reason, which the documentation names.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.mechestim.remote.client_script import ROOT
from tests.mechestim.skip_reasons import REASONS
from tests.support.watchdog import patient_watchdog

TESTS = "tests/mechestim"  # from ROOT, as pytest names them
FOLDERS = (
    *("accounting", "einsum", "fft", "flops", "linalg", "local", "parity", "random", "stats"),
    "symmetry",
)
CALL_FORM_TESTS = (
    "parity/test_call_forms.py::test_every_call_form_gives_what_numpy_gives_and_charges_the_price",
    "parity/test_refusals.py",
)
_PYTESTS_OWN = (
    *("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST"),
    "PYTEST_ADDOPTS",  # -q and -v change the output that is read here
)


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Replace the watchdog: a test here is a whole suite, whose tests have their own."""
    with patient_watchdog():
        yield


def as_a_client(*arguments: str) -> int:
    """Run tests as a client, check that all of them pass, and return their number."""
    kept = {key: value for key, value in os.environ.items() if key not in _PYTESTS_OWN}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"),
            *("--backend", "remote", *arguments),
        ],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    return int(passed[1])


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_tests_of_local_mode_pass_for_a_client(folder: str) -> None:
    left_out = [f"--deselect={TESTS}/{one}" for one in CALL_FORM_TESTS]
    assert as_a_client(f"{TESTS}/{folder}", *left_out) > 10


@pytest.mark.nightly
def test_every_call_form_gives_a_client_the_same() -> None:
    assert as_a_client(*(f"{TESTS}/{one}" for one in CALL_FORM_TESTS)) > 500


def test_every_reason_why_a_test_is_local_only_is_used_and_documented() -> None:
    sources = [path.read_text() for path in (ROOT / TESTS).rglob("test_*.py")]
    used = {name for text in sources for name in re.findall(r'local_only\("([\w ]+)"\)', text)}
    assert used == set(REASONS)
    page = (ROOT / "docs/how-to/client.md").read_text()
    _, _, section = page.partition("## Differences between the modes")
    listed = re.findall(r"^- \*\*(.+?)\*\*", section.partition("\n## ")[0], re.MULTILINE)
    assert {heading for heading in REASONS.values() if heading} <= set(listed)
