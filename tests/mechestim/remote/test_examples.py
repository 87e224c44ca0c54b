"""Programs of examples/metered and of the documentation print the same in both modes.

They run unchanged and print their results with all digits, so they agree to the last bit.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mechestim.remote.client_script import ROOT, environment, run_client
from tests.mechestim.remote.server_process import RunningServer
from tests.support import markdown

FOLDER = ROOT / "examples" / "metered"
EXAMPLES = sorted(FOLDER.glob("*.py"))
_PROGRAM = "tests.mechestim.remote.array_digests"
_RUN = "import runpy; sys.argv.pop(0); runpy.run_module(sys.argv[0], run_name='__main__')"


PROGRAMS = [
    (f"{page.stem}:{program.file}", program.text)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for program in markdown.programs(page)
    if "import mechestim as me" in program.text
    if "shm_echo" not in program.text and "numpy" not in program.text
]


def in_both_modes(path: Path, server: RunningServer, folder: Path) -> str:
    """Run a program in both modes, check that they agree, and return the output.

    Output and arrays are equal, to the last bit, except for the seconds that operations took. The
    program may write files to the folder.
    """
    variables = environment("")
    del variables["MECHESTIM_SERVER_URL"]
    local = subprocess.run(
        [sys.executable, "-W", "error", "-m", _PROGRAM, str(path)],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert local.returncode == 0, local.stderr
    remote = run_client(server.url, _RUN, _PROGRAM, str(path), cwd=folder)
    assert remote.returncode == 0, remote.stderr
    assert timeless(remote.stdout) == timeless(local.stdout)
    assert timeless(remote.stderr) == timeless(local.stderr)
    return local.stdout


def timeless(text: str) -> str:
    """Return the text without times, and without the version of NumPy, which a client lacks."""
    return re.sub(r"numpy [^|]*|\d+\.\d+ (?=s\b)", "", text)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_the_same_in_both_modes(
    path: Path, server: RunningServer, tmp_path: Path
) -> None:
    printed = in_both_modes(path, server, tmp_path)
    assert "FLOP" in printed
    assert len(re.findall(r"^[\w<>]+\.\w+ \w+ \(.*\) [0-9a-f]{16}$", printed, re.MULTILINE)) >= 1


@pytest.mark.parametrize(("name", "text"), PROGRAMS, ids=[name for name, _ in PROGRAMS])
def test_a_program_of_the_documentation_prints_the_same_in_both_modes(
    name: str, text: str, server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / name.partition(":")[2]
    path.write_text(text)
    assert in_both_modes(path, server, tmp_path)


def test_there_are_programs_in_the_documentation() -> None:
    assert len(PROGRAMS) >= 8


def test_the_tour_uses_thirty_operations() -> None:
    names = set(re.findall(r"me\.((?:\w+\.)*\w+)\(", (FOLDER / "many_ops.py").read_text()))
    assert len(names - {"random.seed", "BudgetContext"}) >= 30
