"""Peers that are refused: another user, and a process whose life cannot be watched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from shm_echo.control.address import Address
from shm_echo.control.client.client_connection import connect
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import PeerRefusedError
from tests.control.harness import CLIENT, SERVER, Program, Recorder

NOBODY = 65534

AS_NOBODY = """
import os, sys
# Imported before, because another user may not be able to read this installation.
import shm_echo.control.client.client_connection, shm_echo.control.server.control_server
import tests.control.harness
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
"""

PRINTS_ERRORS = """
try:
    exec(sys.argv[2])
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def may_become_nobody() -> bool:
    """Return True if this process may become user 65534: root may, if its namespace has one."""
    if os.geteuid() != 0:
        return False
    script = f"import os; os.setresgid(*3 * [{NOBODY}]); os.setresuid(*3 * [{NOBODY}])"
    return (
        subprocess.run([sys.executable, "-S", "-c", script], stderr=subprocess.DEVNULL).returncode
        == 0
    )


needs_root = pytest.mark.skipif(
    not may_become_nobody(), reason="becoming another user takes root, which this process is not"
)


def unshare_reason() -> str | None:
    """Return why a pid namespace cannot be created here; None if it can."""
    if shutil.which("unshare") is None:
        return "there is no unshare program"
    done = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


@pytest.fixture
def elsewhere() -> list[str]:
    """A command prefix that runs a program in a pid namespace of its own."""
    reason = unshare_reason()
    if reason is not None:
        pytest.skip(f"a pid namespace cannot be made here: {reason}")
    return ["unshare", "--pid", "--fork", "--kill-child"]


@needs_root
def test_another_user_cannot_open_the_socket(
    server: ControlServer, address: str, path: str, folder: str
) -> None:
    os.chmod(folder, 0o755)
    with Program(AS_NOBODY + PRINTS_ERRORS, address, CLIENT) as client:
        assert client.hear() == (
            f"PeerRefusedError {path} may not be opened by this process (user {NOBODY}): "
            "it belongs to another user"
        )


@needs_root
def test_another_user_that_can_open_the_socket_is_refused_by_the_server(
    server: ControlServer, service: Recorder, address: str, path: str, folder: str
) -> None:
    os.chmod(folder, 0o755)
    os.chmod(path, 0o666)
    # The client's own check would refuse first: it is switched off to see what the server does.
    script = (
        AS_NOBODY + "shm_echo.control.client.socket_connect.check_peer = print\n" + PRINTS_ERRORS
    )
    with Program(script, address, CLIENT) as client:
        assert client.hear().startswith("Peer(")
        assert client.hear() == (
            f"PeerRefusedError {path} refused this process: the client runs as user {NOBODY} and "
            "this process as user 0: both must be the same user"
        )
    assert not service.calls_of("open")


@needs_root
def test_a_server_of_another_user_is_refused_by_the_client(address: str, folder: str) -> None:
    os.chmod(folder, 0o777)
    with Program(AS_NOBODY + SERVER + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        with pytest.raises(PeerRefusedError, match=f"runs as user {NOBODY} and this process as"):
            connect(address, "test")


def test_a_client_that_cannot_see_the_servers_process_refuses_it(
    server: ControlServer, service: Recorder, address: str, path: str, elsewhere: list[str]
) -> None:
    with Program("import sys\n" + PRINTS_ERRORS, address, CLIENT, prefix=elsewhere) as client:
        assert client.hear() == (
            f"PeerRefusedError the server at {path} lives in another pid namespace (a container), "
            "so that its end could not be noticed: run both in one pid namespace"
        )
    assert not service.calls_of("open")


def test_a_client_that_the_server_cannot_see_is_refused_by_it(
    address: str, elsewhere: list[str]
) -> None:
    script = SERVER + "sys.stdin.readline()"
    with Program(script, address, prefix=elsewhere) as program:
        program.expect("serving")
        with pytest.raises(PeerRefusedError, match="the client lives in another pid namespace"):
            connect(address, "test")
        program.say()
        assert program.wait() == 0


def test_two_processes_in_another_namespace_can_connect(address: str, elsewhere: list[str]) -> None:
    script = f"""
import sys
from shm_echo.control.client.client_connection import connect
exec({SERVER!r})
connect(sys.argv[1], "test").goodbye()
server.close()
print("fine", flush=True)
"""
    with Program(script, address, prefix=elsewhere) as program:
        program.expect("serving")
        program.expect("fine")


def test_the_private_folder_is_not_shared_with_another_user(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
    with ControlServer("x", {"test": Recorder()}) as server:
        assert isinstance(server.address, Address)
        assert os.stat(server.address.folder).st_mode & 0o077 == 0
        assert os.stat(server.address.path).st_mode & 0o177 == 0
