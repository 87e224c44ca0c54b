"""The calls that a service gets and the answers of its clients, over real sockets and processes."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import threading
from collections.abc import Iterator

import pytest

from shm_echo.control.client.client_connection import connect
from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.service import ServiceRefusalError
from shm_echo.errors import RefusedError, RequestError, ServiceUnavailableError
from tests.control.harness import CLIENT, WATCHDOG, Program, RawClient, Recorder, frame

# Runs the code that it reads, line by line.
LINE_RUNNER = (
    CLIENT
    + """
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""
)


def test_a_client_is_welcomed_with_the_info_of_the_service(
    server: ControlServer, service: Recorder, address: str, path: str
) -> None:
    with connect(address, "test") as connection:
        assert connection.info == {"greeting": "hi"}
        assert connection.address == path
        assert connection.limits["max_frame"] > 0
        assert connection.peer.pid == os.getpid()
        (session,) = service.sessions
        assert session.id == connection.session
        assert (session.peer.pid, session.peer.uid) == (os.getpid(), os.geteuid())
        assert session.service == "test"


def test_requests_are_answered_in_order(server: ControlServer, address: str) -> None:
    with connect(address, "test") as connection:
        for number in range(100):
            assert connection.request("echo", {"n": number}) == (
                {"op": "echo", "args": {"n": number}},
                [],
            )


def test_a_refusal_of_a_request_crosses_with_its_facts_and_the_session_goes_on(
    server: ControlServer, address: str
) -> None:
    with connect(address, "test") as connection:
        with pytest.raises(RequestError, match=r"^come back later$") as caught:
            connection.request("refuse", {})
        assert (caught.value.code, caught.value.fields) == ("not_now", {"hours": 2})
        connection.request("echo", {})


@pytest.mark.parametrize("op", ["fail", "unsendable", "badly_refuse", "bad_fd"])
def test_a_failure_of_the_service_is_logged_and_its_text_is_not_sent(
    op: str, server: ControlServer, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(address, "test") as connection:
        with pytest.raises(RequestError) as caught:
            connection.request(op, {})
        assert caught.value.code == "internal"
        assert str(caught.value) == "the service failed; the server's log says why"
        connection.request("echo", {})
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "shm_echo.control"
    assert record.exc_info is not None


def test_a_service_may_refuse_a_client(
    server: ControlServer, service: Recorder, address: str
) -> None:
    service.refusal = ServiceRefusalError(
        "full", "the ring has no owner id left", {"producers": 64}
    )
    with pytest.raises(RefusedError, match="refused this client: the ring has no owner") as caught:
        connect(address, "test")
    assert (caught.value.code, caught.value.fields) == ("full", {"producers": 64})
    service.refusal = None
    connect(address, "test").goodbye()


def test_a_service_that_fails_to_open_a_session_refuses_it(
    server: ControlServer, service: Recorder, address: str
) -> None:
    service.failure = RuntimeError("a secret of the server")
    with pytest.raises(RefusedError) as caught:
        connect(address, "test")
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value)


def test_a_session_whose_welcome_cannot_be_sent_ends_like_any_other(
    server: ControlServer, service: Recorder, address: str
) -> None:
    service.info = {"object": object()}
    service.watch = False
    with pytest.raises(RefusedError):
        connect(address, "test")
    service.wait_for("hangup")
    assert [call[0] for call in service.calls if call[0] != "tick"] == ["open", "hangup"]


def test_a_service_that_is_not_offered_is_answered_with_those_that_are(
    server: ControlServer, address: str
) -> None:
    with pytest.raises(ServiceUnavailableError) as caught:
        connect(address, "mechestim")
    assert caught.value.offered == ("test",)


def test_two_services_share_one_address(address: str) -> None:
    one, two = Recorder("one"), Recorder("two")
    two.info = {"greeting": "hello"}
    with (
        ControlServer(address, {"one": one, "two": two}),
        connect(address, "one") as first,
        connect(address, "two") as second,
    ):
        assert (first.info, second.info) == ({"greeting": "hi"}, {"greeting": "hello"})
        first.request("echo", {})
        assert len(one.calls_of("request")) == 1
        assert not two.calls_of("request")


def test_descriptors_travel_with_the_reply_and_stay_the_services_own(
    server: ControlServer, service: Recorder, address: str
) -> None:
    read_end, write_end = os.pipe()
    service.fds = (read_end, write_end)
    with connect(address, "test") as connection:
        _, fds = connection.request("fds", {})
        assert len(fds) == 2
        assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in fds)
        os.write(fds[1], b"x")
        assert os.read(read_end, 1) == b"x"
        for fd in (*fds, read_end, write_end):
            os.close(fd)


