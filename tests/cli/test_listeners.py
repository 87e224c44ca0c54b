"""The addresses and clients of `shm-echo serve`: its options, and the errors of invalid ones."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shm_echo.errors import RefusedError
from shm_echo.mechestim.remote.session_opening import open_session
from tests.support.folders import socket_folder
from tests.support.mechestim_server import ROOT, dialled, serving
from tests.support.waiting import WATCHDOG

COMMAND = [sys.executable, "-m", "shm_echo.cli.main"]
SECRET = "correct-horse-battery"
PORT = "tcp://127.0.0.1:0"


@pytest.fixture
def folder() -> Iterator[Path]:
    with socket_folder() as path:
        yield path


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MECHESTIM_TOKEN", "MECHESTIM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tokens(folder: Path) -> str:
    path = folder / "tokens"
    path.touch(0o600)
    path.write_text(SECRET)
    return str(path)


def serve(*args: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "serve", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG)


def test_several_addresses_are_served_and_each_has_a_line(folder: Path, tokens: str) -> None:
    second = f"ipc://{folder}/second.sock"
    options = ("--url", PORT, "--url", second, "--token-file", tokens)
    with serving(folder, *options) as server:
        line = server.next_line()
        assert line.startswith("serving mechestim at tcp://127.0.0.1:")
        assert line.endswith(f" (pid {server.pid})\n")
        assert not line.startswith(f"serving mechestim at {PORT} ")
        assert server.next_line() == f"serving mechestim at {second} (pid {server.pid})\n"
        for url in (server.url, second):
            with dialled(url) as client:
                assert client.request("add", (1.0, 2.0)).item() == 3.0
        assert len(server.state()["principals"]) == 1


@pytest.mark.parametrize("how", ["option", "file variable", "variable"])
def test_the_token_comes_from_a_file_or_the_environment_and_goes_no_further(
    folder: Path, tokens: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--url", PORT]
    if how == "option":
        options += ["--token-file", tokens]
    elif how == "file variable":
        monkeypatch.setenv("MECHESTIM_TOKEN_FILE", tokens)
    else:
        monkeypatch.setenv("MECHESTIM_TOKEN", SECRET)
    with serving(folder, *options) as server:
        url = server.next_line().split()[3]
        monkeypatch.setenv("MECHESTIM_TOKEN", SECRET)
        with dialled(url) as client:
            assert client.request("add", (1.0, 2.0)).item() == 3.0
            for pid in server.wait_for_spare():  # of which none is a copy of the server any more
                assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
                assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{server.pid}/cmdline").read_bytes()
        monkeypatch.setenv("MECHESTIM_TOKEN", "wrong-horse-battery")
        with pytest.raises(RefusedError):
            open_session(url)


def test_threads_for_token_holders_must_be_asked_for(
    folder: Path, tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", SECRET)
    options = ("--url", PORT, "--token-file", tokens, "--isolation", "threads")
    with serving(folder, *options) as server, dialled(server.next_line().split()[3]) as client:
        assert client.request("add", (1.0, 2.0)).item() == 3.0
        assert [row["isolation"] for row in server.state()["rows"]] == ["threads"]
        assert server.children() == []


def test_a_port_without_a_token_is_refused_before_anything_is_served(folder: Path) -> None:
    path = folder / "s.sock"
    done = serve("--url", f"ipc://{path}", "--url", PORT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"shm-echo serve: address '{PORT}': clients need a token here: give --token-file "
        "FILE, or set MECHESTIM_TOKEN_FILE or MECHESTIM_TOKEN\n"
    )
    assert not path.exists()


def test_one_address_that_cannot_be_served_ends_the_others(folder: Path, tokens: str) -> None:
    path = folder / "s.sock"
    options = ("--url", f"ipc://{path}", "--url", "tcp://0.0.0.0:0", "--token-file", tokens)
    done = serve(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "can be reached from other hosts" in done.stderr
    assert not path.exists()


def test_the_socket_file_is_open_to_others_only_with_allow_uid(folder: Path) -> None:
    with serving(folder) as server:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
    with serving(folder, "--allow-uid", "65534") as server:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o666


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "tcp://localhost", "--token-file", "{tokens}"], "there is no port"),
        (["--url", PORT, "--token-file", "/nowhere"], "token file /nowhere: No such file"),
        (["--token-file", "{tokens}"], "--token-file is for tcp:// addresses"),
        (
            ["--url", PORT, "--token-file", "{tokens}", "--allow-uid", "7"],
            "--allow-uid is for socket files",
        ),
        (["--allow-uid", "nobody"], "'nobody' is not a user"),
        (["--allow-uid", "-7"], "expected"),
        (["--allow-uid", "7:"], "'7:' is not a user"),
        (["--allow-uid", "4294967295"], "is not a user"),
        (["--allow-uid", "7:ring"], "user 7 cannot be offered 'ring'"),
        (["--url", "some-name", "--allow-uid", "7"], "no other user can enter"),
        (["--url", "fd://3"], "fd:// is for mechestim clients"),
        (["--allow-remote"], "--allow-remote is for tcp:// addresses"),
        (["--url", PORT, "--token-file", ""], "token file : No such file"),
        (["--url", "tcp://localhost:80000"], "port '80000' is not a number from 0 to 65535"),
    ],
)
def test_invalid_options_are_refused_by_name(options: list[str], said: str, tokens: str) -> None:
    if not any("tcp" in option or option == "--url" for option in options):
        options = [*options, "--url", f"ipc://{tokens}.sock"]
    done = serve(*[option.format(tokens=tokens) for option in options])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(f"{tokens}.sock").exists()


def test_a_token_that_is_too_short_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", "hunter2")
    done = serve("--url", PORT)
    assert done.returncode == 2
    assert "has 7 characters; it needs at least 16" in done.stderr
    assert "hunter2" not in done.stderr


def test_a_program_of_run_gets_no_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", SECRET)
    program = folder / "program.py"
    program.write_text("import os; print(sorted(n for n in os.environ if 'TOKEN' in n))")
    done = subprocess.run(
        [*COMMAND, "run", "--flop-budget", "10", str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("command", ["serve", "run"])
def test_both_commands_have_the_options_of_sessions(command: str) -> None:
    done = subprocess.run(
        [*COMMAND, command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG
    )
    names = "max-bytes max-call-bytes max-frame max-handles wall-time weights isolation memory"
    for name in (*names.split(), "kernels", "blas-threads"):
        assert f"--{name}" in done.stdout, name
