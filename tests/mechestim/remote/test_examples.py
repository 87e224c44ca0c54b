"""The examples of examples/metered run unchanged in both modes and print the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mechestim.remote.apart import Apart
from tests.mechestim.remote.inside import ROOT, environment, run_client

FOLDER = ROOT / "examples" / "metered"
EXAMPLES = sorted(FOLDER.glob("*.py"))
_RUN = "import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_the_same_in_both_modes(path: Path, server: Apart) -> None:
    variables = environment("")
    del variables["MECHESTIM_SERVER_URL"]
    local = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert local.returncode == 0, local.stderr
    remote = run_client(server.url, _RUN, str(path))
    assert remote.returncode == 0, remote.stderr
    assert remote.stdout == local.stdout
    assert re.sub(r"numpy [^|]*", "", remote.stderr) == re.sub(r"numpy [^|]*", "", local.stderr)
    assert "FLOP" in local.stdout


def test_the_tour_uses_thirty_operations() -> None:
    names = set(re.findall(r"me\.((?:\w+\.)*\w+)\(", (FOLDER / "many_ops.py").read_text()))
    assert len(names - {"random.seed", "BudgetContext"}) >= 30
