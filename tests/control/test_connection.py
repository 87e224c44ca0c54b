"""The client's side: every way in which a server can be missing, wrong, slow or gone."""

from __future__ import annotations

import array
import math
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from shm_echo.control.connection import Connection, connect
from shm_echo.control.listener import ControlServer
from shm_echo.errors import (
    AddressError,
    ConnectionClosedError,
    DescriptorLimitError,
    PeerRefusedError,
    ProtocolError,
    ProtocolVersionError,
    RequestTimeoutError,
    ServerNotFoundError,
)
from tests.control.harness import (
    SERVER,
    WATCHDOG,
    Program,
    Recorder,
    eventually,
    fake_server,
    frame,
    open_fds,
    process_state,
    readable,
)

WELCOME = frame(
    type="welcome", protocol=1, package="0", session=1, limits={"max_frame": 1 << 20}, info={}
)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = open_fds()
    yield
    if "server" not in request.fixturenames:
        assert open_fds() == before


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


def test_a_server_whose_queue_stays_full_is_not_reached(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        with pytest.raises(ServerNotFoundError, match="queue of waiting clients is full"):
            connect(address, "test", 0.05)


def test_a_private_folder_that_is_not_safe_is_not_entered(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
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
    connections: list[Connection] = []
    thread = threading.Thread(target=lambda: connections.append(connect(address, "test", WATCHDOG)))
    thread.start()
    with ControlServer(address, {"test": Recorder()}):
        thread.join(WATCHDOG)
        (connection,) = connections
        connection.request("echo", {})
        connection.goodbye()


def test_a_client_waits_while_the_socket_is_there_and_nobody_listens_yet(
    address: str, path: str
) -> None:
    connections: list[Connection] = []
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


def test_a_client_that_meets_a_closing_server_goes_to_the_next_one(address: str, path: str) -> None:
    connections: list[Connection] = []
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


def test_a_server_that_closes_without_a_word_is_a_protocol_error(address: str, path: str) -> None:
    with fake_server(path), pytest.raises(ProtocolError, match=f"^{path} is not served by"):
        connect(address, "test")


@pytest.mark.parametrize("words", [b"", b"\x20\x00\x00\x00\x81"])
def test_silence_is_a_protocol_error_after_its_time(address: str, path: str, words: bytes) -> None:
    with (
        fake_server(path, words, close=False),
        pytest.raises(ProtocolError, match=rf"^{path} gave .* answer within 0\.05 s"),
    ):
        connect(address, "test", 20.0, handshake_timeout=0.05)


def test_another_protocol_is_one_sentence_with_both_versions(address: str, path: str) -> None:
    welcome = frame(type="welcome", protocol=9, package="7.1", news=[1, 2])
    with fake_server(path, welcome), pytest.raises(ProtocolVersionError) as caught:
        connect(address, "test")
    assert (caught.value.ours, caught.value.theirs) == (1, 9)
    assert "shm-echo 7.1" in str(caught.value)


def test_a_socket_that_may_not_be_opened_belongs_to_somebody_else(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shm_echo.control.dial.socket.socket.connect", refuse)
    with pytest.raises(PeerRefusedError, match=f"{path} may not be opened by this process"):
        connect(address, "test", 20.0)


# ---------------------------------------------------------------- requests


def test_a_request_that_is_not_answered_in_time_closes_the_connection(
    server: ControlServer, service: Recorder, address: str, path: str
) -> None:
    connection = connect(address, "test")
    with pytest.raises(RequestTimeoutError, match=f"{path} did not answer 'wait' within") as e:
        connection.request("wait", {}, timeout=0.05)
    assert e.value.op == "wait"
    assert isinstance(e.value, (TimeoutError, ConnectionClosedError))
    service.release.set()
    assert connection.closed
    with pytest.raises(ConnectionClosedError, match="it did not answer 'wait' in time"):
        connection.request("echo", {})


@pytest.mark.parametrize(
    ("op", "args"), [("echo", {"a": object()}), ("", {}), ("x" * 65, {}), ("echo", {1: 2})]
)
def test_a_request_that_cannot_be_sent_leaves_the_connection_usable(
    server: ControlServer, address: str, op: str, args: dict[str, object]
) -> None:
    with connect(address, "test") as connection:
        with pytest.raises(ValueError, match=r"cannot be sent|expected"):
            connection.request(op, args)
        connection.request("echo", {})


def test_the_servers_limit_of_a_frame_is_kept_by_the_client(
    server: ControlServer, address: str
) -> None:
    with connect(address, "test") as connection:
        connection.request("echo", {"a": b"x" * 500_000})
        with pytest.raises(ValueError, match="above the limit"):
            connection.request("echo", {"a": b"x" * (1 << 20)})
        connection.request("echo", {})


def test_threads_share_a_connection_and_each_gets_its_own_answer(
    server: ControlServer, address: str
) -> None:
    wrong: list[object] = []

    def ask(name: str) -> None:
        for number in range(50):
            result, _ = connection.request("echo", {"who": [name, number]})
            if result["args"] != {"who": [name, number]}:
                wrong.append(result)

    with connect(address, "test") as connection:
        threads = [threading.Thread(target=ask, args=[f"{n}"]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_request_waits_for_those_of_other_threads_only_so_long(
    server: ControlServer, service: Recorder, address: str
) -> None:
    with connect(address, "test") as connection:
        thread = threading.Thread(target=connection.request, args=["wait", {}])
        thread.start()
        service.wait_for("request")
        with pytest.raises(TimeoutError, match="requests of other threads"):
            connection.request("echo", {}, timeout=0.05)
        service.release.set()
        thread.join()
        connection.request("echo", {})


def test_closing_wakes_a_request_of_another_thread(
    server: ControlServer, service: Recorder, address: str
) -> None:
    connection = connect(address, "test")
    errors: list[Exception] = []

    def ask() -> None:
        try:
            connection.request("wait", {}, timeout=WATCHDOG)
        except ConnectionClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    service.wait_for("request")
    connection.close()
    thread.join(WATCHDOG)
    assert "it was closed" in str(errors[0])
    assert connection.fileno() == connection.pidfd == -1
    service.release.set()


def test_an_interrupt_during_a_request_closes_the_connection(
    server: ControlServer, service: Recorder, address: str
) -> None:
    script = """
import sys
from shm_echo.control.connection import connect
from shm_echo.errors import ConnectionClosedError
connection = connect(sys.argv[1], "test")
try:
    connection.request("wait", {})
except KeyboardInterrupt:
    print("interrupted", connection.closed, flush=True)
try:
    connection.request("echo", {})
except ConnectionClosedError as error:
    print(error, flush=True)
"""
    with Program(script, address) as client:
        service.wait_for("request")
        client.kill(signal.SIGINT)
        client.expect("interrupted True")
        assert "'wait' ended with KeyboardInterrupt" in client.hear()
        service.release.set()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (frame(type="reply", id=2, result={}), "answered out of turn"),
        (frame(type="welcome"), "welcome.protocol: missing"),
        (WELCOME, "may not say 'welcome'"),
        (b"\xff\xff\xff\xff", "was announced"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_named_and_left(
    address: str, path: str, words: bytes, error: str
) -> None:
    with fake_server(path, WELCOME + words, close=False):
        connection = connect(address, "test")
        with pytest.raises(ProtocolError, match=f"{path} broke the control protocol: .*{error}"):
            connection.request("echo", {})
        assert connection.closed
        with pytest.raises(ConnectionClosedError):
            connection.request("echo", {})


def test_descriptors_that_belong_to_no_reply_are_closed(address: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connections: list[Connection] = []
        thread = threading.Thread(target=lambda: connections.append(connect(address, "test")))
        thread.start()
        sock, _ = listener.accept()
        with sock:
            assert sock.recv(4096)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]))
            sock.sendmsg([WELCOME], [rights])
            thread.join(WATCHDOG)
            before = open_fds()
            refused = frame(type="error", id=1, code="no", message="no", fields={})
            sock.sendmsg([refused], [rights])
            with pytest.raises(RuntimeError, match=r"^no$"):
                connections[0].request("echo", {})
            assert open_fds() == before
            connections[0].close()


def test_truncated_descriptors_close_the_connection_with_the_limits_name(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.control.line._ANCILLARY_SIZE", socket.CMSG_SPACE(4))
    service = Recorder()
    fd = os.open("/dev/null", os.O_RDONLY)
    service.fds = [fd] * 5
    with ControlServer(address, {"test": service}):
        connection = connect(address, "test")
        with pytest.raises(DescriptorLimitError, match="RLIMIT_NOFILE"):
            connection.request("fds", {})
        assert connection.closed
    os.close(fd)


# ---------------------------------------------------------------- the end


def test_the_death_of_the_server_is_noticed_by_a_waiting_request(address: str) -> None:
    with Program(SERVER + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        connection = connect(address, "test")
        errors: list[Exception] = []

        def ask() -> None:
            try:
                connection.request("wait", {}, timeout=WATCHDOG)
            except ConnectionClosedError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        program.kill()
        thread.join(WATCHDOG)
        assert isinstance(errors[0], ConnectionClosedError)
        assert connection.lost()
        assert not connection.goodbye()


def test_the_death_of_the_server_is_noticed_although_its_child_keeps_the_socket(
    address: str, path: str
) -> None:
    # A control server lets go of its sockets in children; this is one that does not.
    script = """
import os, signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("serving", flush=True)
sock, _ = listener.accept()
sock.recv(4096)
sock.sendall(bytes.fromhex(sys.argv[2]))
sock.recv(4096)
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
signal.pause()
"""
    with Program(script, path, WELCOME.hex()) as program:
        program.expect("serving")
        connection = connect(address, "test")
        errors: list[Exception] = []

        def ask() -> None:
            try:
                connection.request("echo", {}, timeout=WATCHDOG)
            except ConnectionClosedError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        child = int(program.hear())
        try:
            program.kill()
            thread.join(WATCHDOG)
            assert f"its server (pid {program.pid}) has ended" in str(errors[0])
            assert not isinstance(errors[0], TimeoutError)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lost_server_is_seen_without_asking_it(address: str) -> None:
    with Program(SERVER + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        with connect(address, "test") as connection:
            assert connection.lost() is None
            program.kill()
            readable(connection.pidfd)
            assert connection.lost() == f"its server (pid {program.pid}) has ended"
            with pytest.raises(ConnectionClosedError, match="has ended"):
                connection.request("echo", {})


def test_a_server_that_is_stopped_makes_requests_time_out_and_nothing_else(address: str) -> None:
    with Program(SERVER + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        connection = connect(address, "test")
        program.kill(signal.SIGSTOP)
        eventually(lambda: process_state(program.pid) == "T")
        assert connection.lost() is None
        with pytest.raises(RequestTimeoutError):
            connection.request("echo", {}, timeout=0.05)
        with pytest.raises(ProtocolError, match="gave no answer"):
            connect(address, "test", handshake_timeout=0.05)
        program.kill(signal.SIGCONT)
        connect(address, "test").goodbye()


def test_goodbye_and_close_may_come_in_any_number_and_order(
    server: ControlServer, address: str
) -> None:
    connection = connect(address, "test")
    assert connection.goodbye()
    assert not connection.goodbye()
    connection.close()
    assert connection.lost()
    other = connect(address, "test")
    other.close()
    assert other.fileno() == other.pidfd == -1
    assert not other.goodbye()


def test_goodbye_waits_for_a_busy_server_only_so_long(
    server: ControlServer, service: Recorder, address: str
) -> None:
    blocked = connect(address, "test")
    connection = connect(address, "test")
    thread = threading.Thread(target=lambda: blocked.request("wait", {}))
    thread.start()
    service.wait_for("request")
    assert not connection.goodbye(timeout=0.05)
    assert connection.closed
    service.release.set()
    thread.join()
    assert blocked.goodbye()


def test_a_connection_is_waited_for_through_its_descriptors(
    server: ControlServer, address: str
) -> None:
    with connect(address, "test") as connection:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(connection.pidfd, select.POLLIN)
        assert not poll.poll(0)
        server.close()
        assert poll.poll(WATCHDOG * 1000)


def test_a_forgotten_connection_closes_with_a_warning(
    server: ControlServer, service: Recorder, address: str
) -> None:
    connections = [connect(address, "test")]
    with pytest.warns(ResourceWarning, match="unclosed connection to "):
        connections.clear()
    service.wait_for("hangup")


def test_all_descriptors_of_client_and_server_close_on_exec(address: str) -> None:
    before = open_fds()
    with ControlServer(address, {"test": Recorder()}), connect(address, "test") as connection:
        ours = open_fds() - before
        assert {connection.fileno(), connection.pidfd} < ours
        assert [fd for fd in ours if os.get_inheritable(fd)] == []
