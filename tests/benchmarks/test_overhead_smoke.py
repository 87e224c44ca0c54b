"""The benchmark of counting runs, for a moment, and ends with its tables."""

from __future__ import annotations

from tests.support.benchmarks import BENCHMARKS, run_benchmark

SCRIPT = BENCHMARKS / "mechestim_overhead.py"


def test_the_benchmark_of_counting_runs_and_prints_its_tables() -> None:
    output = run_benchmark(str(SCRIPT), "--smoke")
    for words in ("Small operands", "Large operands", "Targets", "add, 4 elements: added"):
        assert words in output
