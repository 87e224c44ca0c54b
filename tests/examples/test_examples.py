"""Each example runs as a user would run it, succeeds, and prints the promised results."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.log_filters import without_no_producer_warnings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(script: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *args],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert without_no_producer_warnings(done.stderr) == ""
    return done.stdout


def test_the_in_process_learner_finds_the_weights() -> None:
    out = run("in_process.py")
    assert float(out.rsplit("largest error of a weight: ", 1)[1]) < 0.1


def test_the_actors_follow_the_learner_to_the_best_arm() -> None:
    out = run("rl_actors.py", "--steps", "200")
    assert len(re.findall(r"^actor \d+: \d+ samples$", out, re.MULTILINE)) == 2
    assert "best arm 9 of 9" in out


def test_the_loader_brings_every_image_once_with_a_short_last_batch() -> None:
    pytest.importorskip("PIL", reason="the example decodes images with Pillow")
    out = run("data_loader.py", "--images", "100", "--batch", "32", "--epochs", "2")
    lines = re.findall(
        r"^epoch \d+: 100 images once each, in 4 batches \(the last has 4\)", out, re.MULTILINE
    )
    assert len(lines) == 2


def test_the_metered_actors_stream_until_their_common_budget_is_spent() -> None:
    out = run("metered_actors.py", "--actors", "2", "--flop-budget", "300000")
    assert 3.0 < float(out.split("pi is about ", 1)[1].split()[0]) < 3.3
    spent = int(re.search(r"^([\d,]+) of 300,000 FLOPs spent$", out, re.M)[1].replace(",", ""))  # type: ignore[index]
    assert 298_000 < spent <= 300_000
    assert "random.uniform" in out


def test_every_example_is_run_by_a_test() -> None:
    source = Path(__file__).read_text()
    missing = [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source]
    assert missing == []
