"""No file descriptor left: on the server, on the client, and while a server starts."""

from __future__ import annotations

import os
import threading

import pytest

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import RefusedError
from tests.control.harness import (
    SERVER,
    WATCHDOG,
    Program,
    Recorder,
    eventually,
)

SHORT_OF_DESCRIPTORS = (
    """
import logging, os, resource, sys
from shm_echo.control.server.acceptor import Acceptor
from tests.control.harness import descriptor_links
logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stdout)
most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
def limit(number):
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
def descriptors():
    return len(os.listdir("/proc/self/fd")) - 1
def hold_one():
    try:
        os.dup(0)
    except OSError:
        return False
    return True
def pidfds():
    return sum("pidfd" in link for link in descriptor_links("self"))
attempts = []
accept_one = Acceptor.accept_one
Acceptor.accept_one = lambda *args: attempts.append(0) or accept_one(*args)
"""
    + SERVER
    + """
for line in sys.stdin:
    print(eval(line), flush=True)
"""
)


def ask(program: Program, question: str) -> str:
    program.say(question)
    return program.hear()


def test_a_server_without_descriptors_says_so_and_recovers(address: str) -> None:
    with Program(SHORT_OF_DESCRIPTORS, address) as program:
        program.expect("serving")
        before = ask(program, "descriptors()")
        ask(program, "limit(24)")
        good: list[ClientConnection] = []

        def fill_up() -> None:
            while True:
                good.append(connect(address, "test"))

        with pytest.raises(RefusedError, match="no file descriptor left") as caught:
            fill_up()
        assert caught.value.code == "full"
        assert "RLIMIT_NOFILE is 24" in program.hear()
        assert len(good) > 5
        # One was left for the connection, but not for a pidfd. Now none is left at all.
        eventually(lambda: ask(program, "hold_one()") == "True")
        for _ in range(3):
            with pytest.raises(RefusedError, match="no file descriptor left"):
                connect(address, "test")
        # The ones that are in are still served.
        for connection in good:
            connection.request("echo", {})
            connection.goodbye()
        connect(address, "test").goodbye()
        eventually(lambda: ask(program, "descriptors() - 1") == before)


def test_a_server_that_cannot_even_refuse_waits_without_spinning(address: str) -> None:
    with Program(SHORT_OF_DESCRIPTORS, address) as program:
        program.expect("serving")
        ask(program, "limit(3)")
        connections: list[ClientConnection] = []
        thread = threading.Thread(
            target=lambda: connections.append(connect(address, "test", handshake_timeout=WATCHDOG))
        )
        thread.start()
        assert "RLIMIT_NOFILE is 3" in program.hear()
        ticks = int(ask(program, "len(service.calls_of('tick'))"))
        eventually(lambda: int(ask(program, "len(service.calls_of('tick'))")) >= ticks + 4)
        assert ask(program, "len(attempts)") == "1"
        ask(program, "limit(most)")
        thread.join(WATCHDOG)
        (connection,) = connections
        connection.request("echo", {})
        connection.goodbye()


def test_a_process_with_many_connections_costs_one_pidfd(address: str) -> None:
    with Program(SHORT_OF_DESCRIPTORS, address) as program:
        program.expect("serving")
        connections = [connect(address, "test") for _ in range(5)]
        assert ask(program, "pidfds()") == "1"
        for connection in connections:
            connection.goodbye()
        eventually(lambda: ask(program, "pidfds()") == "0")


def test_a_client_without_descriptors_gets_an_error_that_names_the_limit(
    server: ControlServer, service: Recorder, address: str
) -> None:
    script = """
import os, resource, sys
from shm_echo.control.client.client_connection import connect
from shm_echo.errors import DescriptorLimitError
most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
connection = connect(sys.argv[1], "test")
free = os.open("/dev/null", os.O_RDONLY)
os.close(free)
def report(call):
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 3, hard))
    try:
        call()
    except DescriptorLimitError as error:
        print(error.limit == free + 3, "RLIMIT_NOFILE" in str(error), connection.closed, flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
report(lambda: connect(sys.argv[1], "test"))
for fd in taken:
    os.close(fd)
report(lambda: connection.request("fds", {}))
print(os.open("/dev/null", os.O_RDONLY) <= free, flush=True)
"""
    fd = os.open("/dev/null", os.O_RDONLY)
    service.fds = [fd] * 10
    with Program(script, address) as client:
        client.expect("True True False")
        client.expect("True True True")
        client.expect("True")
    os.close(fd)


def test_a_server_that_cannot_open_its_descriptors_says_so_and_leaves_none_open(
    address: str, path: str
) -> None:
    script = """
import os, resource, sys
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import AddressError, DescriptorLimitError
most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
before = len(os.listdir("/proc/self/fd"))
for room in range(6):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + room, hard))
    server = ControlServer(sys.argv[1], {})
    try:
        server.start()
        server.close()
    except (AddressError, DescriptorLimitError) as error:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        assert "open" in str(error), error
        assert server.close() is None
        assert not os.path.exists(sys.argv[2])
    assert len(os.listdir("/proc/self/fd")) == before, room
print("fine", flush=True)
"""
    with Program(script, address, path) as program:
        program.expect("fine")
