"""Forks: a child of a server or of a client can neither use nor keep alive its connections.

Every fork happens in a process of its own, never in the one that runs the tests.
"""

from __future__ import annotations

import os
import select
import signal
import socket

import pytest

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import ConnectionClosedError, ServerNotFoundError
from tests.control.harness import (
    SERVER,
    WATCHDOG,
    Program,
    Recorder,
    descriptor_links,
    eventually,
    process_state,
    readable,
)

FORKS_CHILDREN = (
    """
import os, signal
"""
    + SERVER
    + """
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for number in (0, 1):
            os.close(number)
        signal.pause()
    print(child, flush=True)
"""
)


def sockets_of(pid: int) -> int:
    """Return the number of open sockets, pidfds, epoll and event descriptors of a process."""
    kinds = ("socket:", "anon_inode:", "pidfd:")
    return sum(link.startswith(kinds) for link in descriptor_links(pid))


def wait_for_end_of_stream(connection: ClientConnection) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    assert poll.poll(WATCHDOG * 1000)


def test_the_death_of_a_server_is_visible_although_its_child_lives(address: str) -> None:
    with Program(FORKS_CHILDREN, address) as program, connect_to(program, address) as connection:
        program.say()
        child = int(program.hear())
        try:
            program.kill()
            readable(connection.pidfd)
            wait_for_end_of_stream(connection)
            assert connection.loss_reason() == f"its server (pid {program.pid}) has ended"
            with pytest.raises(ConnectionClosedError, match="has ended"):
                connection.request("echo", {})
            with pytest.raises(ServerNotFoundError, match="its server has ended"):
                connect(address, "test")
            with ControlServer(address, {"test": Recorder()}):
                connect(address, "test").goodbye()
            eventually(lambda: process_state(child) == "S")
        finally:
            os.kill(child, signal.SIGKILL)


def connect_to(program: Program, address: str) -> ClientConnection:
    program.expect("serving")
    return connect(address, "test")


def test_a_child_of_a_server_has_none_of_its_descriptors(address: str) -> None:
    with Program(FORKS_CHILDREN, address) as program:
        program.expect("serving")
        connections = [connect(address, "test") for _ in range(3)]
        half_open = socket.socket(socket.AF_UNIX)
        half_open.connect(address.removeprefix("ipc://"))
        program.say()
        child = int(program.hear())
        try:
            assert sockets_of(program.pid) > 6
            eventually(lambda: sockets_of(child) == 0)
            # The parent is not affected.
            for connection in connections:
                connection.request("echo", {})
                connection.goodbye()
            connect(address, "test").goodbye()
        finally:
            half_open.close()
            os.kill(child, signal.SIGKILL)


def test_children_that_are_forked_while_clients_come_and_go_have_no_sockets(address: str) -> None:
    with Program(FORKS_CHILDREN, address) as program:
        program.expect("serving")
        children = []
        try:
            for _ in range(30):
                program.say()
                # The server accepts and closes these while the fork happens.
                connections = [connect(address, "test") for _ in range(5)]
                for connection in connections:
                    connection.goodbye()
                children.append(int(program.hear()))
            # The parent may be the first to come back from a fork.
            eventually(lambda: not any(sockets_of(child) for child in children))
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)


def test_a_fork_waits_until_a_connection_that_is_being_accepted_is_known(address: str) -> None:
    script = (
        """
import threading
import shm_echo.control.server.acceptor as acceptor
accepted, forked = threading.Event(), threading.Event()
peer_of = acceptor.peer_of
def slowly(sock):
    # The connection has a descriptor now, and the server has not noted it yet.
    accepted.set()
    forked.wait(0.3)
    return peer_of(sock)
acceptor.peer_of = slowly
"""
        + SERVER
        + """
import os, signal
accepted.wait()
child = os.fork()
if child == 0:
    for number in (0, 1):
        os.close(number)
    signal.pause()
forked.set()
print(child, flush=True)
sys.stdin.readline()
"""
    )
    with Program(script, address) as program:
        program.expect("serving")
        connection = connect(address, "test")
        child = int(program.hear())
        try:
            eventually(lambda: sockets_of(child) == 0)
        finally:
            os.kill(child, signal.SIGKILL)
        assert connection.goodbye()


