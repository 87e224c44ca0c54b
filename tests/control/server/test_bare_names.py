"""Bare names: two folders, one meaning; and a server whose socket file is removed."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from shm_echo.control.address import parse_address, unique_name
from shm_echo.control.client.client_connection import connect
from shm_echo.control.server import event_loop
from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.unix_listener import listen_unix
from shm_echo.errors import AddressError, AddressInUseError, ServerNotFoundError
from tests.control.harness import WATCHDOG, Recorder, eventually
from tests.support.scripts import run_script

ROOT = Path(__file__).resolve().parents[3]


class Folders:
    """The two folders of names, in a folder of the test.

    Attributes:
        login: stands for /run/user/UID.
        first, second: the folders of sockets.
    """

    def __init__(self, folder: str) -> None:
        uid = os.geteuid()
        self.login = f"{folder}/run/{uid}"
        self.first, self.second = f"{self.login}/shm-echo", f"{folder}/tmp/shm-echo-{uid}"
        os.makedirs(f"{folder}/tmp")

    def log_in(self) -> None:
        os.makedirs(self.login, 0o700)

    def log_out(self) -> None:
        shutil.rmtree(self.login)


@pytest.fixture
def folders(folder: str, monkeypatch: pytest.MonkeyPatch) -> Folders:
    monkeypatch.setattr("shm_echo.control.address._RUN_USER", f"{folder}/run")
    monkeypatch.setattr("shm_echo.control.address._TEMPORARY", f"{folder}/tmp")
    return Folders(folder)


def serving(name: str = "x") -> ControlServer:
    return ControlServer(name, {"test": Recorder()})


# ---------------------------------------------------------------- where a server binds


def test_a_server_binds_in_the_login_folder_and_clients_find_it_there(folders: Folders) -> None:
    folders.log_in()
    with serving() as server:
        assert str(server.address) == f"{folders.first}/x.sock"
        assert not os.path.exists(folders.second)
        connection = connect("x", "test")
        assert connection.address == f"{folders.first}/x.sock"
        connection.goodbye()
    assert os.listdir(folders.first) == []


def test_without_a_login_it_binds_in_the_temporary_folder(folders: Folders) -> None:
    with serving() as server:
        assert str(server.address) == f"{folders.second}/x.sock"
        connect("x", "test").goodbye()
        folders.log_in()  # clients that have a login find it too
        connection = connect("x", "test")
        assert connection.address == f"{folders.second}/x.sock"
        connection.goodbye()


def test_a_name_that_is_served_in_the_other_folder_is_in_use(folders: Folders) -> None:
    with serving():
        folders.log_in()
        with pytest.raises(AddressInUseError) as caught:
            serving().start()
        assert caught.value.pid == os.getpid()
        assert caught.value.address == f"{folders.second}/x.sock"
        with serving("y") as other:
            assert str(other.address) == f"{folders.first}/y.sock"


def test_what_a_dead_server_left_in_the_other_folder_is_removed(folders: Folders) -> None:
    os.mkdir(folders.second, 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{folders.second}/x.sock")
    folders.log_in()
    with serving():
        assert os.listdir(folders.second) == []
        connect("x", "test").goodbye()


def test_the_sockets_of_killed_servers_with_unique_names_are_removed(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folders.log_in()
    os.makedirs(folders.first, 0o700)
    os.mkdir(folders.second, 0o700)
    dead = [f"{one}/{unique_name()}.sock" for one in (folders.first, folders.second)]
    for path in (*dead, f"{folders.first}/named.sock"):
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(path)
    alive = unique_name()
    with caplog.at_level(logging.INFO), serving(alive), serving():
        assert sorted(os.listdir(folders.first)) == sorted(
            [f"{alive}.sock", "named.sock", "x.sock"]
        )
        assert os.listdir(folders.second) == []
        connect(alive, "test").goodbye()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_servers_of_one_name_in_two_folders_cannot_start_at_once(folders: Folders) -> None:
    """The lock of the other folder is held while a name is looked for there."""
    os.mkdir(folders.second, 0o700)
    folders.log_in()
    held = os.open(folders.second, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    server = serving()
    try:
        with pytest.raises(AddressError, match="locked for 0 s"):
            listen_unix(parse_address("x"), lock_timeout=0.0)
    finally:
        os.close(held)
    with server:
        connect("x", "test").goodbye()


# ---------------------------------------------------------------- folders that are not safe


def test_both_paths_are_named_where_there_is_no_server(folders: Folders) -> None:
    with pytest.raises(ServerNotFoundError) as caught:
        connect("x", "test")
    assert f"no server at {folders.first}/x.sock or {folders.second}/x.sock: " in str(caught.value)


def test_an_occupied_temporary_folder_does_not_matter_with_a_login(folders: Folders) -> None:
    folders.log_in()
    os.mkdir(folders.second)
    os.chmod(folders.second, 0o777)
    with pytest.raises(ServerNotFoundError, match=f"{folders.second} is open to other users"):
        connect("x", "test")
    with serving():
        connect("x", "test").goodbye()


def test_an_occupied_temporary_folder_is_refused_by_name_without_a_login(
    folders: Folders,
) -> None:
    os.symlink("/", folders.second)
    with pytest.raises(AddressError, match=f"{folders.second} is a symbolic link") as caught:
        serving().start()
    assert f"{folders.login} is not a folder of this user alone" in str(caught.value)
    with pytest.raises(AddressError, match=f"{folders.second} is a symbolic link"):
        connect("x", "test", 20.0)  # at once: waiting would not help


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused_with_advice(folders: Folders) -> None:
    os.mkdir(folders.second, 0o700)
    os.chown(folders.second, 4711, 4711)
    for attempt in (lambda: serving().start(), lambda: connect("x", "test", 20.0)):
        with pytest.raises(AddressError) as caught:
            attempt()
        text = str(caught.value)
        assert f"the folder {folders.second} belongs to user 4711, not to user 0" in text
        assert "set SHM_ECHO_RUNTIME_DIR to a folder of your own" in text


# ---------------------------------------------------------------- a socket that is removed


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(event_loop, "_TICK", 0.002)
    monkeypatch.setattr(event_loop, "_SOCKET_CHECK", 0.004)
    caplog.set_level(logging.WARNING, "shm_echo.control")


@pytest.mark.usefixtures("quick")
def test_a_removed_socket_is_made_again_and_clients_go_on(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folders.log_in()
    first, second = f"{folders.first}/x.sock", f"{folders.second}/x.sock"
    with serving():
        connection = connect("x", "test")
        os.unlink(first)
        connect("x", "test", WATCHDOG).goodbye()
        assert os.path.exists(first)
        folders.log_out()
        later = connect("x", "test", WATCHDOG)
        assert later.address == second
        for one in (connection, later):
            assert one.request("echo", {"n": 1})[0]["args"] == {"n": 1}
            one.goodbye()
    assert not os.path.exists(second)
    assert [record.getMessage() for record in caplog.records] == [
        f"the socket {first} was removed; clients find this server at {first} now",
        f"the socket {first} was removed; clients find this server at {second} now",
    ]


@pytest.mark.usefixtures("quick")
def test_an_ipc_socket_comes_back_when_its_folder_does(
    folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"{folder}/place"
    os.mkdir(place)
    with ControlServer(f"ipc://{place}/s", {"test": Recorder()}):
        shutil.rmtree(place)
        eventually(lambda: len(caplog.records) == 1)
        assert f"cannot be made again yet: address 'ipc://{place}/s'" in caplog.text
        os.mkdir(place)
        connect(f"ipc://{place}/s", "test", WATCHDOG).goodbye()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2, "each is logged once"
    assert messages[1].startswith(f"the socket {place}/s was removed; clients find")


@pytest.mark.usefixtures("quick")
def test_a_socket_that_stays_is_left_alone(
    folders: Folders, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    real = os.lstat

    def lstat(path: str, **options: Any) -> os.stat_result:
        looks.append(path)
        return real(path, **options)

    with serving() as server:
        before = os.stat(str(server.address)).st_ino
        with monkeypatch.context() as patch:
            patch.setattr(os, "lstat", lstat)
            eventually(lambda: looks.count(str(server.address)) > 3)
        assert os.stat(str(server.address)).st_ino == before
    assert caplog.records == []


# ---------------------------------------------------------------- processes with other variables

RING_SERVER = """
import sys
import threading
import numpy as np
from shm_echo import Server, ShmTransport
with Server({"x": np.float32(0)}, 1, ShmTransport(sys.argv[1])) as server:
    print("serving", flush=True)
    print(server.sample(timeout=60).batch["x"], flush=True)
