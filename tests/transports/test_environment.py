"""SHM_ECHO_ADDRESS: how a launcher gives its actors the address of a server."""

from __future__ import annotations

import os

import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import AddressError
from tests.support.numbered import EXAMPLE, numbered
from tests.support.scripts import run_script

ACTOR = """
    import numpy as np
    from shm_echo import ShmClient
    with ShmClient(None, {"x": np.zeros(3, np.float32), "n": np.int64(0)}) as client:
        client.send({"x": np.full(3, 4, np.float32), "n": 4})
        print(client.address)
"""


def test_an_actor_finds_the_server_of_its_launcher() -> None:
    with Server(EXAMPLE, 1, ShmTransport()) as server:
        assert run_script(ACTOR, env={"SHM_ECHO_ADDRESS": server.address}).split() == [
            server.address
        ]
        sample = server.sample(timeout=0)
        assert sample is not None
        assert sample.batch["n"].tolist() == [4]
        assert "SHM_ECHO_ADDRESS" not in os.environ


def test_a_given_address_is_used_whatever_the_environment_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_ADDRESS", f"{name}-other")
    with Server(EXAMPLE, 1, ShmTransport(name)), ShmClient(name, EXAMPLE) as client:
        client.send(numbered(1), timeout=0)


@pytest.mark.parametrize(("text", "state"), [(None, "is not set"), ("", "is empty")])
def test_without_an_address_the_error_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, text: str | None, state: str
) -> None:
    if text is None:
        monkeypatch.delenv("SHM_ECHO_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("SHM_ECHO_ADDRESS", text)
    with pytest.raises(AddressError, match=f"SHM_ECHO_ADDRESS {state}: let the launcher set it"):
        ShmClient(None, EXAMPLE)


@pytest.mark.parametrize("text", ["two words", "tcp://localhost:7", "ipc://relative.sock", " "])
def test_a_malformed_address_of_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SHM_ECHO_ADDRESS", text)
    with pytest.raises(AddressError, match=r"\(it comes from SHM_ECHO_ADDRESS\)$") as caught:
        ShmClient(None, EXAMPLE)
    assert caught.value.address == text
    assert str(caught.value).startswith(f"address {text!r}: ")
