"""Runs of the benchmarks, as a user starts them from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["BENCHMARKS", "run_benchmark"]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# Names of modules that the benchmarks and their children import, standard ones among them.
NAMES = (
    *("json", "queue", "random", "socket", "subprocess", "tempfile", "threading"),
    *("echo", "harness", "mechestim", "numpy", "shm_echo"),
)


def run_benchmark(*command: str) -> str:
    """Run a Python command in a folder of its own, and return what it printed.

    The folder holds modules with the names of others, which fail when they are imported. Python
    3.10 has no way to keep its children from importing them, so there the folder is empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        if sys.version_info >= (3, 11):
            for name in NAMES:
                text = f"raise ImportError('{name} of the current folder was imported')\n"
                (Path(folder) / f"{name}.py").write_text(text)
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
            capture_output=True,
            text=True,
            timeout=500,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
