"""Type checkers see the classes and functions of the real package through the alias.

mypy comes with the extra `test`. pyright is optional: its wheel downloads the program itself on its
first run, which tests must not do. Its test runs where pyright is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import alias_files
from tests.support.scripts import ROOT

PROGRAM = """\
import mechestim as me
import mechestim.errors
import shm_echo.mechestim.errors
from mechestim.errors import BudgetExhaustedError as ByAlias
from shm_echo.mechestim.errors import BudgetExhaustedError as ByName


def same(error: ByAlias) -> ByName:
    return error


def same_again(error: mechestim.errors.SymmetryError) -> shm_echo.mechestim.errors.SymmetryError:
    return error


cost: int = ByAlias("exp", flop_cost=3, flops_remaining=2).flop_cost
version: str = me.__version__
with me.BudgetContext(flop_budget=10**6, namespace="net") as budget:
    used: int = budget.flops_used
other: mechestim.errors.NoBudgetContextError = ByName("x", flop_cost=3, flops_remaining=2)  # WRONG
too_wide: str = budget.flops_used  # WRONG
me.BudgetContext(flop_budget="much")  # WRONG
me.nonsense  # WRONG
from mechestim.errors import Nonsense  # WRONG
import mechestim.missing  # WRONG
"""

WRONG = [n for n, line in enumerate(PROGRAM.splitlines(), start=1) if line.endswith("# WRONG")]


def test_the_files_for_type_checkers_are_those_of_the_modules() -> None:
    """If it fails, run `python -m tests.support.alias_files`."""
    assert alias_files.current() == alias_files.expected()
    assert (alias_files.FOLDER / "py.typed").exists()


def test_mypy_sees_the_real_names_through_the_alias_and_no_others(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    options = ["--strict", "--no-error-summary", "--no-color-output", "--config-file="]
    done = subprocess.run(
        # The cache of the whole project: the libraries around it need not be read for each run.
        [
            sys.executable,
            "-m",
            "mypy",
            *options,
            f"--cache-dir={ROOT / '.mypy_cache/alias'}",
            str(program),
        ],
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.stderr == ""
    # By its name only: mypy repeats what it has cached under the path of an earlier run.
    lines = re.findall(r"^(?:.*/)?program\.py:(\d+): error:", done.stdout, re.MULTILINE)
    assert [int(line) for line in lines] == WRONG, done.stdout


@pytest.mark.skipif(
    importlib.util.find_spec("pyright") is None,
    reason="pyright is not installed: its wheel downloads a program, so no extra asks for it",
)
def test_pyright_sees_the_real_names_through_the_alias_and_no_others(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    # An expression that does nothing is only a warning.
    lines = {message["range"]["start"]["line"] + 1 for message in found}
    assert sorted(lines) == WRONG, found
