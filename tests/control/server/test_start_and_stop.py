"""The socket file: one live server has it, a dead one loses it, other users cannot open it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import stat
import threading

import pytest

from shm_echo.control.address import Address
from shm_echo.control.client.client_connection import connect
from shm_echo.control.server import control_server as control_server_module
from shm_echo.control.server import unix_listener as unix_listener_module
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import (
    AddressError,
    AddressInUseError,
    ConnectionClosedError,
    ServerNotFoundError,
)
from tests.control.harness import (
    SERVER,
    WATCHDOG,
    Program,
    RawClient,
    Recorder,
    eventually,
    open_fds,
    readable,
)

SERVES_UNTIL_LINE = SERVER + "sys.stdin.readline(); server.close(); print('closed', flush=True)\n"


def leave_a_stale_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)


def test_a_server_comes_and_goes_and_leaves_nothing(address: str, folder: str) -> None:
    before = open_fds()
    threads = threading.active_count()
    server = ControlServer(address, {"test": Recorder()})
    assert not server.running
    server.start()
    assert server.running
    assert os.listdir(folder) == ["s"]
    server.close()
    server.close()
    assert not server.running
    assert os.listdir(folder) == []
    assert open_fds() <= before
    assert threading.active_count() <= threads  # one of another test may have ended meanwhile
    with pytest.raises(RuntimeError, match="started once"):
        server.start()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_socket_is_for_its_user_alone_with_any_umask(
    address: str, path: str, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    chmod = os.chmod

    def look_before_chmod(name: str, mode: int) -> None:
        # The moment in which the file has a name, and has not been given its mode by name.
        modes.append(stat.S_IMODE(os.stat(name).st_mode))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", look_before_chmod)
    before = os.umask(umask)
    try:
        with ControlServer(address, {}):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)
    assert modes
    assert not any(mode & 0o077 for mode in modes)


def test_a_name_is_served_from_the_private_folder(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/shm-echo")
    with ControlServer("cartpole", {"test": Recorder()}) as server:
        assert isinstance(server.address, Address)
        assert server.address.path == f"{folder}/shm-echo/cartpole.sock"
        connect("cartpole", "test").goodbye()


def test_the_socket_of_a_dead_server_is_replaced(address: str, path: str) -> None:
    leave_a_stale_socket(path)
    with ControlServer(address, {"test": Recorder()}):
        connect(address, "test").goodbye()


def test_a_live_server_keeps_its_address_and_is_named_by_its_pid(address: str) -> None:
    with Program(SERVES_UNTIL_LINE, address) as program:
        program.expect("serving")
        with pytest.raises(AddressInUseError, match=f"served by pid {program.pid}") as caught:
            ControlServer(address, {}).start()
        assert caught.value.pid == program.pid
        connect(address, "test").goodbye()
        program.say()
        program.expect("closed")
        assert program.wait() == 0
    with ControlServer(address, {}):
        pass


def test_after_a_kill_the_next_start_just_works_again_and_again(address: str) -> None:
    for _ in range(5):
        with Program(SERVES_UNTIL_LINE, address) as program:
            program.expect("serving")
            connect(address, "test").goodbye()
            program.kill()
            assert program.wait() == -signal.SIGKILL
    with ControlServer(address, {"test": Recorder()}):
        connect(address, "test").goodbye()


RACER = """
import sys
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import AddressInUseError
from tests.control.harness import Recorder
server = ControlServer(sys.argv[1], {"test": Recorder()})
print("ready", flush=True)
sys.stdin.readline()
try:
    server.start()
    print("won", flush=True)
except AddressInUseError as error:
    print("lost to", error.pid, flush=True)
