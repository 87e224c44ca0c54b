"""examples/train_torch.py: equal losses for any number of workers, and after a crash."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_torch.py"
SMALL = ("--images", "320", "--epochs", "3")


def run(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *SMALL, *arguments],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def losses(out: str) -> dict[int, str]:
    found = re.findall(r"^batch +(\d+): loss (\S+)$", out, re.M)
    return {int(batch): loss for batch, loss in found}


def test_the_losses_do_not_depend_on_workers_or_crashes(tmp_path: Path) -> None:
    expected = losses(run())
    assert list(expected) == [10, 20, 30]
    assert float(expected[30]) < float(expected[10])
    assert losses(run("--workers", "3")) == expected
    file = ("--checkpoint", str(tmp_path / "run.pt"))
    first = losses(run(*file, "--kill-at", "23", status=-signal.SIGKILL))
    assert first == {10: expected[10], 20: expected[20]}
    out = run(*file, "--workers", "2")
    assert out.startswith("goes on behind batch 20\n")
    assert losses(out) == {30: expected[30]}


def test_two_processes_train_together() -> None:
    out = run("--processes", "2")
    assert list(losses(out)) == [10, 20, 30]
    assert out.endswith("trained on 30 batches\n")
