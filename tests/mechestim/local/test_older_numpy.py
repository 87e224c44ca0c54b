"""A NumPy that lacks an operation: it is not listed, and asking for it says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# What came with NumPy 2.1 and 2.2: a ufunc, a function, and one that a server has a short way for.
WITHOUT = """
import numpy
for name in ("matvec", "unstack", "cumulative_prod"):
    vars(numpy).pop(name, None)
"""


def run(program: str) -> list[str]:
    """What the program prints, line by line."""
    local = {key: value for key, value in os.environ.items() if key != "MECHESTIM_SERVER_URL"}
    command = [sys.executable, "-c", WITHOUT + program]
    done = subprocess.run(
        command, cwd=ROOT, env=local, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_all_that_is_there_can_be_imported() -> None:
    program = """
from mechestim import *
import mechestim
print(sum.__name__, "unstack" in globals(), "matvec" in dir(mechestim))
"""
    assert run(program) == ["sum False False"]


def test_who_asks_for_it_is_told_that_numpy_lacks_it() -> None:
    program = """
import mechestim
try:
    mechestim.unstack
except mechestim.UnsupportedFunctionError as error:
    print(error)
"""
    (line,) = run(program)
    assert line.startswith("mechestim does not support 'unstack': the installed NumPy (")


def test_a_server_serves_the_others() -> None:
    program = """
from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.service import server
from shm_echo.mechestim.service.operations import allowlist, fast_path
print("cumulative_sum" in fast_path.FUNCTIONS or not hasattr(numpy, "cumulative_sum"))
print("cumulative_prod" in fast_path.FUNCTIONS)
try:
    allowlist.function("cumulative_prod")
except UnsupportedFunctionError as error:
    print(error)
"""
    there, without, line = run(program)
    assert (there, without) == ("True", "False")
    assert line.endswith("has no numpy.cumulative_prod")
