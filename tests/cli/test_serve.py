"""`shm-echo serve` and `shm-echo status`: starting, reporting, ending, and refusing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo.cli import arguments, status
from shm_echo.cli.main import main
from shm_echo.errors import ConnectionClosedError
from shm_echo.mechestim.remote.session_opening import open_session
from tests.support.folders import socket_folder
from tests.support.mechestim_server import (
    ROOT,
    RawClient,
    ServerProcess,
    dialled,
    handle_of,
    serving,
)
from tests.support.terminal import Terminal
from tests.support.waiting import WATCHDOG, wait_until

COMMAND = [sys.executable, "-m", "shm_echo.cli.main"]


@pytest.fixture
def folder() -> Iterator[Path]:
    with socket_folder() as path:
        yield path


@pytest.fixture
def server(folder: Path) -> Iterator[ServerProcess]:
    with serving(folder, "--max-flop-budget", "1e6") as running:
        yield running


def shm_echo(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG
    )


def test_one_line_says_that_the_server_is_ready_and_its_address(server: ServerProcess) -> None:
    assert server.ready == f"serving mechestim at {server.url} (pid {server.pid})\n"
    with dialled(server.url) as client:
        assert client.request("add", (1.0, 2.0)).item() == 3.0


def test_status_tells_sessions_budgets_arrays_and_requests(server: ServerProcess) -> None:
    with dialled(server.url) as client:
        x = client.request("zeros", (1000,))
        held = client.request("add", (x, 1.0))
        done = shm_echo("status", server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert held.shape == (1000,)
    head, totals, _, names, principal, _, columns, row = done.stdout.splitlines()
    assert f"pid {server.pid}" in head
    assert totals.startswith("sessions: 1 of 1024   arrays: 2 (15.6 KiB)   requests: 2 (")
    assert names.split() == ["who", "sessions", "FLOPs", "ceiling", "spent"]
    assert principal.split()[2:] == ["1", "1,000", "1,000,000", "0.1%"]
    assert columns.split()[-2:] == ["FLOPs", "now"]
    assert row.split()[-1] == "idle"


def test_status_watches_until_it_is_interrupted(server: ServerProcess) -> None:
    watching = subprocess.Popen(
        [*COMMAND, "status", server.url, "--watch", "--interval", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    with watching.stdout as lines:
        heads = 0
        while heads < 3:
            heads += next(lines).startswith("mechestim server ")
        watching.send_signal(signal.SIGINT)
        lines.read()
    assert watching.wait(WATCHDOG) == 128 + signal.SIGINT


@pytest.mark.parametrize("options", [[], ["--watch", "--interval", "0.05"]])
def test_status_ends_without_a_message_when_its_reader_has_gone(
    server: ServerProcess, options: list[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as nowhere:
        done = subprocess.run(
            [*COMMAND, "status", server.url, *options],
            cwd=ROOT,
            stdout=nowhere,
            stderr=subprocess.PIPE,
            timeout=WATCHDOG,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_status_of_a_server_that_is_killed_ends_and_says_so(folder: Path) -> None:
    with serving(folder) as server:
        watching = subprocess.Popen(
            [*COMMAND, "status", server.url, "--watch", "--interval", "0.05"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("mechestim server ")
        server.signal(signal.SIGKILL)
        _, said = watching.communicate(timeout=WATCHDOG)
        assert watching.returncode == 1
        assert said == (
            f"shm-echo status: the connection to {server.path} is closed: its server "
            f"(pid {server.pid}) has ended\n"
        )
        again = shm_echo("status", server.url)
        assert again.returncode == 1
        assert "its server has ended and left the socket behind" in again.stderr
    with serving(folder) as server:  # at the socket that was left behind
        assert shm_echo("status", server.url).returncode == 0


def test_status_without_a_server_says_so(folder: Path) -> None:
    done = shm_echo("status", f"ipc://{folder}/none.sock")
    assert done.returncode == 1
    assert done.stderr.startswith(f"shm-echo status: no server at {folder}/none.sock: ")
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_running_operation_and_tells_the_clients(
    folder: Path, number: signal.Signals
) -> None:
    with serving(folder) as server, RawClient(server.path) as busy:
        idle = open_session(server.url)
        x = handle_of(busy.result("random.randn", 800, 800))
        busy.send_message({"id": 50, "op": "linalg.eigvals", "a": [x], "b": 0})
        wait_until(lambda: server.state()["requests"] == 2, "it has begun")
        server.signal(number)
        reply = busy.receive_message()
        assert reply is not None
        assert "r" in reply
        assert busy.closed_reason() == "the server is shutting down"
        with pytest.raises(ConnectionClosedError, match="the server is shutting down"):
            idle.request("add", (1.0, 2.0))
        idle.close()
        assert server.wait() == 0
        assert not server.path.exists()
        assert server.log.read_text() == ""


def test_an_address_that_is_in_use_is_refused(server: ServerProcess) -> None:
    done = shm_echo("serve", "--url", server.url)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"is already served by pid {server.pid}" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "tcp://localhost:5"], "tcp"),
        (["--url", "ipc://relative"], "absolute"),
        (["--max-flop-budget", "lots"], "is not a number of FLOPs"),
        (["--max-flop-budget", "-5"], "is not a number of FLOPs"),
        (["--max-flop-budget", "nan"], "is not a number of FLOPs"),
        (["--max-bytes", "4X"], "is not a size"),
        (["--max-sessions", "0"], "is not a whole number from 1 to 2147483647"),
        (["--wall-time", "inf"], "is not a number of seconds"),
        (["--weights", "/nowhere.json"], "cannot read the weights file"),
        (["--isolation", "hope"], "invalid choice"),
    ],
)
def test_invalid_options_are_refused_by_name(options: list[str], said: str) -> None:
    done = shm_echo("serve", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_of_the_server_count_against_the_ceiling(folder: Path) -> None:
    weights = folder / "weights.json"
    weights.write_text('{"exp": 16}')
    with serving(folder, "--weights", str(weights), "--max-flop-budget", "1e6") as server:
        with dialled(server.url) as client:
            client.request("budget.configure", (0, False, {"exp": 1.0}))  # the client's own view
            client.request("exp", (client.request("zeros", (100,)),))
            (principal,) = server.state()["principals"]
            assert principal["flops"] == 1600


# ---------------------------------------------------------------- how numbers are written


@pytest.mark.parametrize(
    ("text", "value"),
    [("4096", 4096), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("2k", 2048), ("1TB", 1 << 40)],
)
def test_sizes_have_units(text: str, value: int) -> None:
    assert arguments.size(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("1e12", 10**12), ("1000", 1000), (str(2**63 - 1), 2**63 - 1)]
)
def test_budgets_may_be_written_with_an_exponent(text: str, value: int) -> None:
    assert arguments.flops(text) == value


def test_a_report_of_many_sessions_says_how_many_it_leaves_out() -> None:
    names = "principal pid age_s objects bytes contexts requests flops running_s isolation"
    row = dict(
        zip(names.split(), ("user 7", 12, 3661.0, 1, 3 << 40, 1, 1, 2, 7.0, "threads"), strict=True)
    )
    names = "version pid uptime_s isolation sessions max_sessions objects bytes requests"
    state: dict[str, Any] = dict(
        zip(names.split(), ("1", 1, 5.0, "threads", 3, 9, 1, 8, 1), strict=True)
    )
    state.update(requests_per_s=0.0, rows=[row], principals=[])
    lines = status.report(state).splitlines()
    assert lines[-1] == "  ... and 2 more"
    assert "1:01:01" in lines[-2]
    assert "3.0 TiB" in lines[-2]
    assert lines[-2].endswith("runs for 7.0 s")


def test_every_option_of_the_guide_exists_and_every_option_is_in_the_guide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # so wide that no option is broken
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    usage = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--verbose"}
    guide = (ROOT / "docs/how-to/server.md").read_text()
    table = guide.partition("| Option |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == usage


def test_a_terminal_gets_a_table_that_is_drawn_in_place(server: ServerProcess) -> None:
    pytest.importorskip("rich", reason="without it, one report follows the other")
    options = ["status", server.url, "--watch", "--interval", "0.05"]
    with Terminal([*COMMAND, *options], {"TERM": "xterm", "COLUMNS": "200"}) as terminal:
        terminal.read_until(b"mechestim server ", times=3)
        terminal.type(b"\x03")
        assert terminal.wait() == 128 + signal.SIGINT
        assert b"\x1b[" in terminal.said
        assert b"Traceback" not in terminal.said
