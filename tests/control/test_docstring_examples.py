"""The examples in the docstrings of the control plane and of the command line run."""

from __future__ import annotations

import doctest
import importlib
import re
import textwrap

import pytest

from shm_echo.control.client.client_connection import connect
from shm_echo.control.server.control_server import ControlServer
from tests.control.harness import ROOT, Recorder

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("control", "cli")
    for path in sorted((ROOT / "shm_echo" / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_print_the_results_they_show(module: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert failed == 0
    assert attempted > 0


def block_in(docstring: str | None) -> str:
    """Return the Python block of a docstring."""
    found = re.search(r"```python\n(.*?)```", docstring or "", re.DOTALL)
    assert found is not None
    return textwrap.dedent(found[1])


def test_the_example_of_a_server_and_its_client_runs(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    names = {"ControlServer": ControlServer, "connect": connect, "EchoService": Recorder}
    exec(block_in(ControlServer.__doc__), names)
    assert names["result"] == {"op": "echo", "args": {"text": "hello"}}


def test_the_example_of_connect_runs(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    names = {"connect": connect}
    with ControlServer("my-server", {"echo": Recorder()}):
        exec(block_in(connect.__doc__), names)
    assert "hello" in str(names["result"])
