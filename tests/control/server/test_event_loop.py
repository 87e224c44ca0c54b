"""The thread of a server: its ticks, and the functions given to `call_soon`."""

from __future__ import annotations

import functools
import threading

import pytest

from shm_echo.control.server.control_server import ControlServer
from tests.control.harness import WATCHDOG, Recorder


def test_ticks_come_with_the_time(server: ControlServer, service: Recorder) -> None:
    ticks = [call[1] for call in service.wait_for("tick", 3)]
    assert ticks == sorted(ticks)


def test_functions_given_to_call_soon_run_once_each_on_the_servers_thread(
    server: ControlServer,
) -> None:
    threads: list[threading.Thread] = []
    done = threading.Event()

    def note() -> None:
        threads.append(threading.current_thread())
        if len(threads) == 100:
            done.set()

    def call() -> None:
        for _ in range(25):
            server.call_soon(note)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert done.wait(WATCHDOG)
    server.close()
    assert len(threads) == 100
    assert {thread.name for thread in threads} == {"shm-echo-control"}


def test_a_function_that_raises_is_logged_and_the_next_one_runs(
    server: ControlServer, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()
    server.call_soon(lambda: [][0])
    server.call_soon(done.set)
    assert done.wait(WATCHDOG)
    assert "a function given to call_soon failed" in caplog.text


def test_calls_that_call_soon_has_accepted_run_even_when_the_server_closes(address: str) -> None:
    ran: list[int] = []
    server = ControlServer(address, {})
    with server:
        for number in range(50):
            server.call_soon(functools.partial(ran.append, number))
    assert ran == list(range(50))
    with pytest.raises(RuntimeError, match="does not run"):
        server.call_soon(lambda: None)