def test_a_child_of_a_server_can_neither_serve_nor_remove_its_socket(
    address: str, path: str
) -> None:
    script = (
        SERVER
        + """
import os
child = os.fork()
if child == 0:
    print(server.running, flush=True)
    for call in (server.start, lambda: server.call_soon(print)):
        try:
            call()
        except RuntimeError as error:
            print(error, flush=True)
    server.close()
    del server
    sys.exit(0)   # runs the exit handlers, unlike os._exit
os.waitpid(child, 0)
print("child has ended", flush=True)
sys.stdin.readline()
server.close()
"""
    )
    with Program(script, address) as program:
        program.expect("serving")
        program.expect("False")
        for _ in range(2):
            assert f"belongs to process {program.pid}" in program.hear()
        program.expect("child has ended")
        assert os.path.exists(path)
        connect(address, "test").goodbye()
        program.say()
        assert program.wait() == 0
    assert not os.path.exists(path)


def test_a_child_of_a_server_may_serve_at_an_address_of_its_own(address: str, folder: str) -> None:
    script = (
        SERVER
        + """
import os
child = os.fork()
if child == 0:
    with ControlServer(sys.argv[1] + "2", {"test": Recorder()}):
        print("serving too", flush=True)
        sys.stdin.readline()
    os._exit(0)
os.waitpid(child, 0)
"""
    )
    with Program(script, address) as program:
        program.expect("serving")
        program.expect("serving too")
        with connect(address, "test") as first, connect(f"{address}2", "test") as second:
            assert first.peer.pid == program.pid != second.peer.pid
        program.say()
        assert program.wait() == 0


FORKED_CLIENT = """
import os, sys
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import ForkedHandleError
connection = connect(sys.argv[1], "test")
child = os.fork()
if child == 0:
    try:
        connection.request("echo", {})
    except ForkedHandleError as error:
        print(error, flush=True)
    exec(sys.argv[2])
    print(connection.fileno(), connection.pidfd, flush=True)
    with connect(sys.argv[1], "test") as another:
        print(another.request("echo", {})[0]["op"], flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(connection.request("echo", {})[0]["op"], connection.goodbye(), flush=True)
"""


@pytest.mark.parametrize("way", ["abandon", "close", "goodbye"])
def test_a_child_of_a_client_closes_without_a_message_and_connects_anew(
    server: ControlServer, service: Recorder, address: str, way: str
) -> None:
    with Program(FORKED_CLIENT, address, f"connection.{way}()") as program:
        assert "cannot be used in its forked child: connect again there" in program.hear()
        program.expect("-1 -1")
        program.expect("echo")
        program.expect("echo True")
    assert [call[0] for call in service.calls if call[0] != "tick"] == [
        "open",
        "open",
        "request",
        "goodbye",
        "request",
        "goodbye",
    ]


def test_a_child_that_is_forked_during_a_request_can_abandon_at_once(
    server: ControlServer, service: Recorder, address: str
) -> None:
    script = """
import os, sys, threading
from shm_echo.control.client.client_connection import connect
connection = connect(sys.argv[1], "test")
thread = threading.Thread(target=lambda: connection.request("wait", {}))
thread.start()
print("asking", flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    connection.abandon()   # the lock is held by a thread that does not exist here
    print("abandoned", flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("child has ended", flush=True)
thread.join()
print(connection.goodbye(), flush=True)
"""
    with Program(script, address) as program:
        program.expect("asking")
        service.wait_for("request")
        program.say()
        program.expect("abandoned")
        program.expect("child has ended")
        service.release.set()
        program.expect("True")
