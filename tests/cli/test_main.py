"""The command line as a whole: its general options, and the modules that it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shm_echo import __version__
from shm_echo.cli.main import main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"shm-echo {__version__}\n"


def test_no_command_is_an_error_that_lists_the_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_describes_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # so wide that no description is broken
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "train CartPole from actors in other processes" in capsys.readouterr().out


def test_the_command_line_loads_numpy_only_when_a_command_runs() -> None:
    # The demo sets the number of BLAS threads, which NumPy reads once, when it is imported.
    code = "import shm_echo.cli.main, sys; print('numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
