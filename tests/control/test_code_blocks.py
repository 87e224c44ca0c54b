"""The blocks of code in the docstrings of the control plane run."""

from __future__ import annotations

import re
import textwrap

import pytest

from shm_echo.control.client.client_connection import connect
from shm_echo.control.server.control_server import ControlServer
from tests.control.harness import Recorder


def block_in(docstring: str | None) -> str:
    """Return the Python block of a docstring."""
    found = re.search(r"```python\n(.*?)```", docstring or "", re.DOTALL)
    assert found is not None
    return textwrap.dedent(found[1])


def test_the_example_of_a_server_and_its_client_runs(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
    names = {"ControlServer": ControlServer, "connect": connect, "EchoService": Recorder}
    exec(block_in(ControlServer.__doc__), names)
    assert names["result"] == {"op": "echo", "args": {"text": "hello"}}


def test_the_example_of_connect_runs(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
    names = {"connect": connect}
    with ControlServer("my-server", {"echo": Recorder()}):
        exec(block_in(connect.__doc__), names)
    assert "hello" in str(names["result"])
