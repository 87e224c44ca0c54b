"""Ctrl-C: status 130 and no traceback, wherever a command is."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from shm_echo.cli import demo, loader, run, serve, status
from shm_echo.cli.main import main
from tests.support.terminal import Terminal


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        (demo, ["demo"]),
        (loader, ["loader", "my_module:make_dataset"]),
        (serve, ["serve"]),
        (status, ["status"]),
        (run, ["run", "--flop-budget", "1", "program.py"]),
    ],
    ids=["demo", "loader", "serve", "status", "run"],
)
def test_an_interrupted_command_prints_nothing(
    module: object,
    argv: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", interrupted)
    assert main(argv) == 128 + signal.SIGINT
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_before_run_has_started_the_program_ends_it_too(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.touch()
    # As if it were pressed while the server is made, when signals wait. What is started instead of
    # Python takes a signal at any moment of its life in the same way.
    start = f"""
import os, signal, sys
from shm_echo.cli.main import main
spawn = os.posix_spawn
os.posix_spawn = lambda path, argv, env, **how: spawn("/bin/sleep", ["sleep", "1000"], env, **how)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
while signal.SIGINT not in signal.sigpending():
    signal.sigtimedwait([], 0.01)
sys.exit(main(["run", "--flop-budget", "9", {str(program)!r}]))
"""
    with Terminal([sys.executable, "-c", start]) as terminal:
        terminal.read_until(b"ready")
        terminal.type(b"\x03")
        assert terminal.wait() == 128 + signal.SIGINT
        assert b"mechestim FLOP Budget Summary" in terminal.said
