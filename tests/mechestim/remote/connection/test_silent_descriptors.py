"""A client over `fd://N` does not wait for ever for a server that neither reads nor answers."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.mechestim.remote.client_script import ROOT, command, environment, run_client
from tests.mechestim.remote.test_bare import SANDBOX
from tests.support.waiting import stop

_SERVER = """
import socket, sys
from shm_echo.mechestim.service.server import MechEstimService
service = MechEstimService()
service.adopt(socket.socket(fileno=int(sys.argv[1])), isolation="threads")
print("serving", flush=True)
sys.stdin.read()
"""

# Waits in an operation, and prints the errors.
_ASK = """
import mechestim as me
from shm_echo.mechestim.remote import client_session as session
x = me.ones(4)
print("ready", flush=True)
session.channel()._pipe.peer_timeout = float(input())
try:
    {request}
except TimeoutError as error:
    print(type(error).__name__, error, flush=True)
try:
    me.ones(4)
except ConnectionError as error:
    print(type(error).__name__, error, flush=True)
"""

_SMALL = "x + 1"
_LARGE = "me.array([0.5] * 10**6)"  # 8 MB: far more than a socket holds


@dataclass
class Given:
    """The client's end of a connection, and the process that serves the other one."""

    sock: socket.socket
    server: subprocess.Popen[str]


@pytest.fixture
def given() -> Iterator[Given]:
    ours, theirs = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(ours.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        pass_fds=[ours.fileno()],
    )
    ours.close()
    with theirs, server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "serving\n"
            yield Given(theirs, server)
        finally:
            server.kill()


@contextmanager
def asking(given: Given, source: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Start a client that runs `source` over the descriptor; its input and output are pipes."""
    fd = given.sock.fileno()
    client = subprocess.Popen(
        command(source),
        env=environment(f"fd://{fd}", **more),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[fd],
    )
    with client:
        try:
            yield client
        finally:
            client.kill()


def output_after_a_stop(
    client: subprocess.Popen[str],
    given: Given,
    peer_timeout: float,
    socket_timeout: float = 0.0,
) -> list[str]:
    """Stop the server between two operations of the client; return the client's output.

    The short time-outs begin after the first operation, which may take longer on a busy machine.

    Args:
        client: A client that runs `_ASK`.
        given: Its connection.
        peer_timeout: Seconds that the client waits itself.
        socket_timeout: Seconds that its reads and writes wait; 0 for ever.
    """
    assert client.stdout is not None
    assert client.stdin is not None
    assert client.stdout.readline() == "ready\n"
    limit = struct.pack("ll", 0, int(socket_timeout * 1e6))
    given.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    given.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    stop(given.server.pid)
    client.stdin.write(f"{peer_timeout}\n")
    client.stdin.flush()
    lines = client.stdout.read().splitlines()
    assert client.wait() == 0, lines
    return lines


@pytest.mark.parametrize("request_", [_SMALL, _LARGE], ids=["small", "large"])
def test_a_request_to_a_server_that_stopped_is_a_timeout_error_after_the_time_out(
    given: Given, request_: str
) -> None:
    source = _ASK.format(request=request_)
    with asking(given, source) as client:
        first, second = output_after_a_stop(client, given, 0.3)
    assert first.startswith("RequestTimeoutError")
    assert "0.3 s" in first
    assert second.startswith("ServerNotFoundError")
    assert "carries one session" in second


@pytest.mark.parametrize("request_", [_SMALL, _LARGE], ids=["small", "large"])
def test_without_poll_the_time_out_of_the_descriptor_ends_the_wait(
    given: Given, request_: str
) -> None:
    """The program that passes the descriptor on sets it, as docs/how-to/client.md says."""
    with asking(given, SANDBOX + _ASK.format(request=request_)) as client:
        first, second = output_after_a_stop(client, given, 1000.0, socket_timeout=0.3)
    assert first.startswith("RequestTimeoutError")
    assert second.startswith("ServerNotFoundError")
    assert "carries one session" in second


_FORK = """
import os, sys
import mechestim as me
x = me.ones(4)
child = os.fork()
if child == 0:
    try:
        me.ones(4)
    except ConnectionError as error:
        os._exit(7 if "the parent process's" in str(error) else 1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(float((x + 1).sum()))
"""


def test_a_forked_child_does_not_speak_on_its_parents_descriptor(given: Given) -> None:
    with asking(given, _FORK) as client:
        assert client.stdout is not None
        assert client.stdout.read() == "8.0\n"
        assert client.wait() == 0


def test_a_descriptor_without_an_answer_is_a_server_not_found() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = theirs.fileno()
        done = run_client(
            f"fd://{fd}",
            "import mechestim as me; me.ones(1)",
            env={"MECHESTIM_TIMEOUT": "0.3"},
            pass_fds=[fd],
        )
    assert done.returncode == 1
    assert f"ServerNotFoundError: no server at fd://{fd}" in done.stderr
    assert "says nothing" in done.stderr
