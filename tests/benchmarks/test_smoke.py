"""Every benchmark runs, for a moment and in any folder, and ends with its tables.

The numbers are not judged.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.benchmarks import BENCHMARKS, run_benchmark

PEERS = {
    "id-echo": "echo",
    "mp.Queue + np.stack": "multiprocessing",
    "faster-fifo + np.stack": "faster_fifo",
}
HIDE_ECHO = """
import importlib.util, os, runpy, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "echo" else find_spec(name, *rest)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""

WITH_CHART = ("ring_throughput.py", "ring_latency.py", "copy_threshold.py")

Run = Callable[[str], str]


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charts")


@pytest.fixture(scope="module")
def run(charts: Path) -> Run:
    """Run a benchmark, once for all tests here, with a chart where it has one."""
    outputs: dict[str, str] = {}
    plotted = has("matplotlib")

    def once(script: str) -> str:
        if script not in outputs:
            has_chart = plotted and script in WITH_CHART
            chart = ["--plot", str(charts / f"{script}.png")] if has_chart else []
            outputs[script] = run_benchmark(str(BENCHMARKS / script), "--smoke", *chart)
        return outputs[script]

    return once


def row(table: str, name: str) -> list[str]:
    """The cells of the first row of this name."""
    for line in table.splitlines():
        if line.startswith(name):
            return line.removeprefix(name).split()
    raise AssertionError(f"no row {name!r} in:\n{table}")


@pytest.mark.parametrize(
    "script",
    [
        "learner_side.py",
        "sender_side.py",
        "footprint.py",
        "ring_latency.py",
        "mechestim_neighbours.py",
    ],
)
def test_a_benchmark_ends_with_targets_of_which_each_was_measured(run: Run, script: str) -> None:
    _, _, targets = run(script).partition("\nTargets\n")

    verdicts = [line.split()[-1] for line in targets.splitlines()[2:]]
    assert verdicts
    assert set(verdicts) <= {"yes", "NO"}


def test_the_senders_side_is_compared_with_another_build() -> None:
    output = run_benchmark(
        str(BENCHMARKS / "sender_side.py"), "--smoke", "--against", str(BENCHMARKS.parent)
    )

    assert len(row(output, "reserve + commit, 40 leaves")) == 6  # two builds, a ratio, and ranges
    assert row(output, "send, 0-d float64 array")


@pytest.mark.parametrize("producers", ["1 producer\n", "2 producers\n"])
def test_throughput_is_compared_with_the_bare_copy(run: Run, producers: str) -> None:
    output = run("ring_throughput.py")

    _, found, table = output.partition(f"batches of 256, {producers}")
    assert found, output
    for name in ("shm-echo send ", "shm-echo send_batch(256)"):
        assert row(table, name)
    for name in ("limit: streaming copy", "limit: numpy copy"):
        assert len(row(table, name)) == 7  # rates, bandwidth, and two ratios with their ranges


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_is_measured_in_the_same_run(run: Run, peer: str) -> None:
    if not has(PEERS[peer]):
        pytest.skip(f"{peer} is not installed: pip install 'shm-echo[bench]'")

    assert row(run("ring_throughput.py"), peer)
    assert row(run("ring_latency.py"), peer)


def test_a_peer_that_is_not_installed_is_said_to_be_skipped(tmp_path: Path) -> None:
    program = tmp_path / "hide_echo.py"
    program.write_text(HIDE_ECHO)

    output = run_benchmark(str(program), str(BENCHMARKS / "learner_side.py"), "--smoke")

    assert "skipped id-echo: not installed" in output
    assert "\nid-echo" not in output


def test_the_copy_benchmark_says_from_where_streaming_pays(run: Run) -> None:
    _, _, verdict = run("copy_threshold.py").partition("Streaming pays from")

    assert row(verdict, "ring of 8 MB")


@pytest.mark.parametrize("script", WITH_CHART)
def test_a_chart_is_written_where_one_is_asked_for(run: Run, charts: Path, script: str) -> None:
    pytest.importorskip("matplotlib")

    output = run(script)

    assert f"wrote {charts / script}.png" in output
    assert (charts / f"{script}.png").read_bytes().startswith(b"\x89PNG")
