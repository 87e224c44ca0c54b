"""Connecting: every way in which a server can be missing, late or of another kind."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading

import pytest

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.protocol.messages import PROTOCOL
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import (
    AddressError,
    HandshakeTimeoutError,
    PeerRefusedError,
    ProtocolError,
    ProtocolVersionError,
    ServerNotFoundError,
)
from tests.control.harness import (
    WATCHDOG,
    WELCOME,
    Recorder,
    fake_server,
    frame,
)
from tests.support.threads import Worker

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")


# ---------------------------------------------------------------- reaching a server


def test_no_socket_is_no_server(address: str, path: str) -> None:
    with pytest.raises(ServerNotFoundError, match=f"no server at {path}: there is no socket") as e:
        connect(address, "test")
    assert e.value.address == path


def test_a_socket_that_a_dead_server_left_is_no_server(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(ServerNotFoundError, match=f"no server at {path}: its server has ended"):
        connect(address, "test", 0.05)


def test_a_file_is_no_server(address: str, path: str) -> None:
    with open(path, "w"):
        pass
    with pytest.raises(ServerNotFoundError, match="that file is not a socket"):
        connect(address, "test")


def test_a_path_through_a_file_is_no_server(folder: str) -> None:
    with open(f"{folder}/file", "w"):
        pass
    with pytest.raises(ServerNotFoundError, match="Not a directory"):
        connect(f"ipc://{folder}/file/s", "test")


def test_a_socket_of_another_kind_is_named(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(ProtocolError, match=f"{path} is not served by shm-echo: .*kind"):
            connect(address, "test")


def test_a_private_folder_that_is_not_safe_is_not_entered(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
    os.mkdir(f"{folder}/shm-echo")
    os.chmod(f"{folder}/shm-echo", 0o777)
    with pytest.raises(AddressError, match="open to other users"):
        connect("x", "test", 20.0)


@pytest.mark.parametrize("value", [-1, math.nan, "5", None])
def test_a_time_out_is_a_number_of_seconds(address: str, value: float) -> None:
    with pytest.raises(ValueError, match="timeout: expected seconds from 0 up"):
        connect(address, "test", value)


@pytest.mark.parametrize("stale", [False, True])
def test_a_client_waits_for_a_server_that_is_not_up_yet(
    address: str, path: str, stale: bool
) -> None:
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    connections: list[ClientConnection] = []
    thread = threading.Thread(target=lambda: connections.append(connect(address, "test", WATCHDOG)))
    thread.start()
    with ControlServer(address, {"test": Recorder()}):
        thread.join(WATCHDOG)
        (connection,) = connections
        connection.request("echo", {})
        connection.goodbye()


def test_a_client_waits_while_the_socket_is_there_and_no_server_listens_yet(
    address: str, path: str
) -> None:
    connections: list[ClientConnection] = []
    thread = threading.Thread(target=lambda: connections.append(connect(address, "test", WATCHDOG)))
    with socket.socket(socket.AF_UNIX) as starting:
        starting.bind(path)
        thread.start()
        starting.listen()
        sock, _ = starting.accept()
        with sock:
            assert sock.recv(4096)
            sock.sendall(WELCOME)
            thread.join(WATCHDOG)
            connections[0].close()


def test_a_client_that_meets_a_closing_server_connects_to_the_next_one(
    address: str, path: str
) -> None:
    connections: list[ClientConnection] = []
    thread = threading.Thread(target=lambda: connections.append(connect(address, "test", WATCHDOG)))
    with fake_server(path):
        thread.start()
        # It has been accepted and closed without a word when the fake server ends.
    with ControlServer(address, {"test": Recorder()}):
        thread.join(WATCHDOG)
        connections[0].goodbye()


# ---------------------------------------------------------------- the wrong server


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"garbage without end " * 10,
        frame(type="reply", id=1, result={}),
    ],
)
def test_something_else_that_answers_is_a_protocol_error_with_the_path(
    address: str, path: str, words: bytes
) -> None:
    with (
        fake_server(path, words),
        pytest.raises(ProtocolError, match=f"^{path} does not speak the shm-echo"),
    ):
        connect(address, "test", 20.0)


def test_a_server_that_closes_without_an_answer_is_a_protocol_error(
    address: str, path: str
) -> None:
    with fake_server(path), pytest.raises(ProtocolError, match=f"^{path} is not served by"):
        connect(address, "test")


@pytest.mark.parametrize("words", [b"", b"\x20\x00\x00\x00\x81"])
def test_silence_is_a_time_out_that_says_that_the_server_is_there(
    address: str, path: str, words: bytes
) -> None:
    heard = "only part of an answer" if words else "no answer"
    with fake_server(path, words, close=False):
        with pytest.raises(HandshakeTimeoutError) as caught:
            connect(address, "test", handshake_timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.address, caught.value.pid) == (path, os.getpid())
        assert str(caught.value).startswith(
            f"{path}: the server is there (pid {os.getpid()}) and does not answer: {heard} came "
            "within 0.05 s: it is stopped or busy, "
        )


def test_a_silent_server_has_what_is_left_of_the_connect_time(address: str, path: str) -> None:
    with (
        fake_server(path, b"", close=False),
        pytest.raises(HandshakeTimeoutError, match=r"came within 0\.[234]\d* s"),
    ):
        connect(address, "test", 0.4, handshake_timeout=0.0)


def test_a_server_whose_queue_is_full_is_there_and_does_not_answer(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as queue:
        listener.bind(path)
        listener.listen(0)
        while True:
            waiting = queue.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            try:
                waiting.connect(path)
            except BlockingIOError:
                break
        with pytest.raises(HandshakeTimeoutError, match="does not answer: its queue of waiting"):
            connect(address, "test", handshake_timeout=0.05)
        connecting = Worker(connect, address, "test", handshake_timeout=WATCHDOG)
        connecting.wait_until_asleep()
        assert connecting.thread.is_alive()
        listener.settimeout(WATCHDOG)
        for _ in range(2):  # one place for the client, and the client
            listener.accept()[0].close()
        with pytest.raises((ProtocolError, ServerNotFoundError)):
            connecting.result()


def test_another_protocol_is_one_sentence_with_both_versions(address: str, path: str) -> None:
    welcome = frame(type="welcome", protocol=9, package="7.1", news=[1, 2])
    with fake_server(path, welcome), pytest.raises(ProtocolVersionError) as caught:
        connect(address, "test")
    assert (caught.value.ours, caught.value.theirs) == (PROTOCOL, 9)
    assert "shm-echo 7.1" in str(caught.value)


def test_a_socket_that_may_not_be_opened_belongs_to_another_user(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shm_echo.control.client.socket_connect.socket.socket.connect", refuse)
    with pytest.raises(PeerRefusedError, match=f"{path} may not be opened by this process"):
        connect(address, "test", 20.0)
