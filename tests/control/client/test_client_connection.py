"""A connection in use and at its end: answers, time-outs, interrupts, a server that goes away."""

from __future__ import annotations

import array
import os
import select
import signal
import socket
import threading

import pytest

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.server.control_server import ControlServer
from shm_echo.errors import (
    ConnectionClosedError,
    DescriptorLimitError,
    HandshakeTimeoutError,
    ProtocolError,
    RequestTimeoutError,
)
from tests.control.harness import (
    SERVER,
    WATCHDOG,
    WELCOME,
    Program,
    Recorder,
    eventually,
    fake_server,
    frame,
    open_fds,
    process_state,
    readable,
)
from tests.support.threads import Worker

pytestmark = pytest.mark.usefixtures("no_descriptor_is_left")


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
    service.wait_for("goodbye")  # said without waiting for the answer
    assert not service.calls_of("hangup")
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
from shm_echo.control.client.client_connection import connect
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
        service.wait_for("goodbye")  # for the server it is an end like any other
    assert not service.calls_of("hangup")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (frame(type="reply", id=2, result={}), "answered out of turn"),
        (frame(type="welcome"), "welcome.protocol: missing"),
        (WELCOME, "may not send 'welcome'"),
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
        connections: list[ClientConnection] = []
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
            assert open_fds() <= before
            connections[0].close()


def test_truncated_descriptors_close_the_connection_with_the_limits_name(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "shm_echo.control.client.client_stream._ANCILLARY_SIZE", socket.CMSG_SPACE(4)
    )
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
        assert connection.loss_reason()
        assert not connection.goodbye()


def test_the_death_of_the_server_is_noticed_although_its_child_keeps_the_socket(
    address: str, path: str
) -> None:
    # A control server closes its sockets in children; this is one that does not.
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
            assert connection.loss_reason() is None
            program.kill()
            readable(connection.pidfd)
            assert connection.loss_reason() == f"its server (pid {program.pid}) has ended"
            with pytest.raises(ConnectionClosedError, match="has ended"):
                connection.request("echo", {})


def test_requests_to_a_stopped_server_time_out_and_the_server_recovers(address: str) -> None:
    with Program(SERVER + "sys.stdin.readline()", address) as program:
        program.expect("serving")
        connection = connect(address, "test")
        program.kill(signal.SIGSTOP)
        eventually(lambda: process_state(program.pid) == "T")
        assert connection.loss_reason() is None
        with pytest.raises(RequestTimeoutError):
            connection.request("echo", {}, timeout=0.05)
        with pytest.raises(HandshakeTimeoutError, match=f"pid {program.pid}. and does not answer"):
            connect(address, "test", handshake_timeout=0.05)
        connecting = Worker(connect, address, "test", WATCHDOG, handshake_timeout=0.0)
        connecting.wait_until_asleep()
        program.kill(signal.SIGCONT)
        assert connecting.result().goodbye()


def test_goodbye_and_close_may_come_in_any_number_and_order(
    server: ControlServer, address: str
) -> None:
    connection = connect(address, "test")
    assert connection.goodbye()
    assert not connection.goodbye()
    connection.close()
    assert connection.loss_reason()
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


def test_a_connection_that_is_not_closed_warns_and_closes(
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
