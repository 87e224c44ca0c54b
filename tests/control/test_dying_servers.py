"""Servers that die while a request is under way: first the socket goes, then the process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shm_echo.control.client import client_connection as connections
from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.errors import ConnectionClosedError
from tests.control.harness import Program
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

DIES_SLOWLY = """
import socket, sys
from tests.control.harness import WELCOME
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("serving", flush=True)
sock, _ = listener.accept()
sock.recv(4096)
sock.sendall(WELCOME)
sock.recv(4096)
sock.close()
print("closed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def dying(path: str) -> Iterator[Program]:
    """A server that closes its end when it is asked for something, and does not end yet."""
    with Program(DIES_SLOWLY, path) as program:
        program.expect("serving")
        yield program


@pytest.fixture
def connection(address: str, dying: Program) -> Iterator[ClientConnection]:
    with connect(address, "test") as found:
        yield found


def test_the_end_of_a_process_whose_socket_has_gone_is_waited_for(
    dying: Program, connection: ClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_EXIT_GRACE", WATCHDOG)
    asking = Worker(connection.request, "echo", {})
    dying.expect("closed")
    asking.wait_until_asleep()
    dying.kill()
    with pytest.raises(ConnectionClosedError, match=rf"its server \(pid {dying.pid}\) has ended"):
        asking.result()


def test_a_server_that_goes_on_without_its_socket_is_not_waited_for_long(
    dying: Program, connection: ClientConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_EXIT_GRACE", 0.01)
    with pytest.raises(ConnectionClosedError, match="its server has closed the connection"):
        connection.request("echo", {})
