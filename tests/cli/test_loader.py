"""`shm-echo loader`: real runs with datasets of a module in the current folder."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shm_echo.cli.main import main
from tests.support.terminal import Terminal
from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "shm_echo.cli.main", "loader"]
QUICK = ["--seconds", "0.1", "--batch-size", "8"]

MODULE = """
import numpy as np

class Images:
    def __len__(self):
        return 64

    def __getitem__(self, index):
        return np.full((4, 4), index, np.uint8), index

class Broken(Images):
    def __getitem__(self, index):
        if index == 5:
            raise OSError("file 5 is\\ndamaged")
        return super().__getitem__(index)

class Empty(Images):
    def __len__(self):
        return 0

images = Images()
number = 7
make_images = Images

def make_number():
    return 7

def fail():
    raise ValueError("no such folder")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "datasets_here.py").write_text(MODULE)
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('a bad\\nline')\n")
    (tmp_path / "needy_module.py").write_text("import a_module_that_is_nowhere\n")
    return tmp_path


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )


def output(folder: Path, *args: str) -> str:
    done = run(folder, *args)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# ---------------------------------------------------------------- what it prints


@pytest.mark.parametrize("name", ["Images", "images", "make_images"])
def test_a_dataset_a_class_and_a_function_are_measured(folder: Path, name: str) -> None:
    lines = output(folder, f"datasets_here:{name}", "--workers", "0", *QUICK).splitlines()

    assert lines[0].startswith(f"datasets_here:{name}: 24 bytes an item, batches of 8 in order, ")
    assert lines[2].split()[:2] == ["workers", "items/s"]
    assert lines[3].split()[0] == "0"
    assert re.fullmatch(r"The loop without workers brings \S+ items/s: .*\.", lines[-1])


def test_each_number_of_workers_has_a_row_and_one_sentence_advises(folder: Path) -> None:
    out = output(
        folder, "datasets_here:Images", "--workers", "0", "2", "0", "1", "--step-ms", "5", *QUICK,
        "--shuffle", "--rows-per-claim", "4",
    )  # fmt: skip

    head, *rows = out.splitlines()[2:6]
    assert head.split()[-4:] == ["waits", "at", "5", "ms"]
    assert [row.split()[0] for row in rows] == ["0", "2", "1"]
    for row in rows:
        rate, _, cpu, milliseconds, first, waits = row.split()[1:]
        assert float(rate.replace(",", "")) > 0
        assert float(cpu.replace(",", "")) > 0
        assert float(milliseconds.replace(",", "")) > 0
        assert float(first.replace(",", "")) >= 0
        assert re.fullmatch(r"\d+%", waits)
    sentence = out.splitlines()[-1]
    assert sentence.endswith(".")
    assert re.match(
        r"\d workers? (is|are) enough|\d workers? brings? the most|No workers", sentence
    )


def test_torch_is_measured_with_the_same_dataset(folder: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: tox -e torch")

    out = output(folder, "datasets_here:Images", "--workers", "1", "--compare", "torch", *QUICK)

    assert [" ".join(line.split()[:2]) for line in out.splitlines()[3:5]] == [
        "shm-echo 1",
        "torch 1",
    ]


def test_a_chart_is_written_where_one_is_asked_for(folder: Path) -> None:
    pytest.importorskip("matplotlib")

    out = output(
        folder, "datasets_here:Images", "--workers", "0", "1", "--plot", "chart.png", *QUICK
    )

    assert out.endswith("plot: chart.png\n")
    assert (folder / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_terminal_shows_a_bar_while_it_measures_and_then_the_table(folder: Path) -> None:
    pytest.importorskip("rich")
    where = f"import os; os.chdir({str(folder)!r})"
    program = f"{where}; from shm_echo.cli.main import main; raise SystemExit(main())"
    argv = ["datasets_here:Images", "--workers", "1", "--seconds", "0.5"]
    with Terminal([sys.executable, "-c", program, "loader", *argv], {"TERM": "xterm"}) as terminal:
        terminal.read_until("━".encode())
        terminal.read_until(b"items/s")

        assert terminal.wait() == 0
        assert b"shm-echo, 1 worker" in terminal.said


# ---------------------------------------------------------------- what it refuses

ERRORS = [
    ("datasets_here", 2, "datasets_here is not MODULE:NAME, such as my_module:make_dataset"),
    ("nowhere:x", 2, "there is no module nowhere in this folder or on Python's path"),
    ("nowhere.at.all:x", 2, "there is no module nowhere in this folder or on Python's path"),
    ("needy_module:x", 2, "the module needy_module needs another one: No module named "),
    ("broken_module:x", 2, "the module broken_module cannot be imported: RuntimeError: a bad line"),
    ("datasets_here:absent", 2, "the module datasets_here has no absent"),
    ("datasets_here:number", 2, "datasets_here:number is a int, and neither a dataset nor "),
    ("datasets_here:make_number", 2, "datasets_here:make_number() returned a int, which is no "),
    ("datasets_here:fail", 2, "datasets_here:fail() raised ValueError: no such folder"),
    ("datasets_here:Empty", 2, "the dataset has no items"),
]


@pytest.mark.parametrize(("dataset", "status", "text"), ERRORS)
def test_a_dataset_that_is_not_there_is_one_line(
    folder: Path, dataset: str, status: int, text: str
) -> None:
    done = run(folder, dataset, "--workers", "0", *QUICK)

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (status, "")
    assert line.startswith(f"shm-echo loader: {text}")


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        ("0", "shm-echo, 0 workers: an item failed: OSError: file 5 is damaged"),
        ("1", "shm-echo, 1 worker: item 5 failed: OSError: file 5 is damaged"),
    ],
)
def test_an_item_that_raises_is_one_line(folder: Path, workers: str, text: str) -> None:
    done = run(folder, "datasets_here:Broken", "--workers", workers, *QUICK)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"shm-echo loader: {text}\n"


