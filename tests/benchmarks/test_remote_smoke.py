"""The benchmark of client mode runs, measures what it should, and says what it skips."""

from __future__ import annotations

from tests.support.benchmarks import BENCHMARKS, run_benchmark

SCRIPT = BENCHMARKS / "mechestim_remote.py"


def test_the_remote_benchmark_runs_and_judges_every_target() -> None:
    output = run_benchmark(str(SCRIPT), "--smoke")
    assert "skipped flopscope: no --venvs folder" in output
    assert "12 ended well" in output
    calls, _, targets = output.partition("\nTargets\n")
    for call in ("ping-pong", "add", "matvec", "create 10k", "fetch 1M", "8 MB up", "8 MB down"):
        assert f"\n{call} " in calls
    lines = targets.strip().splitlines()[2:]
    assert len(lines) == 9
    assert [line for line in lines if line.endswith("not measured")] == [
        line for line in lines if line.startswith("add, faster than flopscope")
    ]