@pytest.fixture
def room_for_descriptors() -> Iterator[None]:
    """For several times as many as the kernel takes in one message."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1024:
        pytest.skip(f"this process may open {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("room_for_descriptors")
def test_the_kernels_limit_of_descriptors_for_one_reply_is_kept(
    server: ControlServer, service: Recorder, address: str
) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    with connect(address, "test") as connection:
        service.fds = [fd] * 253
        _, fds = connection.request("fds", {})
        for copy in fds:
            os.close(copy)
        assert len(fds) == 253
        service.fds = [fd] * 254
        with pytest.raises(RequestError):
            connection.request("fds", {})
        service.fds = ()
        connection.request("fds", {})
    os.close(fd)


def test_a_service_gets_goodbye_before_the_client_gets_its_answer(
    server: ControlServer, service: Recorder, address: str
) -> None:
    connection = connect(address, "test")
    assert connection.goodbye()
    assert service.calls_of("goodbye") == [("goodbye", service.sessions[0])]
    assert connection.closed


def test_a_client_that_is_killed_has_died_by_that_signal(
    server: ControlServer, service: Recorder, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the kernel takes from the end of its socket to that of the process.
    monkeypatch.setattr("shm_echo.control.server.session_table._HANGUP_GRACE", WATCHDOG)
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.kill()
        (call,) = service.wait_for("died")
        assert call == ("died", service.sessions[0], client.pid, signal.SIGKILL)
        assert not service.calls_of("goodbye")
        assert not service.calls_of("hangup")


@pytest.mark.parametrize("last_words", ["os._exit(3)", "sys.exit(0)"])
def test_a_client_that_ends_without_goodbye_has_died_without_a_signal(
    last_words: str, server: ControlServer, service: Recorder, address: str
) -> None:
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say(last_words)
        (call,) = service.wait_for("died")
        assert call == ("died", service.sessions[0], client.pid, None)


def test_a_client_that_hangs_up_lives_until_it_dies_and_dies_once(
    server: ControlServer, service: Recorder, address: str
) -> None:
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say("connection.close()")
        client.expect("done")
        service.wait_for("hangup")
        assert not service.calls_of("died")
        client.kill()
        service.wait_for("died")
    with Program(LINE_RUNNER, address) as other:
        other.expect("connected")
        other.kill()
        died = service.wait_for("died", 2)
    first, second = service.sessions
    assert [call[1] for call in died] == [first, second]
    # The other session may get a hangup first, if its process takes longer to end than the grace.
    assert [call for call in service.calls_of("hangup") if call[1] is not second] == [
        ("hangup", first)
    ]


def test_the_death_of_a_client_after_its_goodbye_is_not_reported(
    server: ControlServer, service: Recorder, address: str
) -> None:
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say("connection.goodbye()")
        client.expect("done")
        client.kill()
        client.wait()
    with Program(LINE_RUNNER, address) as other:
        other.expect("connected")
        other.kill()
        died = service.wait_for("died")
    assert [call[1] for call in died] == service.sessions[1:]


def test_messages_that_a_client_sent_before_it_died_are_handled(
    server: ControlServer, service: Recorder, address: str
) -> None:
    script = """
import os, signal, sys, time
from tests.control.harness import RawClient, frame
client = RawClient(sys.argv[1])
client.hello()
print("connected", flush=True)
sys.stdin.readline()
client.send(b"".join(frame(type="request", id=n, op="echo", args={}) for n in range(40)))
client.send(frame(type="goodbye"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    with Program(script, address.removeprefix("ipc://")) as client:
        client.expect("connected")
        blocked = threading.Event()
        server.call_soon(lambda: blocked.wait(WATCHDOG))
        client.say()
        client.wait()
        blocked.set()
        service.wait_for("goodbye")
    assert len(service.calls_of("request")) == 40
    assert not service.calls_of("died")


def test_messages_that_a_client_sent_before_it_hung_up_are_handled(
    server: ControlServer, service: Recorder, path: str
) -> None:
    with RawClient(path) as client:
        client.hello()
        client.send(b"".join(frame(type="request", id=n, op="echo", args={}) for n in range(100)))
        client.say(type="goodbye")
        service.wait_for("request")
    # It has read no answer, so the server finds the connection reset, and still has most to read.
    service.wait_for("goodbye")
    assert len(service.calls_of("request")) == 100
    assert not service.calls_of("hangup")


def test_every_session_of_a_dead_process_is_ended(
    server: ControlServer, service: Recorder, address: str
) -> None:
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say("more = [connect(sys.argv[1], 'test') for _ in range(5)]; more[0].goodbye()")
        client.expect("done")
        client.kill()
        died = service.wait_for("died", 5)
    assert len({call[1].id for call in died}) == 5
    assert {call[2] for call in died} == {client.pid}


def test_a_session_that_is_not_watched_ends_with_its_hangup(
    server: ControlServer, service: Recorder, address: str
) -> None:
    service.watch = False
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say("connection.close()")
        client.expect("done")
        service.wait_for("hangup")
        client.kill()
        client.wait()
    service.watch = True
    with Program(LINE_RUNNER, address) as other:
        other.expect("connected")
        other.kill()
        died = service.wait_for("died")
    assert [call[1] for call in died] == service.sessions[1:]


def test_the_death_of_a_client_is_noticed_although_its_child_keeps_the_socket(
    server: ControlServer, service: Recorder, address: str
) -> None:
    with Program(LINE_RUNNER, address) as client:
        client.expect("connected")
        client.say("child = os.fork(); child == 0 and signal.pause()")
        client.expect("done")
        client.say("print(child, flush=True)")
        child = int(client.hear())
        client.kill()
        try:
            (call,) = service.wait_for("died")
            assert call == ("died", service.sessions[0], client.pid, signal.SIGKILL)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_service_that_raises_in_a_notification_does_not_stop_the_server(
    server: ControlServer,
    service: Recorder,
    address: str,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    service.watch = False
    for name in ("goodbye", "hangup", "tick"):
        monkeypatch.setattr(service, name, fail)
    assert connect(address, "test").goodbye()
    with RawClient(path) as client:
        client.hello()
    with connect(address, "test") as connection:
        connection.request("echo", {})


@pytest.mark.parametrize(("code", "fields"), [("", {}), ("x" * 65, {}), ("ok", {1: 2})])
def test_a_refusal_that_could_not_travel_is_the_services_mistake(
    code: str, fields: dict[object, object]
) -> None:
    with pytest.raises(ValueError, match="refused"):
        ServiceRefusalError(code, "text", fields)  # type: ignore[arg-type]


def test_a_long_text_of_a_refusal_is_cut() -> None:
    assert len(ServiceRefusalError("code", "x" * 5000).message) == 2000