@pytest.mark.parametrize(
    ("library", "options", "text"),
    [
        ("torch", ["--compare", "torch"], "--compare torch needs torch, which is not installed: "),
        ("matplotlib", ["--plot", "chart.png"], "--plot needs matplotlib, which is not installed"),
    ],
)
def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(
    library: str,
    options: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find_spec: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == library else find_spec(name, *rest),
    )

    assert main(["loader", "nowhere:x", *options]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"shm-echo loader: {text}")
    assert "pip install 'shm-echo[" in err


def test_a_chart_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")

    assert main(["loader", "nowhere:x", "--plot", str(tmp_path / "none" / "chart.png")]) == 2
    assert "does not exist" in capsys.readouterr().err


# ---------------------------------------------------------------- advice


def figures(workers: int, rate: float, loop: float, others: float, delay: float = 0.0) -> Any:
    from shm_echo.cli.loader_runs import Figures

    return Figures(
        "shm-echo", workers, int(rate), max(1, int(rate / 10)), int(rate) * 1000, 1.0, loop, others,
        delay, 0.1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        (
            [figures(0, 100, 1.0, 0), figures(1, 99, 0.1, 0.95)],
            "No workers are needed (100 items/s without, at most 100 with them): the limit is",
        ),
        (
            [figures(1, 1000, 0.1, 0.9), figures(2, 2000, 0.2, 1.8), figures(4, 2100, 0.2, 3.3)],
            "2 workers are enough (2,000 items/s, at most 2,100 with more): the limit is the "
            "dataset, at 1,000 us of CPU an item, and more workers would help.",
        ),
        (
            [figures(1, 1000, 0.1, 0.9), figures(4, 4000, 0.2, 3.9)],
            "4 workers bring the most of those tried (4,000 items/s): the limit is the CPUs, at "
            "1,025 us of CPU an item and 4.1 of 4 CPUs in use.",
        ),
        (
            [figures(1, 1000, 0.1, 0.95), figures(2, 900, 0.1, 0.9)],
            "1 worker is enough (1,000 items/s, and more are no faster): the limit is the ",
        ),
        (
            [figures(1, 1000, 0.1, 0.1)],
            "1 worker brings 1,000 items/s: the limit is the dataset: a worker is busy for 10% of ",
        ),
        (
            [figures(1, 1000, 0.1, 0.4, delay=0.5)],
            "1 worker brings 1,000 items/s: the limit is the CPUs, at 500 us of CPU an item: the "
            "workers waited for a CPU for 50% of the time",
        ),
        ([figures(2, 1000, 0.95, 0.4)], "2 workers bring 1,000 items/s: the limit is the loop: "),
        (
            [figures(2, 6_000_000, 0.3, 1.0)],
            "2 workers bring 6,000,000 items/s: the limit is memory bandwidth, at 6 GB/s, 60% of ",
        ),
    ],
)
def test_the_advice_names_enough_workers_and_what_bounds_them(runs: list[Any], text: str) -> None:
    from shm_echo.cli.loader_report import advice

    said = advice(runs, cpus=4, copy_rate=1e10)

    assert said.startswith(text)
    assert said.endswith(".")


def test_a_loop_waits_for_what_its_step_does_not_cover() -> None:
    workers = figures(2, 1000, 0.1, 0.9)  # a batch in 10 ms
    assert [workers.wait_share(step) for step in (0.0025, 0.01, 0.04)] == [0.75, 0.0, 0.0]
    alone = figures(0, 1000, 1.0, 0.0)
    assert [alone.wait_share(step) for step in (0.01, 0.03)] == [0.5, 0.25]
