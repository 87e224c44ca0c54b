"""A client that reaches its server through a port: the same program, with a token."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shm_echo.errors import RefusedError, ServerNotFoundError
from shm_echo.mechestim.remote.connection.connect import token
from shm_echo.mechestim.remote.session_opening import open_session
from tests.mechestim.remote.client_script import ROOT, run_client
from tests.support.folders import socket_folder
from tests.support.leftovers import open_descriptors
from tests.support.mechestim_server import ServerProcess, serving

SECRET = "correct-horse-battery"
EXAMPLES = sorted((ROOT / "examples" / "metered").glob("*.py"))
_RUN = "import runpy; runpy.run_path(sys.argv[1], run_name='__main__')"


class Port:
    """A server with its port, its socket file, and the file of its token."""

    def __init__(self, server: ServerProcess, file: Path) -> None:
        self.url = server.next_line().split()[3]
        self.server = server
        self.file = str(file)


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with socket_folder() as folder:
        path = folder / "token"
        path.touch(0o600)
        path.write_text(f"# of the lab\nann {SECRET}\n")
        options = ("--url", "tcp://127.0.0.1:0", "--token-file", str(path))
        with serving(folder, *options) as server:
            yield Port(server, path)
            assert server.alive, server.log.read_text()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MECHESTIM_TOKEN", "MECHESTIM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_the_same_over_a_port(path: Path, port: Port) -> None:
    by_port = run_client(port.url, _RUN, str(path), env={"MECHESTIM_TOKEN": SECRET})
    assert by_port.returncode == 0, by_port.stderr
    by_file = run_client(port.server.url, _RUN, str(path))
    assert (by_port.stdout, by_port.stderr) == (by_file.stdout, by_file.stderr)
    assert by_port.stdout


def test_large_contents_callbacks_and_errors_cross_whole_without_an_arena(port: Port) -> None:
    source = """
import array
import mechestim as me
from shm_echo.mechestim.remote import client_session as session
assert session.channel().arena is None
numbers = array.array("d", range(10**6))
x = me.array(numbers)
assert x.tobytes() == numbers.tobytes()
assert (x + 1)[:3].tolist() == [1.0, 2.0, 3.0]
print(me.apply_along_axis(lambda row: row.sum(), 1, me.ones((3, 4))).tolist())
try:
    me.ones(3) + me.ones(4)
except ValueError as error:
    print(type(error).__name__, str(error).splitlines()[0])
print(sorted({"numpy", "hashlib"} & set(sys.modules)))
"""
    done = run_client(port.url, source, env={"MECHESTIM_TOKEN_FILE": port.file})
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first == "[4.0, 4.0, 4.0]"
    assert second.startswith("ValueError ")
    assert third == "[]"


def test_without_a_token_and_with_a_wrong_one_there_is_one_clear_error(port: Port) -> None:
    source = """
import mechestim as me
try:
    me.ones(3)
except ConnectionError as error:
    print(type(error).__name__, error)
"""
    refused = f"RefusedError {port.url} refused this client: it "
    done = run_client(port.url, source)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{refused}wants a token, and none was given: set MECHESTIM_TOKEN, or set "
        "MECHESTIM_TOKEN_FILE to the path of a file that holds it\n"
    )
    done = run_client(port.url, source, env={"MECHESTIM_TOKEN": "wrong-horse-battery"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{refused}does not know the token that was given (MECHESTIM_TOKEN, MECHESTIM_TOKEN_FILE)\n"
    )


def test_the_variable_wins_over_the_file(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN_FILE", port.file)
    open_session(port.url).close()
    monkeypatch.setenv("MECHESTIM_TOKEN", "wrong-horse-battery")
    with pytest.raises(RefusedError):
        open_session(port.url)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected one line, with a token"),
        ("# nothing\n", "expected one line, with a token"),
        (f"ann {SECRET}\nbob {SECRET}\n", "expected one line, with a token"),
        (f"ann {SECRET} more", "expected one line, with a token"),
        (f"{SECRET}\x07", "a token has printable ASCII characters"),
        ("x" * 513, ".*and at most 512"),
    ],
)
def test_an_error_names_the_token_file_and_does_not_show_its_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    monkeypatch.setenv("MECHESTIM_TOKEN_FILE", str(path))
    with pytest.raises(ValueError, match=f"^MECHESTIM_TOKEN_FILE='{path}': {said}") as caught:
        token()
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN_FILE", "/nowhere/at-all")
    with pytest.raises(ValueError, match=r"='/nowhere/at-all': cannot be read: No such file"):
        token()


def test_an_invalid_token_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", "two words-of-a-token")
    with pytest.raises(ValueError, match="^MECHESTIM_TOKEN: a token has printable") as caught:
        open_session("tcp://127.0.0.1:1")
    assert "words" not in str(caught.value)


def test_the_token_is_sent_to_ports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", SECRET)
    heard: list[bytes] = []
    with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/s")
        listener.listen()

        def listen() -> None:
            sock, _ = listener.accept()
            with sock:
                heard.append(sock.recv(4096))

        thread = threading.Thread(target=listen)
        thread.start()
        with pytest.raises(ConnectionError):
            open_session(f"ipc://{folder}/s")
        thread.join()
    assert b"mechestim" in heard[0]
    assert SECRET.encode() not in heard[0]


def test_a_port_without_a_listener_is_named_in_the_error() -> None:
    with socket.socket() as taken:  # no other process gets the port, and none listens there
        taken.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        refused = (
            f"^no server at {url}: Connection refused; start .* "
            rf"\(shm-echo serve --url {url} starts one\)$"
        )
        with pytest.raises(ServerNotFoundError, match=refused):
            open_session(url)


@pytest.mark.parametrize("url", ["ipc://{}/absent.sock", "absent-{}"])
def test_an_address_without_a_server_is_named_with_the_command_that_starts_one(
    url: str, tmp_path: Path
) -> None:
    url = url.format(tmp_path if "/" in url else tmp_path.name)
    command = rf"\(shm-echo serve --url {url} starts one\)$"
    with pytest.raises(ServerNotFoundError, match=f"absent.*: there is no socket; .* {command}"):
        open_session(url)


def test_a_port_whose_server_does_not_answer_is_named_in_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MECHESTIM_TIMEOUT", "0.5")
    with socket.create_server(("127.0.0.1", 0)) as listener:  # and never answers
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerNotFoundError, match="accepts connections and says nothing"):
            open_session(url)


def test_no_descriptor_is_left_by_a_refusal(port: Port) -> None:
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(RefusedError):
            open_session(port.url)
    assert open_descriptors() <= before
