"""Malformed addresses, as users write them: to `serve`, to `status`, and to a client."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shm_echo.errors import AddressError, ServerNotFoundError
from shm_echo.mechestim import backend_choice
from shm_echo.mechestim.remote import client_session
from shm_echo.mechestim.remote.session_opening import open_session
from tests.support.mechestim_server import ROOT
from tests.support.waiting import WATCHDOG

NAME = "a name (letters, digits, '.', '_', '-'; at most 64)"
FORMS = {
    "serve": f"use {NAME}, ipc:///absolute/path.sock or tcp://HOST:PORT",
    "status": f"use {NAME} or ipc:///absolute/path.sock",
    "client": f"use {NAME}, ipc:///absolute/path.sock, tcp://HOST:PORT or fd://N",
}
WHERE = {"serve": ["serve", "--url"], "status": ["status"]}
CLIENT = "import mechestim as me; me.ones(3)"


def said(side: str, url: str) -> str:
    """Return the last line that a failing command, or a client, prints about an address."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "shm_echo.cli.main", *WHERE.get(side, ()), url]
    if side == "client":
        variables["MECHESTIM_SERVER_URL"] = url
        command = [sys.executable, "-c", CLIENT]
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=WATCHDOG
    )
    assert done.returncode == {"serve": 2, "status": 1, "client": 1}[side]
    assert ("Traceback" in done.stderr) == (side == "client")
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("side", FORMS)
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("foo://x", "unknown scheme 'foo'"),
        ("ipc:/tmp/x", "not a name"),
        ("tcp//host:1", "not a name"),
        ("  ", "it is empty"),
    ],
)
def test_the_message_lists_all_forms_of_an_address(side: str, url: str, problem: str) -> None:
    assert said(side, url).endswith(f"address {url!r}: {problem}: {FORMS[side]}")


@pytest.mark.parametrize("side", ["serve", "status"])
def test_an_empty_address_is_refused_by_a_command(side: str) -> None:
    assert said(side, "").endswith(f"address '': it is empty: {FORMS[side]}")


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_SERVER_URL", "")
    assert backend_choice.detect_backend() == "local"
    assert client_session.server_url() == "ipc:///tmp/mechestim.sock"
    monkeypatch.setenv("MECHESTIM_SERVER_URL", " ")
    assert backend_choice.detect_backend() == "remote"
    assert client_session.server_url() == " "
    monkeypatch.setenv("MECHESTIM_SERVER_URL", " ipc:///x ")
    assert client_session.server_url() == "ipc:///x"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("tcp://host:80000", "port '80000' is not a number from 1 to 65535"),
        ("tcp://host:0", "port '0' is not a number from 1 to 65535"),
        ("tcp://host:-1", "port '-1' is not a number from 1 to 65535"),
        ("tcp://host:abc", "port 'abc' is not a number from 1 to 65535"),
        ("tcp://host", "there is no port: expected tcp://HOST:PORT"),
        ("tcp://:5000", "there is no host: expected tcp://HOST:PORT"),
        ("tcp://::1:5000", "host '::1' is not an IPv6 address in brackets"),
        ("fd://x", "expected fd://N with the number of an inherited descriptor"),
        ("fd://-1", "expected fd://N with the number of an inherited descriptor"),
        (f"fd://{'9' * 20}", "expected fd://N with the number of an inherited descriptor"),
        (f"fd://{'9' * 5000}", "expected fd://N with the number of an inherited descriptor"),
        ("fd://\N{ARABIC-INDIC DIGIT THREE}", "expected fd://N with the number"),
    ],
)
def test_a_client_names_the_part_that_is_wrong(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", "correct-horse-battery")
    with pytest.raises(AddressError) as caught:
        open_session(url)
    assert problem in str(caught.value)


def test_descriptors_of_an_arena_that_cannot_be_are_an_error_of_the_address() -> None:
    with pytest.raises(ServerNotFoundError, match="its arena cannot be mapped"):
        open_session(f"fd://0?arena={'9' * 20},5")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("tcp://host:80000", "port '80000' is not a number from 0 to 65535 (0: one that is free)"),
        ("tcp://host", "there is no port: expected tcp://HOST:PORT, such as tcp://127.0.0.1:5000"),
    ],
)
def test_serve_checks_the_address_before_it_asks_for_a_token(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MECHESTIM_TOKEN", "MECHESTIM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert said("serve", url) == f"shm-echo serve: address {url!r}: {problem}"


def test_status_says_that_it_is_offered_at_unix_sockets_only() -> None:
    assert said("status", "tcp://127.0.0.1:5000") == (
        "shm-echo status: address 'tcp://127.0.0.1:5000': tcp:// does not reach this service, "
        "which is offered at Unix sockets of this host only (samples go over TCP by TcpTransport "
        f"and TcpClient): {FORMS['status']}"
    )