"""
RING_CLIENT = """
import sys
import threading
import numpy as np
from shm_echo import ShmClient
with ShmClient(sys.argv[1], {"x": np.float32(0)}) as client:
    client.send({"x": np.float32(5)})
"""
METER_SERVER = """
import sys
import threading
from shm_echo.control import ControlServer
from shm_echo.mechestim.service import MechEstimService
with ControlServer(sys.argv[1], {"mechestim": MechEstimService()}):
    print("serving", flush=True)
    sys.stdin.read()
"""
METER_CLIENT = """
import os, sys
os.environ["MECHESTIM_SERVER_URL"] = sys.argv[1]
import mechestim as me
print(me.add(2.0, 3.0).item())
"""


@pytest.mark.parametrize(
    ("server", "client", "printed"),
    [(RING_SERVER, RING_CLIENT, ""), (METER_SERVER, METER_CLIENT, "5.0\n")],
    ids=["ring", "mechestim"],
)
def test_a_name_means_the_same_whatever_the_variables_say(
    server: str, client: str, printed: str, folder: str, name: str
) -> None:
    def variables(which: str) -> dict[str, str]:
        os.makedirs(f"{folder}/{which}/tmp", 0o700)
        os.chmod(f"{folder}/{which}", 0o700)
        return {"XDG_RUNTIME_DIR": f"{folder}/{which}", "TMPDIR": f"{folder}/{which}/tmp"}

    process = subprocess.Popen(
        [sys.executable, "-c", server, name],
        env=os.environ | variables("server"),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        assert run_script(client, name, env=variables("client")) == printed
        rest, _ = process.communicate(timeout=WATCHDOG)
        assert process.returncode == 0
        assert rest == ("" if printed else "[5.]\n")
    finally:
        process.kill()
        process.wait()


def test_a_server_that_listens_again_waits_for_another_that_does_so_too(tmp_path: Path) -> None:
    first = listen_unix(parse_address(f"ipc://{tmp_path}/s"))
    os.unlink(first.path)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    release = threading.Timer(0.01, os.close, (folder,))
    release.start()
    again = first.listen_again()
    assert again.is_there()
    release.join()
    again.close()
    first.close()
