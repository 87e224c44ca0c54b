"""The benchmark of loaders runs, for a moment and in any folder; the numbers are not judged."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support.benchmarks import BENCHMARKS, run_benchmark

SCRIPT = str(BENCHMARKS / "loader_throughput.py")
PEERS = {
    "torch DataLoader": "torch",
    "torch, persistent, prefetch 4": "torch",
    "SPDL threads": "spdl",
    "grain processes": "grain",
    "grain threads": "grain",
    "Pool.imap + np.stack": "multiprocessing",
}
HIDE_PEERS = """
import importlib.util, os, runpy, sys
find_spec = importlib.util.find_spec
hidden = ("torch", "spdl", "grain", "PIL")
importlib.util.find_spec = lambda name, *rest: None if name in hidden else find_spec(name, *rest)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charts") / "loader.png"


@pytest.fixture(scope="module")
def output(chart: Path) -> str:
    plotted = importlib.util.find_spec("matplotlib") is not None
    return run_benchmark(SCRIPT, "--smoke", *(["--plot", str(chart)] if plotted else []))


def row(output: str, name: str) -> list[str]:
    """The cells of the first row of this name."""
    line = next(line for line in output.splitlines() if line.startswith(f"{name}  "))
    return line.removeprefix(name).split()


@pytest.mark.parametrize("workers", ["1 worker\n", "2 workers\n"])
def test_both_ways_of_a_dataset_are_measured(output: str, workers: str) -> None:
    _, found, table = output.partition(
        f"cifar: uint8 (32, 32, 3) and a label, batches of 256, {workers}"
    )
    assert found, output
    for name in ("shm-echo", "shm-echo __getitems__(out=)"):
        # Rate, its range, bandwidth, CPU of loop and workers, the first batch.
        assert len(row(table, name)) == 6


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_is_measured_in_the_same_run(output: str, peer: str) -> None:
    if importlib.util.find_spec(PEERS[peer]) is None:
        assert f"skipped {peer}: not installed (pip install 'shm-echo[bench]')" in output
        return
    assert len(row(output, peer)) == 10  # two ratios with their ranges


def test_the_targets_that_a_short_run_reaches_are_judged(output: str) -> None:
    _, _, targets = output.partition("\nTargets\n")

    for what in ("cifar, CPU per item of the loop", "cifar with out=, CPU per item of the worker"):
        verdict = next(line for line in targets.splitlines() if line.startswith(what))
        assert verdict.split()[-1] in ("yes", "NO")
    assert "jpeg / best peer with processes, 1 worker" in targets


def test_a_chart_is_written_where_one_is_asked_for(output: str, chart: Path) -> None:
    pytest.importorskip("matplotlib")

    assert f"wrote {chart}" in output
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_peers_that_are_not_installed_are_said_to_be_skipped(tmp_path: Path) -> None:
    program = tmp_path / "hide_peers.py"
    program.write_text(HIDE_PEERS)

    output = run_benchmark(
        str(program), SCRIPT, "--rounds", "1", "--seconds", "0.02", "--cases", "cifar", "jpeg",
        "--workers", "1", "--only", "torch", "SPDL", "grain",
    )  # fmt: skip

    for peer, package in PEERS.items():
        if package != "multiprocessing":
            assert f"skipped {peer}: not installed (pip install 'shm-echo[bench]')" in output
    assert "skipped jpeg: not installed" in output
    assert row(output, "shm-echo")
