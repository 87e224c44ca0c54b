"""The benchmark of client mode runs, measures what it should, and says what it skips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mechestim_remote.py"


def test_the_remote_benchmark_runs_and_judges_every_target() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--smoke"], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "skipped flopscope: no --venvs folder" in done.stdout
    assert "12 ended well" in done.stdout
    calls, _, targets = done.stdout.partition("\nTargets\n")
    for call in ("ping-pong", "add", "matvec", "create 10k", "fetch 1M", "8 MB up", "8 MB down"):
        assert f"\n{call} " in calls
    lines = targets.strip().splitlines()[2:]
    assert len(lines) == 9
    assert [line for line in lines if line.endswith("not measured")] == [
        line for line in lines if line.startswith("add, faster than flopscope")
    ]
