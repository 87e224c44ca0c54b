"""A benchmark of which a child dies ends: with the child's words, then one line that names it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import dying_children

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PROGRAM = Path(dying_children.__file__)
START = ("exception", "import", "killed")
LATER = "killed later"


class Child(NamedTuple):
    """A kind of child process, and a run of a benchmark in which it is started early.

    Attributes:
        script: the benchmark.
        args: its options.
        runs: a regular expression for what the child runs.
        name: what the last line calls it.
        needs: a package without which there is no such child.
    """

    script: str
    args: str
    runs: str
    name: str
    needs: str = "numpy"


PAIRS = "--smoke --parts pairs --only"

# A script that is not here starts no child process.
CHILDREN = (
    Child("ring_throughput.py", "--smoke", "limit: numpy", "producer 0 of limit: numpy copy"),
    Child("ring_throughput.py", "--smoke", "shm-echo send$", "producer 0 of shm-echo send"),
    Child("ring_throughput.py", "--smoke", "send_batch", r"producer 0 of shm-echo send_batch\S+"),
    Child("ring_throughput.py", "--smoke", "id-echo", "producer 0 of id-echo", "echo"),
    Child("ring_throughput.py", "--smoke", "Queue", r"producer 0 of mp.Queue \+ np.stack"),
    Child("ring_throughput.py", "--smoke", "fifo", "producer 0 of faster-fifo.*", "faster_fifo"),
    Child("ring_latency.py", "--smoke", "round trip", "producer 0 of a bare round trip"),
    Child("ring_latency.py", "--smoke", "shm-echo", "producer 0 of shm-echo send"),
    Child("ring_latency.py", "--smoke", "id-echo", "producer 0 of id-echo", "echo"),
    Child("ring_latency.py", "--smoke", "Queue", r"producer 0 of mp.Queue \+ np.stack"),
    Child("ring_latency.py", "--smoke", "fifo", "producer 0 of faster-fifo.*", "faster_fifo"),
    Child("tcp_throughput.py", f"{PAIRS} shm-echo", "server of shm", "the server of shm-echo"),
    Child("tcp_throughput.py", f"{PAIRS} id-echo", "the server", "the server of id-echo", "echo"),
    Child("tcp_throughput.py", f"{PAIRS} id-echo", "client", "client 0 of id-echo", "echo"),
    Child("tcp_throughput.py", f"{PAIRS} C", "in C", "the sender in C", "echo"),
    Child("loader_throughput.py", "--smoke", r"loader\.trainer", "the trainer of shm-echo"),
    Child("footprint.py", "--smoke", "^import shm_echo$", "python -c 'import shm_echo'"),
    Child("footprint.py", "--smoke", "import numpy, optree\n", "the bare process"),
    Child("footprint.py", "--smoke", "subprocess, sys, numpy", "the learner"),
    Child("mechestim_overhead.py", "--smoke", "import numpy;", "python -c 'import numpy'"),
    Child("mechestim_overhead.py", "--smoke", "import mechestim", "python -c 'import mechestim .*"),
    Child("mechestim_remote.py", "--smoke", r"shm_echo\.cli\.main", "the server"),
    Child("mechestim_remote.py", "--smoke", "socketpair", "the ping-pong"),
    Child("mechestim_remote.py", "--smoke", "CASES = .*add", "the client of mechestim"),
    Child("mechestim_remote.py", "--smoke", "rate, seconds", "client 0"),
    Child("mechestim_remote.py", "--smoke", r"random\.rand", "process 0"),
    Child("mechestim_neighbours.py", "--smoke", r"shm_echo\.cli\.main", "the server"),
    Child("mechestim_neighbours.py", "--smoke", "times.append", "the client"),
    Child("mechestim_neighbours.py", "--smoke", "repeat", "the neighbour in repeat"),
    Child("mechestim_neighbours.py", "--smoke", "permutation", "the neighbour in permutation"),
)

# An import that fails is one more exception to all children of a script but the first.
FIRST = {child.script: child for child in reversed(CHILDREN)}
DEATHS = [
    (child, way)
    for child in CHILDREN
    for way in START
    if way != "import" or child is FIRST[child.script]
]

# Runs that take minutes where no child dies.
ENDLESS = "--rounds 1 --producers 2 --samples 100000000 --only"
WORKING = (
    Child(
        "ring_throughput.py",
        "--rounds 1 --seconds 300",
        "limit: numpy",
        "producer 0 of limit: numpy copy",
    ),
    Child("ring_latency.py", f"{ENDLESS} shm-echo", "shm-echo", "producer 0 of shm-echo send"),
    Child("ring_latency.py", f"{ENDLESS} id-echo", "id-echo", "producer 0 of id-echo", "echo"),
    Child("ring_latency.py", f"{ENDLESS} Queue", "Queue", r"producer 0 of mp.Queue \+ np.stack"),
    Child(
        "ring_latency.py", f"{ENDLESS} fifo", "fifo", "producer 0 of faster-fifo.*", "faster_fifo"
    ),
    Child(
        "tcp_throughput.py",
        "--seconds 300 --parts pairs --only id-echo",
        "the server",
        "the server of id-echo",
        "echo",
    ),
    Child(
        "tcp_throughput.py",
        "--seconds 300 --parts pairs --only id-echo",
        "client",
        "client 0 of id-echo",
        "echo",
    ),
    Child(
        "loader_throughput.py",
        "--seconds 300 --cases cifar --workers 1",
        r"loader\.trainer",
        "the trainer of shm-echo",
    ),
    Child("mechestim_remote.py", "--rounds 1000", r"shm_echo\.cli\.main", "the server"),
    Child("mechestim_remote.py", "--rounds 1000", "CASES = .*add", "the client of mechestim"),
    Child("mechestim_neighbours.py", "--seconds 300", r"shm_echo\.cli\.main", "the server"),
    Child(
        "mechestim_neighbours.py",
        "--elements 1000000 --seconds 1",
        "repeat",
        "the neighbour in repeat",
    ),
)


def run(child: Child, way: str) -> list[str]:
    """The lines on stderr of a benchmark that ended with status 1."""
    if importlib.util.find_spec(child.needs) is None:
        pytest.skip(f"{child.needs} is not installed: pip install 'shm-echo[bench]'")
    script = str(BENCHMARKS / child.script)
    done = subprocess.run(
        [sys.executable, str(PROGRAM), way, child.runs, script, *child.args.split()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()


def case(value: Child | str) -> str:
    return value if isinstance(value, str) else f"{value.script}: {value.name}"


@pytest.mark.parametrize(("child", "way"), DEATHS, ids=case)
def test_a_benchmark_ends_when_a_child_does_not_get_to_work(child: Child, way: str) -> None:
    *before, last = run(child, way)

    if way == "killed":
        assert re.fullmatch(f"{child.name} was killed by SIGKILL", last), [*before, last]
        return
    assert re.fullmatch(f"{child.name} ended early, with exit status 1", last), [*before, last]
    cause = {
        "exception": "RuntimeError: an injected failure",
        "import": "ModuleNotFoundError: No module named 'a_module_that_is_not_installed'",
    }
    assert before[-1] == cause[way]
    assert any(line.startswith("Traceback") for line in before)


@pytest.mark.parametrize("child", WORKING, ids=case)
def test_a_benchmark_ends_when_a_child_dies_at_work(child: Child) -> None:
    last = run(child, LATER)[-1]

    assert re.fullmatch(f"{child.name} was killed by SIGKILL", last)


def test_a_learner_ends_when_its_actor_dies() -> None:
    """The actor is a child of a child: the program that the learner is given to start."""
    *before, last = run(Child("footprint.py", "--smoke", "ShmClient\n", ""), "exception")

    assert last == "the learner ended early, with exit status 1"
    assert "RuntimeError: an injected failure" in before
    assert before[-1] == "the actor ended early, with exit status 1"


def test_every_script_that_starts_processes_is_tried_here() -> None:
    starts = re.compile(r"\b(producers|LineClient|run_python|serving|posix_spawn|pairs\.compare)\(")
    found = {path.name for path in BENCHMARKS.glob("*.py") if starts.search(path.read_text())}

    assert found == {child.script for child in CHILDREN}
