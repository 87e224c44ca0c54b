"""The demo with real actor processes: streaming, kills, Ctrl-C, and the learner's own death."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shm_echo.demo.fragment import STEPS
from shm_echo.demo.learner import train
from shm_echo.demo.run_records import Options, Progress
from tests.support.leftovers import child_processes

pytest.importorskip("gymnasium")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")

WATCHDOG = 400.0

COMMAND = """
import argparse, sys
from shm_echo.cli import demo
parser = argparse.ArgumentParser()
demo.add_parser(parser.add_subparsers(required=True))
sys.exit(demo.run(parser.parse_args(["demo", *sys.argv[1:]])))
"""


def test_killed_actors_are_restarted_and_every_sample_arrives_once_and_whole() -> None:
    before = set(child_processes(os.getpid()))
    shown: list[Progress] = []
    options = Options(
        actors=2, seconds=WATCHDOG, kill_actors=True, kills=3, target=0.1, seed=1, kill_interval=0.2
    )

    outcome = train(options, shown.append)

    found = outcome.delivery
    assert found.intact, found
    assert found.received > 0
    assert outcome.history.transitions == found.received * STEPS
    assert len(outcome.history.returns) >= 100
    assert outcome.versions > 1
    assert len(outcome.deaths) >= 3
    assert {death.signal for death in outcome.deaths} == {signal.SIGKILL}
    assert shown[-1].version > 1
    assert set(child_processes(os.getpid())) <= before


@contextmanager
def running_demo(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start the command in a process of its own; yield it and a pidfd of each actor."""
    command = [sys.executable, "-c", COMMAND, "--target", "1000", "--seconds", str(WATCHDOG)]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=directory,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        for line in process.stdout:
            if "producers 2" in line:
                break
        actors = []
        for pid in child_processes(process.pid):
            actors.append(os.pidfd_open(pid))
            stack.callback(os.close, actors[-1])
        assert len(actors) == 2
        yield process, actors


def wait_until_ended(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        ended, _, _ = select.select([pidfd], [], [], WATCHDOG)
        assert ended, "an actor outlived its learner"


def test_ctrl_c_ends_learner_and_actors_with_one_line_and_status_130(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (process, actors):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WATCHDOG)

        assert process.returncode == 130
        assert said == "shm-echo demo: interrupted; all actors have been terminated\n"
        wait_until_ended(actors)


def test_actors_end_when_their_learner_is_killed(tmp_path: Path) -> None:
    with running_demo(tmp_path) as (process, actors):
        process.kill()

        wait_until_ended(actors)
