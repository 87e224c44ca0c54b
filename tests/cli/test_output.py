"""Standard streams that are full, closed or without a reader: one clear line, no traceback."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shm_echo import __version__
from tests.support.folders import socket_folder
from tests.support.mechestim_server import ROOT, ServerProcess, serving
from tests.support.waiting import WATCHDOG

COMMAND = [sys.executable, "-m", "shm_echo.cli.main"]

DEMO = all(importlib.util.find_spec(name) for name in ("gymnasium", "matplotlib", "rich"))
WITH_DEMO = pytest.mark.skipif(not DEMO, reason="the extra 'demo' is not installed")

# What is shown, by what it shows.
COMMANDS = {
    "help": ["--help"],
    "help of a command": ["serve", "--help"],
    "version": ["--version"],
    "status": ["status", "{server}"],
    "watch": ["status", "{server}", "--watch", "--interval", "0.05"],
    "serve": ["serve", "--url", "ipc://{folder}/new.sock"],
    "demo": ["demo", "--seconds", "60", "--plot", "{folder}/plot.png"],
}
OUTPUTS = [pytest.param(name, marks=WITH_DEMO if name == "demo" else ()) for name in COMMANDS]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with socket_folder() as folder, serving(folder) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    with socket_folder() as path:
        yield path


def shell(
    redirections: str, *args: str, stdout: int = subprocess.PIPE, unbuffered: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does, with redirections of its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *COMMAND, *args],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "x" * unbuffered},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WATCHDOG,
    )


def arguments(name: str, folder: Path, server: ServerProcess) -> list[str]:
    return [word.format(folder=folder, server=server.url) for word in COMMANDS[name]]


def said_by(name: str) -> str:
    """The name that stands before the error message of a command."""
    words = COMMANDS[name]
    return "shm-echo" if words[-1].startswith("--") and name != "watch" else f"shm-echo {words[0]}"


@pytest.mark.parametrize(
    ("name", "unbuffered"),
    [
        *(pytest.param(*output.values, False, marks=output.marks) for output in OUTPUTS),
        *((name, True) for name in ("help", "status", "serve")),
    ],
)
def test_a_full_output_ends_every_command_with_one_line(
    name: str, unbuffered: bool, folder: Path, server: ServerProcess
) -> None:
    done = shell("> /dev/full", *arguments(name, folder, server), unbuffered=unbuffered)
    assert (done.returncode, done.stderr) == (
        1,
        f"{said_by(name)}: cannot write to standard output: No space left on device\n",
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_closed_output_ends_every_command_with_one_line(
    name: str, folder: Path, server: ServerProcess
) -> None:
    done = shell(">&-", *arguments(name, folder, server))
    assert (done.returncode, done.stderr) == (
        1,
        f"{said_by(name)}: cannot write to standard output: Bad file descriptor\n",
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_command_without_a_reader_ends_without_a_message(
    name: str, folder: Path, server: ServerProcess
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nowhere:
        done = shell("", *arguments(name, folder, server), stdout=nowhere.fileno())
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("redirections", ["2> /dev/full", "2>&-"])
def test_remarks_that_cannot_be_written_are_dropped_and_do_not_become_output(
    redirections: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text("print('ran')")
    done = shell(redirections, "run", "--flop-budget", "1e6", str(program))
    assert (done.returncode, done.stdout) == (0, "ran\n")
    done = shell(redirections, "status", f"ipc://{tmp_path}/none.sock")
    assert (done.returncode, done.stdout) == (1, "")
    done = shell(redirections, "serve", "--max-sessions", "none")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_command_with_all_streams_closed_still_returns_its_status(server: ServerProcess) -> None:
    assert shell("<&- >&- 2>&-", "status", server.url).returncode == 1
    assert shell("<&- 2>&-", "status", server.url).returncode == 0


def test_no_socket_takes_the_number_of_a_stream_that_is_closed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    report = tmp_path / "report"
    program.write_text(
        "import json, os, sys, mechestim as me\n"
        "print('text without a reader', flush=True)\n"
        "links = [os.readlink(f'/proc/self/fd/{number}') for number in range(3)]\n"
        "url = os.environ['MECHESTIM_SERVER_URL']\n"
        f"with open({str(report)!r}, 'w') as file:\n"
        "    json.dump([links, url, float(me.ones(3).sum())], file)\n"
    )
    done = shell("<&- >&- 2>&-", "run", "--flop-budget", "1e6", str(program))
    assert done.returncode == 0
    links, url, total = json.loads(report.read_text())
    assert (links, total) == (["/dev/null"] * 3, 3.0)
    assert int(url.removeprefix("fd://")) > 2


def test_a_program_of_run_handles_its_own_output_errors(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "try:\n"
        "    while True:\n"
        "        print('line', flush=True)\n"
        "except BrokenPipeError:\n"
        "    sys.stdout = None\n"
        "    sys.exit(5)\n"
    )
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nowhere:
        done = shell("", "run", "--flop-budget", "9", str(program), stdout=nowhere.fileno())
    assert done.returncode == 5
    assert done.stderr.startswith("mechestim FLOP Budget Summary\n")


@WITH_DEMO
def test_a_plot_that_cannot_be_written_is_named() -> None:
    done = shell("", "demo", "--actors", "1", "--seconds", "0.1", "--plot", "/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "shm-echo demo: cannot write the plot /dev/full: No space left on device"
    )
    assert "Traceback" not in done.stderr


def test_output_that_can_be_written_is_whole(server: ServerProcess) -> None:
    done = shell("", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"shm-echo {__version__}\n", "")
    done = shell("", "status", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mechestim server ")
