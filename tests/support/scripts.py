"""Program texts run in an interpreter of their own, as a user would start them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import WATCHDOG

__all__ = ["run_script"]

ROOT = Path(__file__).resolve().parents[2]


def run_script(
    text: str, *args: str, env: Mapping[str, str] | None = None, timeout: float = WATCHDOG
) -> str:
    """Run a program with warnings as errors, and return what it printed.

    Fails unless it exits with status 0 and writes nothing to stderr.

    Args:
        text: the program.
        args: its `sys.argv[1:]`.
        env: added to this process's environment.
        timeout: seconds after which the program is killed and the test fails.
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(text), *args],
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"exit {done.returncode}: {done.stderr}"
    return done.stdout
