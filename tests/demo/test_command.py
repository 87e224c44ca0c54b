"""The command line of `shm-echo demo`: rejected options and their messages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from shm_echo.cli import demo


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shm-echo")
    demo.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(["demo", *arguments])


@pytest.mark.parametrize("name", ["gymnasium", "matplotlib", "rich"])
def test_a_missing_extra_is_one_sentence_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("gymnasium", "matplotlib", "rich"):
        monkeypatch.setitem(sys.modules, extra, argparse)  # any module that is there
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed

    assert demo.run(parse()) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (f"shm-echo demo: {name} is not installed: pip install 'shm-echo[demo]'\n")


def test_all_missing_extras_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("gymnasium", "matplotlib", "rich"):
        monkeypatch.setitem(sys.modules, name, None)

    assert demo.run(parse()) == 2
    assert "gymnasium, matplotlib and rich are not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--actors", "0"), "'0' is not a whole number from 1 to 1024"),
        (("--actors", "two"), "'two' is not a whole number from 1 to 1024"),
        (("--actors", "1025"), "'1025' is not a whole number from 1 to 1024"),
        (("--seconds", "-1"), "'-1' is not a number of seconds above 0"),
        (("--seconds", "nan"), "'nan' is not a number of seconds above 0"),
        (("--seconds", "1e400"), "'1e400' is not a number of seconds above 0 and at most 1e9"),
        (("--target", "0"), "'0' is not a number above 0"),
        (("--target", "1e400"), "'1e400' is not a number above 0"),
        (("--seed", "-1"), "'-1' is not a whole number from 0 to 2147483647"),
        (("--seed", "1.5"), "'1.5' is not a whole number from 0 to 2147483647"),
    ],
)
def test_a_bad_option_is_refused_by_name(
    arguments: tuple[str, str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(*arguments)

    assert refusal.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {arguments[0]}: {complaint}" in said


def test_a_plot_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("gymnasium", "matplotlib", "rich"):
        monkeypatch.setitem(sys.modules, extra, argparse)
    nowhere = tmp_path / "missing" / "plot.png"

    assert demo.run(parse("--plot", str(nowhere))) == 2
    assert f"the directory {nowhere.parent} does not exist" in capsys.readouterr().err

    assert demo.run(parse("--plot", str(tmp_path))) == 2
    assert f"{tmp_path} is a directory" in capsys.readouterr().err
