"""The benchmark of TCP runs, for a moment and in any folder; the numbers are not judged."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.benchmarks import BENCHMARKS, run_benchmark

SCRIPT = str(BENCHMARKS / "tcp_throughput.py")
HAS_ECHO = importlib.util.find_spec("echo") is not None

needs_echo = pytest.mark.skipif(not HAS_ECHO, reason="id-echo is not installed")
needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")),
    reason="there is no C compiler",
)


@pytest.fixture(scope="module")
def pairs() -> str:
    return run_benchmark(SCRIPT, "--smoke", "--parts", "pairs")


def row(output: str, name: str) -> str:
    """The first line that begins so."""
    return next(line for line in output.splitlines() if line.startswith(name))


@needs_echo
@needs_compiler
@pytest.mark.parametrize("server", ["id-echo", "shm-echo"])
@pytest.mark.parametrize(
    "client", ["id-echo", "shm-echo", "shm-echo send_batch", "C", "C, 32 a write"]
)
def test_every_client_is_measured_with_every_server(pairs: str, client: str, server: str) -> None:
    assert "small: 24 bytes per sample, 1 connection\n" in pairs
    assert "small: 24 bytes per sample, 2 connections\n" in pairs
    assert "(" in row(pairs, f"{client} -> {server} "), pairs  # a rate with its range
    assert "stuck:" not in pairs


@needs_echo
@needs_compiler
def test_the_targets_that_a_short_run_reaches_are_judged(pairs: str) -> None:
    _, _, targets = pairs.partition("\nTargets\n")

    for what in ("our client and server", "send_batch and our server", "our client, id-echo's"):
        assert row(targets, f"small, 1 connection, {what}").split()[-1] in ("yes", "NO")
    assert row(targets, "atari, id-echo's clients").endswith("not measured")


def test_one_congestion_control_is_named(pairs: str) -> None:
    assert pairs.splitlines()[1].split()[-1] in ("cubic", "reno")


@needs_compiler
def test_large_samples_are_compared_with_a_bare_loop() -> None:
    output = run_benchmark(SCRIPT, "--smoke", "--parts", "bare")

    assert output.count("bare send and recv ") == 2
    assert row(output, "4MB, C, 8 connections: our server / bare").split()[-1] in (
        "yes",
        "NO",
        "measured",
    )  # too short under load


@needs_compiler
def test_the_learners_loop_is_measured() -> None:
    output = run_benchmark(SCRIPT, "--smoke", "--parts", "learner")

    lines = [line for line in output.splitlines() if line.startswith("the learner's loop keeps")]
    assert len(lines) == 2
    assert {line.split()[-1] for line in lines} <= {"yes", "NO"}


def test_idle_connections_are_measured() -> None:
    output = run_benchmark(SCRIPT, "--smoke", "--parts", "idle")

    assert "20 idle connections" in output
    assert row(output, "1 byte of 4 MB from each").split()[-1] in ("yes", "NO")


@needs_compiler
def test_the_growth_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / "growth.png"

    output = run_benchmark(SCRIPT, "--smoke", "--parts", "growth", "--plot", str(chart))

    assert f"wrote {chart}" in output
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_without_a_compiler_its_parts_are_said_to_be_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    output = run_benchmark(SCRIPT, "--smoke", "--parts", "pairs", "bare", "--only", "C")

    assert "skipped the sender in C: no C compiler" in output
    assert "skipped bare: the sender in C: no C compiler" in output


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")

    done = subprocess.run(
        [sys.executable, SCRIPT, "--smoke", "--parts", "bare"], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "false could not compile tcp_sender.c"
