"""Signals at the worst moments: right after the lock is acquired, between two chunks of a transfer,
before a scalar is complete."""

from __future__ import annotations

import signal
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shm_echo.mechestim.remote.arrays.array import RemoteScalar
from shm_echo.mechestim.remote.connection.arena import ClientArena
from shm_echo.mechestim.remote.connection.channel import Channel
from shm_echo.mechestim.remote.connection.packed_array import PackedArray
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.session_opening import open_session
from tests.mechestim.remote.server_process import RunningServer

REFUSED = "an operation of mechestim was interrupted by another one o"


@pytest.fixture
def channel(server: RunningServer) -> Iterator[Channel]:
    found = open_session(server.url)
    yield found
    found.close()


class Interrupted(BaseException):
    """The exception that the signal handler of a test raises."""


def at_every_line_of(code: Any, act: Callable[[], None], run: Callable[[], Any]) -> int:
    """Call `run` again and again; the n-th time, call `act` before the n-th line of `code`.

    A line counts when it is first reached: Python returns to the line of a `with` at the end of
    the block, where it handles no signal.

    Returns:
        The number of lines.
    """
    number = 1
    while _acted(code, act, run, number):
        number += 1
    return number - 1


def _acted(code: Any, act: Callable[[], None], run: Callable[[], Any], number: int) -> bool:
    seen: set[int] = set()

    def on_line(frame: Any, event: str, arg: Any) -> Any:
        if event == "line" and frame.f_lineno not in seen:
            seen.add(frame.f_lineno)
            if len(seen) == number:
                act()
        return on_line

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: on_line if frame.f_code is code else None)
    try:
        run()
    except Interrupted:
        pass
    finally:
        sys.settrace(before)
    return len(seen) >= number


def is_free(request_lock: RequestLock) -> bool:
    acquired: list[bool] = []

    def try_it() -> None:
        acquired.append(request_lock.try_acquire())
        if acquired[0]:
            request_lock.release()

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return acquired[0]


def test_an_exception_at_any_line_of_a_request_releases_the_lock(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.mechestim.remote.connection.channel._AFTER_INTERRUPT_S", 0.05)
    channels = [open_session(server.url)]

    def interrupt() -> None:
        raise Interrupted

    def ask() -> None:
        if channels[-1].why_closed is not None:
            channels.append(open_session(server.url))
        try:
            channels[-1].request("session.size")
        finally:
            sys.settrace(None)
            assert is_free(channels[-1]._request_lock)

    try:
        for function in (Channel.request, Channel._exchange):
            assert at_every_line_of(function.__code__, interrupt, ask) > 0
    finally:
        for one in channels:
            one.close()


def test_a_handler_that_runs_as_soon_as_the_lock_is_acquired_gets_an_error_and_no_deadlock() -> (
    None
):
    request_lock = RequestLock()
    with request_lock.lock, pytest.raises(RuntimeError, match="interrupted by another one"):
        request_lock.check_not_owned()
    assert is_free(request_lock)


def test_a_handler_between_two_steps_of_an_upload_cannot_change_what_is_uploaded(
    channel: Channel,
) -> None:
    arena = channel.arena
    assert arena is not None
    ones, sevens = array("d", [1.0]) * 8192, array("d", [7.0]) * 8192
    refused = []

    def on_signal(*_: object) -> None:
        try:
            arena.upload(channel, "<f8", (8192,), sevens)
        except RuntimeError as error:
            refused.append(str(error))

    old = signal.signal(signal.SIGUSR1, on_signal)
    try:

        def upload() -> None:
            packed = PackedArray("<f8", (8192,), ones)
            made = arena.upload(channel, packed.dtype, packed.shape, packed.content)
            assert made.tobytes() == ones.tobytes()

        def act() -> None:
            signal.raise_signal(signal.SIGUSR1)

        assert at_every_line_of(ClientArena.upload.__code__, act, upload) > 5
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert {text[:58] for text in refused} == {REFUSED}


def test_a_scalar_whose_making_was_interrupted_is_deleted_without_an_error() -> None:
    scalar = RemoteScalar.__new__(RemoteScalar)
    with pytest.raises(AttributeError, match="dtype"):
        _ = scalar.dtype.char
    del scalar  # pytest reports an exception of __del__ as an error