sys.stdin.readline()
server.close()
"""


@pytest.mark.parametrize("stale", [False, True])
def test_of_several_starters_at_once_exactly_one_wins(
    address: str, path: str, folder: str, stale: bool
) -> None:
    with contextlib.ExitStack() as stack:
        racers = [stack.enter_context(Program(RACER, address)) for _ in range(4)]
        for racer in racers:
            racer.expect("ready")
        if stale:
            leave_a_stale_socket(path)
        for racer in racers:
            racer.say()
        words = {racer.pid: racer.hear() for racer in racers}
        (winner,) = [pid for pid, word in words.items() if word == "won"]
        assert sorted(words.values()) == [f"lost to {winner}"] * (len(racers) - 1) + ["won"]
        connect(address, "test").goodbye()
        assert os.listdir(folder) == ["s"]
        for racer in racers:
            racer.say()
            assert racer.wait() == 0
    assert os.listdir(folder) == []


def race(address: str) -> tuple[list[ControlServer], list[int | None]]:
    """Start four servers at one address at once: the winners, and the pids that the others met."""
    barrier = threading.Barrier(4)
    won: list[ControlServer] = []
    met: list[int | None] = []

    def start() -> None:
        server = ControlServer(address, {})
        barrier.wait(WATCHDOG)
        try:
            server.start()
            won.append(server)
        except AddressInUseError as error:
            met.append(error.pid)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, met


def test_of_starters_in_threads_of_one_process_exactly_one_wins(address: str, path: str) -> None:
    for _ in range(10):
        leave_a_stale_socket(path)
        won, met = race(address)
        assert met == [os.getpid()] * 3
        (winner,) = won
        winner.close()


def test_a_folder_that_stays_locked_is_a_clear_error(
    address: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_listener_module, "_LOCK_TIMEOUT", 0.05)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(AddressError, match=r"has kept the folder .* locked"):
            ControlServer(address, {}).start()
    finally:
        os.close(fd)
    with ControlServer(address, {}):
        pass


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_file_that_is_not_a_socket_is_never_replaced(address: str, path: str, kind: str) -> None:
    if kind == "file":
        with open(path, "w") as file:
            file.write("precious")
    elif kind == "folder":
        os.mkdir(path)
    else:
        os.symlink("elsewhere", path)
    with pytest.raises(AddressError, match="exists and is not a socket"):
        ControlServer(address, {}).start()
    assert os.path.lexists(path)
    if kind == "folder":
        os.rmdir(path)


def test_a_socket_of_another_kind_is_in_use(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(AddressInUseError, match="served by another process"):
            ControlServer(address, {}).start()


def test_a_server_whose_queue_is_full_is_in_use(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(path)
            with pytest.raises(AddressInUseError):
                ControlServer(address, {}).start()


def test_a_missing_folder_is_a_clear_error(folder: str) -> None:
    with pytest.raises(AddressError, match=f"the folder {folder}/none does not exist"):
        ControlServer(f"ipc://{folder}/none/s", {}).start()


def test_a_folder_that_may_not_be_written_is_a_clear_error() -> None:
    with pytest.raises(AddressError, match="cannot listen at /proc/self/s"):
        ControlServer("ipc:///proc/self/s", {}).start()


def test_a_socket_that_is_no_longer_ours_is_left_alone(address: str, path: str) -> None:
    first = ControlServer(address, {})
    first.start()
    os.unlink(path)
    with ControlServer(address, {"test": Recorder()}):
        first.close()
        connect(address, "test").goodbye()


def test_a_closing_server_tells_its_clients(address: str, path: str) -> None:
    with ControlServer(address, {"test": Recorder()}) as server, RawClient(path) as client:
        client.hello()
        connection = connect(address, "test")
        server.close()
        assert client.hear() == {"type": "closed"}
        assert client.hear() is None
        readable(connection)
        assert connection.loss_reason() == "its server has closed the connection"
        with pytest.raises(ConnectionClosedError, match=path):
            connection.request("echo", {})
    with pytest.raises(ServerNotFoundError):
        connect(address, "test")


def test_a_server_can_be_closed_from_its_own_thread(address: str, path: str) -> None:
    with ControlServer(address, {}) as server:
        done = threading.Event()

        def close() -> None:
            server.close()
            done.set()

        server.call_soon(close)
        assert done.wait(WATCHDOG)
    for thread in threading.enumerate():
        if thread.name == "shm-echo-control":
            thread.join(WATCHDOG)
    assert not os.path.exists(path)


def test_a_service_that_blocks_cannot_make_close_hang(
    address: str,
    path: str,
    service: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(control_server_module, "_JOIN_TIMEOUT", 0.05)
    server = ControlServer(address, {"test": service})
    server.start()
    with RawClient(path) as client:
        client.hello()
        client.say(type="request", id=1, op="wait", args={})
        service.wait_for("request")
        with caplog.at_level(logging.WARNING):
            server.close()
        assert "keeps the control server from closing" in caplog.text
        service.release.set()
        for thread in threading.enumerate():
            if thread.name == "shm-echo-control":
                thread.join(WATCHDOG)
        assert not os.path.exists(path)


def test_a_server_that_is_not_closed_warns_and_closes(address: str, path: str) -> None:
    servers = [ControlServer(address, {})]
    servers[0].start()
    with pytest.warns(ResourceWarning, match=f"unclosed control server at {path}"):
        servers.clear()
    assert not os.path.exists(path)


def test_a_program_that_ends_without_closing_leaves_no_socket_and_prints_nothing(
    address: str, path: str
) -> None:
    with Program(SERVER, address) as program:
        program.expect("serving")
        assert program.wait() == 0
        with pytest.raises(AssertionError, match="ended without a word"):
            program.hear()
    assert not os.path.exists(path)


def test_a_failed_start_leaves_nothing_open(address: str, path: str) -> None:
    before = open_fds()
    with ControlServer(address, {}):
        inside = open_fds()
        for _ in range(3):
            with pytest.raises(AddressInUseError):
                ControlServer(address, {}).start()
        # The live server closes the connections that only tested whether it lives.
        eventually(lambda: open_fds() <= inside)
    assert open_fds() <= before
