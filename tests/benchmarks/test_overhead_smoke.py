"""The benchmark of counting runs, for a moment, and ends with its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "mechestim_overhead.py"


def test_the_benchmark_of_counting_runs_and_prints_its_tables() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--smoke"], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    for words in ("Small operands", "Large operands", "Targets", "add, 4 elements: added"):
        assert words in done.stdout
