"""Addresses: the valid forms, the paths that they lead to, and the folders that are safe."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from shm_echo.control.address import (
    MAX_PATH_BYTES,
    Address,
    TcpAddress,
    parse_address,
    parse_listen_address,
)
from shm_echo.errors import AddressError


@pytest.fixture(autouse=True)
def runtime(folder: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of sockets that SHM_ECHO_RUNTIME_DIR names."""
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", f"{folder}/sockets")
    return f"{folder}/sockets"


@pytest.fixture
def two(folder: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The two folders of a name, in a folder of the test: /run/user/UID exists and is empty."""
    uid = os.geteuid()
    monkeypatch.delenv("SHM_ECHO_RUNTIME_DIR")
    monkeypatch.setattr("shm_echo.control.address._RUN_USER", f"{folder}/run")
    monkeypatch.setattr("shm_echo.control.address._TEMPORARY", f"{folder}/tmp")
    os.makedirs(f"{folder}/run/{uid}", 0o700)
    os.makedirs(f"{folder}/tmp")
    return f"{folder}/run/{uid}/shm-echo", f"{folder}/tmp/shm-echo-{uid}"


# ---------------------------------------------------------------- the paths of a bare name


def test_a_name_is_a_socket_in_one_of_two_folders_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SHM_ECHO_RUNTIME_DIR")
    uid = os.geteuid()
    first, second = f"/run/user/{uid}/shm-echo/x.1.sock", f"/tmp/shm-echo-{uid}/x.1.sock"
    address = parse_address("x.1")
    assert [one.path for one in address.candidates] == [first, second]
    assert str(address) == f"{first} or {second}"


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR", "TEMP", "HOME", "USER"])
@pytest.mark.parametrize("value", [None, "", "elsewhere", "/elsewhere"])
def test_the_paths_depend_on_no_other_variable(
    variable: str, value: str | None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHM_ECHO_RUNTIME_DIR")
    before = parse_address("x")
    monkeypatch.setattr("tempfile.tempdir", folder)
    if value is None:
        monkeypatch.delenv(variable, raising=False)
    else:
        monkeypatch.setenv(variable, value)
    assert parse_address("x") == before


def test_one_variable_replaces_both_folders(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("x")
    assert str(address) == f"{runtime}/x.sock"
    assert address.candidates == (address,)
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", "")
    assert len(parse_address("x").candidates) == 2
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", "not/absolute")
    with pytest.raises(AddressError, match="SHM_ECHO_RUNTIME_DIR must be an absolute path, not 'n"):
        parse_address("x")


def test_the_login_folder_counts_only_if_it_is_this_users_alone(
    two: tuple[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address("x")
    parent = os.path.dirname(two[0])
    assert address.has_place()
    os.chmod(parent, 0o750)
    assert not address.has_place()
    with pytest.raises(AddressError, match=f"{parent} is not a folder of this user alone"):
        address.prepare()
    os.chmod(parent, 0o700)
    uid = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: uid + 1)
        assert not address.has_place()
    os.rename(parent, f"{folder}/real")
    assert not address.has_place()
    os.symlink(f"{folder}/real", parent)
    assert not address.has_place()


def test_an_ipc_path_is_taken_as_it_is() -> None:
    assert parse_address("ipc:///a/b c?d.sock").path == "/a/b c?d.sock"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("ipc:/tmp/x", "not a name"),
        ("tcp//host:1", "not a name"),
        ("a/b", "not a name"),
        ("a b", "not a name"),
        ("/tmp/x.sock", "a path is written ipc:///tmp/x.sock"),
        ("ä", "not a name"),
        ("x" * 65, "not a name"),
        ("x\n", "not a name"),
        ("ipc://x.sock", "must be absolute"),
        ("ipc://", "must be absolute"),
        ("ipc:///a/", "names a folder"),
        ("ipc:///a\0b", "NUL"),
        ("ipc:///\ud800", "cannot be encoded"),
        ("tcp://localhost:1", "tcp:// does not reach this service"),
        ("fd://3", "fd:// is for mechestim clients"),
        ("http://x", "unknown scheme 'http'"),
        (17, "expected text, got int"),
    ],
)
def test_a_text_that_is_not_an_address_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(AddressError, match=problem) as caught:
        parse_address(text)
    assert caught.value.address == str(text)


NAME = r"a name \(letters, digits, '.', '_', '-'; at most 64\)"


@pytest.mark.parametrize(
    "text", ["", " ", "foo://x", "http://x", "ipc:/tmp/x", "tcp//host:1", "a b"]
)
@pytest.mark.parametrize(
    ("parse", "forms"),
    [
        (parse_address, f"{NAME} or ipc:///absolute/path.sock"),
        (parse_listen_address, f"{NAME}, ipc:///absolute/path.sock or tcp://HOST:PORT"),
        (
            lambda text: parse_address(text, ("tcp", "fd")),
            f"{NAME}, ipc:///absolute/path.sock, tcp://HOST:PORT or fd://N",
        ),
    ],
    ids=["of a ring", "of a server", "of a client"],
)
def test_the_error_lists_all_forms_of_an_address(
    text: str, parse: Callable[[str], object], forms: str
) -> None:
    with pytest.raises(AddressError, match=f": use {forms}$"):
        parse(text)


def test_a_server_may_listen_at_all_three() -> None:
    assert isinstance(parse_listen_address("x"), Address)
    assert isinstance(parse_listen_address("ipc:///a/b"), Address)
    assert parse_listen_address("tcp://[::1]:0") == TcpAddress("tcp://[::1]:0", "::1", 0)


def test_a_path_of_107_bytes_is_the_longest() -> None:
    longest = "/" + "ä" * ((MAX_PATH_BYTES - 1) // 2)
    assert parse_address(f"ipc://{longest}").path == longest
    with pytest.raises(AddressError, match="has 108 bytes, and the kernel takes at most 107"):
        parse_address(f"ipc://{longest}x")


def test_the_length_of_a_name_counts_with_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("y" * 64)
    assert len(address.path) < MAX_PATH_BYTES
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", "/" + "d" * 60)
    with pytest.raises(AddressError, match="choose a shorter one"):
        parse_address("y" * 64)


def test_prepare_makes_a_folder_for_this_user_alone(runtime: str) -> None:
    before = os.umask(0)
    try:
        parse_address("x").prepare()
    finally:
        os.umask(before)
    assert os.stat(runtime).st_mode & 0o7777 == 0o700
    parse_address("x").prepare()


def test_an_ipc_folder_must_exist(folder: str) -> None:
    with pytest.raises(AddressError, match=f"folder {folder}/none does not exist"):
        parse_address(f"ipc://{folder}/none/x").prepare()


def test_a_private_folder_that_others_can_enter_is_refused(runtime: str) -> None:
    os.mkdir(runtime)
    os.chmod(runtime, 0o755)
    with pytest.raises(AddressError, match="open to other users \\(mode 0755"):
        parse_address("x").prepare()
    with pytest.raises(AddressError, match="open to other users"):
        parse_address("x").check_folder()


def test_a_private_folder_that_is_a_symbolic_link_is_refused(runtime: str) -> None:
    os.mkdir(f"{runtime}-elsewhere", 0o700)
    os.symlink(f"{runtime}-elsewhere", runtime)
    with pytest.raises(AddressError, match="is a symbolic link"):
        parse_address("x").prepare()


def test_a_private_folder_that_is_a_file_is_refused(runtime: str) -> None:
    with open(runtime, "w"):
        pass
    with pytest.raises(AddressError, match="is not a folder"):
        parse_address("x").prepare()


def test_a_private_folder_of_another_user_is_refused(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address("x")
    address.prepare()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(AddressError) as caught:
        address.check_folder()
    assert f"the folder {runtime} belongs to user {uid}, not to user {uid + 1}" in str(caught.value)
    assert "administrator, or set SHM_ECHO_RUNTIME_DIR to a folder of your own" in str(caught.value)


def test_a_private_folder_that_cannot_be_made_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHM_ECHO_RUNTIME_DIR", "/proc/self/shm-echo")
    with pytest.raises(AddressError, match="cannot create the folder /proc/self/shm-echo"):
        parse_address("x").prepare()
