"""Options with invalid values: refused by name and range, before any resource is created."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from shm_echo.cli import quotas
from shm_echo.cli.main import main

FLOPS = "a whole number above 0 and below 2**63"
COUNT = "a whole number from 1 to 2147483647"
SIZE = "a number of bytes, 1 or more and below 2**62"
SECONDS = "a number of seconds above 0 and at most 1e9"

OF_SESSIONS = {
    "--max-bytes": SIZE,
    "--max-call-bytes": SIZE,
    "--max-frame": "a number of bytes, 4K or more and below 2**62",
    "--memory": "a number of bytes, 64M or more and below 2**62",
    "--max-handles": COUNT,
    "--kernels": COUNT,
    "--blas-threads": COUNT,
    "--wall-time": SECONDS,
}
RANGES = {
    "serve": {
        "--max-flop-budget": FLOPS,
        "--max-sessions": COUNT,
        "--max-sessions-per-user": COUNT,
        **OF_SESSIONS,
    },
    "run": {"--flop-budget": FLOPS, **OF_SESSIONS},
    "status": {"--interval": SECONDS},
    "demo": {
        "--actors": "a whole number from 1 to 1024",
        "--seconds": SECONDS,
        "--target": "a number above 0",
        "--seed": "a whole number from 0 to 2147483647",
    },
}
CASES = [(command, option) for command, options in RANGES.items() for option in options]
HUGE = "9" * 30
VALUES = [
    (*case, value)
    for case in CASES
    for value in ("-1", "nan", "1e400", "text", "", HUGE)
    if (case[1], value) != ("--target", HUGE)  # a return may be as high as it likes
]


@pytest.mark.parametrize(("command", "option", "value"), VALUES)
def test_a_value_is_refused_with_the_option_and_its_range(
    command: str,
    option: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([command, f"{option}={value}"])
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith(f"shm-echo {command}: error: argument {option}: {value!r} is not a")
    assert RANGES[command][option] in last
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("command", "option"), [case for case in CASES if case[1] != "--seed"])
def test_zero_is_refused_too(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, option, "0"])
    assert end.value.code == 2
    assert f"argument {option}: '0' is not a" in capsys.readouterr().err


@pytest.mark.parametrize("command", RANGES)
def test_every_option_that_takes_a_number_is_tried_here(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.split("\n\n")[0].replace("[", " ").replace("]", " ").split()
    numbers = {"N", "S", "R", "SIZE"}
    found = {words[i] for i in range(len(words) - 1) if words[i + 1] in numbers}
    assert found == set(RANGES[command])


def test_a_missing_program_is_reported_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "--flop-budget", "1e6"])
    assert end.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "shm-echo run: error: the following arguments are required: program"


def test_sessions_that_may_hold_little_have_the_memory_that_a_process_takes() -> None:
    given = dict.fromkeys(
        ("memory", "max_bytes", "max_call_bytes", "max_frame", "max_handles", "wall_time")
    )
    small = argparse.Namespace(**{**given, "max_bytes": 1, "max_call_bytes": 1})
    assert quotas.make_quotas(small).memory == 64 << 20
    assert quotas.make_quotas(argparse.Namespace(**given)).memory is None
    exact = argparse.Namespace(**{**given, "max_bytes": 1, "memory": 1 << 30})
    assert quotas.make_quotas(exact).memory == 1 << 30
