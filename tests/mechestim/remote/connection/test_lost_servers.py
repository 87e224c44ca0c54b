"""A server that dies, stops, or is silent causes a clear error in time, and never a hang."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.mechestim.remote.client_script import ROOT, command, environment, run_client
from tests.mechestim.remote.server_process import RunningServer, run_server
from tests.support.waiting import WATCHDOG, stop

# Where the time-out is short, a busy machine may take longer for the first reply.
_OPENED = """
def opened():
    while True:
        try:
            return me.ones(4)
        except (TimeoutError, ConnectionError):
            pass
"""


@contextmanager
def client(server: RunningServer, source: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Start a client that runs `source`; its input and output are pipes."""
    process = subprocess.Popen(
        command("import mechestim as me\n" + source),
        env=environment(server.url, **env),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line of its output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    """End its wait for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_server_that_is_killed_during_an_operation_is_a_closed_connection() -> None:
    source = """
x = me.ones(4)
print("ready", flush=True)
try:
    while True:
        me.random.rand(10_000_000)
except me.errors.MechEstimError:
    raise
except ConnectionError as error:
    print(type(error).__name__, "ended" in str(error), flush=True)
input()
try:
    x + 1
except ConnectionError as error:
    print(type(error).__name__, "another session" in str(error) or "no server" in str(error))
"""
    with run_server() as server, client(server, source) as process:
        assert line(process) == "ready"
        server.process.kill()
        assert line(process) == "ConnectionClosedError True"
        server.process.wait()
        go_on(process)
        assert line(process).endswith("True")
        assert process.wait(WATCHDOG) == 0


def test_a_server_that_stops_is_a_timeout_error_after_the_time_out() -> None:
    source = """
x = opened()
print("ready", flush=True)
input()
try:
    x + 1
except TimeoutError as error:
    print(type(error).__name__, error)
try:
    x + 1
except ConnectionError as error:
    print(type(error).__name__)
"""
    with (
        run_server() as server,
        client(server, _OPENED + source, MECHESTIM_TIMEOUT="0.5") as process,
    ):
        assert line(process) == "ready"
        stop(server.process.pid)
        go_on(process)
        text = line(process)
        assert text.startswith("RequestTimeoutError")
        assert "ndarray.__add__" in text
        assert "0.5 s" in text
        assert line(process) in ("ConnectionClosedError", "ServerNotFoundError")
        assert process.wait(WATCHDOG) == 0
        server.process.send_signal(signal.SIGCONT)


def test_a_large_frame_to_a_server_that_stops_is_a_timeout_error_too() -> None:
    """Also without an arena, where the client waits while it sends."""
    source = """
from shm_echo.mechestim.remote import client_session as session
x = opened()
link = session.channel()
link._may_have_arena = False
print("ready", flush=True)
input()
try:
    me.array([0.5] * 10**6)
except TimeoutError as error:
    print(type(error).__name__)
"""
    with (
        run_server() as server,
        client(server, _OPENED + source, MECHESTIM_TIMEOUT="0.5") as process,
    ):
        assert line(process) == "ready"
        stop(server.process.pid)
        go_on(process)
        assert line(process) == "RequestTimeoutError"
        assert process.wait(WATCHDOG) == 0
        server.process.send_signal(signal.SIGCONT)


def test_an_operation_may_take_longer_than_the_time_out_while_the_server_sends_busy() -> None:
    source = """
import time
from shm_echo.mechestim.remote import client_session as session
x = opened()
link = session.channel()
receive = link._pipe.receive
def receive_and_print(*args):
    payload = receive(*args)
    overdue = time.monotonic() - asked > 1.5 * link._pipe.peer_timeout
    print("heard when it was overdue" if overdue else "heard in time", flush=True)
    return payload
link._pipe.receive = receive_and_print
asked = time.monotonic()
print(me.sort(x).tolist(), flush=True)
"""
    with (
        run_server(busy_s=0.1, hold_sorts=True) as server,
        client(server, _OPENED + source, MECHESTIM_TIMEOUT="2") as process,
    ):
        while (text := line(process)) == "heard in time":
            pass
        assert text == "heard when it was overdue"
        server.release_sort()
        while (text := line(process)).startswith("heard"):
            pass
        assert text == "[1.0, 1.0, 1.0, 1.0]"
        assert process.wait(WATCHDOG) == 0


def test_no_server_at_all_is_an_error_that_names_the_address() -> None:
    done = run_client("ipc:///nowhere/at/all.sock", "import mechestim as me; me.ones(1)")
    assert done.returncode == 1
    assert "ServerNotFoundError" in done.stderr
    assert "/nowhere/at/all.sock" in done.stderr


def test_a_timeout_that_is_no_time_is_refused() -> None:
    for text in ("soon", "-1", "0", "nan"):
        source = "import mechestim as me; me.ones(1)"
        done = run_client("ipc:///x", source, env={"MECHESTIM_TIMEOUT": text})
        assert f"ValueError: MECHESTIM_TIMEOUT='{text}'" in done.stderr


def test_ctrl_c_during_an_operation_leaves_the_session_usable() -> None:
    source = """
from shm_echo.mechestim.remote import client_session as session
from shm_echo.mechestim.remote.connection import channel
channel._AFTER_INTERRUPT_S = 100
x = me.ones(4)
link = session.channel()
send = link._pipe.send
def send_and_print(payload):
    send(payload)
    print("sent", flush=True)
link._pipe.send = send_and_print
try:
    me.sort(x)
except KeyboardInterrupt:
    link._pipe.send = send
    print("interrupted", flush=True)
print(float((x + 1).sum()))
"""
    with run_server(hold_sorts=True) as server, client(server, source) as process:
        assert line(process) == "sent"  # the request; now it waits for the answer
        process.send_signal(signal.SIGINT)
        assert line(process) == "sent"  # the cancellation of the request
        server.release_sort()
        assert line(process) == "interrupted"
        assert line(process) == "8.0"
        assert process.wait(WATCHDOG) == 0


def test_ctrl_c_while_the_server_does_not_answer_closes_the_session_and_says_so() -> None:
    source = """
from shm_echo.mechestim.remote import client_session as session
from shm_echo.mechestim.remote.connection import channel
channel._AFTER_INTERRUPT_S = 0.2
x = me.ones(4)
link = session.channel()
receive = link._pipe.receive
def receive_after_telling(*args):
    print("asking", flush=True)
    return receive(*args)
print("ready", flush=True)
input()
link._pipe.receive = receive_after_telling
try:
    x + 1
except KeyboardInterrupt:
    print("interrupted", flush=True)
try:
    link.request("session.size")
except ConnectionError as error:
    print(error)
"""
    with run_server() as server, client(server, source) as process:
        assert line(process) == "ready"
        stop(server.process.pid)
        go_on(process)
        assert line(process) == "asking"
        process.send_signal(signal.SIGINT)
        while (text := line(process)) == "asking":  # the cancellation asks, too
            pass
        assert text == "interrupted"
        assert "interrupted in the middle of an operation" in line(process)
        assert process.wait(WATCHDOG) == 0
        server.process.send_signal(signal.SIGCONT)


def test_ctrl_c_in_a_callback_comes_out_as_itself_and_the_session_goes_on() -> None:
    source = """
x = me.ones((2, 4))
def function(row):
    print("running", flush=True)
    input()
    return row
try:
    me.apply_along_axis(function, 1, x)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(float((x + 1).sum()))
"""
    with run_server() as server, client(server, source) as process:
        assert line(process) == "running"
        process.send_signal(signal.SIGINT)
        assert line(process) == "interrupted"
        assert line(process) == "16.0"
        assert process.wait(WATCHDOG) == 0
