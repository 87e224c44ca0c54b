"""Signals that come at the worst moment: right after a turn was taken, between two pieces of a
transfer, before a number was complete."""

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
from shm_echo.mechestim.remote.connection.connect import open_channel
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.connection.value_codec import Typed
from tests.mechestim.remote.server_process import Apart

REFUSED = "an operation of mechestim was interrupted by another one o"


@pytest.fixture
def channel(server: Apart) -> Iterator[Channel]:
    found = open_channel(server.url)
    yield found
    found.close()


class Interrupted(BaseException):
    """What the signal handler of a test raises."""


def at_every_line_of(code: Any, act: Callable[[], None], run: Callable[[], Any]) -> int:
    """Run something again and again; the n-th time, act before the n-th line of ``code``.

    Lines count when they are first come to: a ``with`` is come back to when it ends, where no
    signal is handled.

    Returns:
        How many lines there were.
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


def free_for_others(turns: RequestLock) -> bool:
    found: list[bool] = []

    def ask() -> None:
        found.append(turns.take_if_free())
        if found[0]:
            turns.give()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found[0]


def test_an_exception_at_any_line_of_a_request_leaves_the_turn_to_the_next(
    server: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shm_echo.mechestim.remote.connection.channel._AFTER_INTERRUPT_S", 0.05)
    channels = [open_channel(server.url)]

    def interrupt() -> None:
        raise Interrupted

    def ask() -> None:
        if channels[-1].why_closed is not None:
            channels.append(open_channel(server.url))
        try:
            channels[-1].request("session.size")
        finally:
            sys.settrace(None)
            assert free_for_others(channels[-1]._turns)

    try:
        for function in (Channel.request, Channel._exchange):
            assert at_every_line_of(function.__code__, interrupt, ask) > 0
    finally:
        for one in channels:
            one.close()


def test_a_handler_that_runs_as_soon_as_the_turn_is_taken_is_told_and_does_not_wait() -> None:
    turns = RequestLock()
    with turns.lock, pytest.raises(RuntimeError, match="interrupted by another one"):
        turns.check()
    assert free_for_others(turns)


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
            typed = Typed("<f8", (8192,), ones)
            made = arena.upload(channel, typed.dtype, typed.shape, typed.content)
            assert made.tobytes() == ones.tobytes()

        def act() -> None:
            signal.raise_signal(signal.SIGUSR1)

        assert at_every_line_of(ClientArena.upload.__code__, act, upload) > 5
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert {text[:58] for text in refused} == {REFUSED}


def test_a_number_that_was_never_complete_goes_without_a_word() -> None:
    number = RemoteScalar.__new__(RemoteScalar)
    with pytest.raises(AttributeError, match="dtype"):
        _ = number.dtype.char
    del number  # pytest makes an error of what __del__ raises
