"""An operation that the installed NumPy lacks is not listed, and using it raises an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# New in NumPy 2.1 and 2.2: a ufunc, a function, and one with a fast path in the server.
WITHOUT = """
import numpy
for name in ("matvec", "unstack", "cumulative_prod"):
    vars(numpy).pop(name, None)
"""


def run(program: str) -> list[str]:
    """Return the lines that the program prints, in a NumPy without those names."""
    local = {key: value for key, value in os.environ.items() if key != "MECHESTIM_SERVER_URL"}
    command = [sys.executable, "-c", WITHOUT + program]
    done = subprocess.run(
        command, cwd=ROOT, env=local, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_import_star_leaves_out_what_numpy_lacks() -> None:
    program = """
from mechestim import *
import mechestim
print(sum.__name__, "unstack" in globals(), "matvec" in dir(mechestim))
"""
    assert run(program) == ["sum False False"]


def test_a_missing_operation_raises_an_error_that_names_numpy() -> None:
    program = """
import mechestim
try:
    mechestim.unstack
except mechestim.UnsupportedFunctionError as error:
    print(error)
"""
    (line,) = run(program)
    assert line.startswith("mechestim does not support 'unstack': the installed NumPy (")


def test_a_server_offers_only_the_operations_that_numpy_has() -> None:
    program = """
from shm_echo.mechestim.errors import UnsupportedFunctionError
from shm_echo.mechestim.service import server
from shm_echo.mechestim.service.operations import allowlist, fast_path
print("cumulative_sum" in fast_path.FUNCTIONS or not hasattr(numpy, "cumulative_sum"))
print("cumulative_prod" in fast_path.FUNCTIONS)
try:
    allowlist.find_function("cumulative_prod")
except UnsupportedFunctionError as error:
    print(error)
"""
    there, without, line = run(program)
    assert (there, without) == ("True", "False")
    assert line.endswith("has no numpy.cumulative_prod")
