"""Programs in kernel namespaces of their own: other hosts and containers of one kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.support.waiting import WATCHDOG

__all__ = ["OTHER_NETWORK", "OTHER_PROCESSES", "require", "run_inside"]

ROOT = Path(__file__).resolve().parents[2]

OTHER_NETWORK = ("unshare", "-Urn")
# With a mapped user, so that it takes no root; its /proc is still that of the outer namespace.
OTHER_PROCESSES = ("unshare", "-Ur", "--pid", "--fork", "--kill-child")


@cache
def _reason(prefix: tuple[str, ...], probe: str) -> str | None:
    if shutil.which(prefix[0]) is None:
        return f"there is no {prefix[0]} program"
    done = subprocess.run([*prefix, "sh", "-c", probe], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip() or "refused"


def require(prefix: Sequence[str], probe: str = "true") -> None:
    """Skip the test, with the reason, where such namespaces cannot be made.

    Args:
        prefix: the command that makes them.
        probe: a shell command that has to work inside.
    """
    reason = _reason(tuple(prefix), probe)
    if reason is not None:
        pytest.skip(f"{' '.join(prefix)}: {reason}")


def run_inside(
    prefix: Sequence[str], text: str, *args: str, env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Run a program behind a prefix, and return what it wrote to stdout and to stderr.

    Fails unless it exits with status 0.
    """
    done = subprocess.run(
        [*prefix, sys.executable, "-c", textwrap.dedent(text), *args],
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr
