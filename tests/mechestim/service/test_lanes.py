"""Who works in which lane: what takes a while does not keep the one place of short operations."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shm_echo.control.listener import ControlServer
from shm_echo.mechestim import wire
from shm_echo.mechestim.service.board import Board
from shm_echo.mechestim.service.gate import Gate, Turn
from shm_echo.mechestim.service.seats import ThreadSeat
from shm_echo.mechestim.service.service import MechestimService
from shm_echo.mechestim.service.stream import Stream
from tests.support.metering import RawClient, handle_of


class Served:
    """A service of this process; ``turns`` are those of its sessions."""

    def __init__(self, path: Path, turns: list[Turn]) -> None:
        self.path = path
        self.turns = turns


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    turns: list[Turn] = []
    begun = ThreadSeat.__init__

    def begin(self: ThreadSeat, *args: Any) -> None:
        begun(self, *args)
        turns.append(self.turn)

    monkeypatch.setattr(ThreadSeat, "__init__", begin)
    service = MechestimService()
    with ControlServer(f"ipc://{folder}/lanes.sock", {"mechestim": service}):
        yield Served(folder / "lanes.sock", turns)
        service.close()


@pytest.fixture
def long_ones(monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """Grows with each change to the lane of long operations."""
    found: list[Turn] = []
    heavy = Turn.heavy

    def noted(self: Turn) -> None:
        if not self.long:
            found.append(self)
        heavy(self)

    monkeypatch.setattr(Turn, "heavy", noted)
    return found


def test_a_long_message_is_read_without_a_place(served: Served) -> None:
    with RawClient(served.path) as client:
        assert client.result("add", 1.0, 2.0) is not None
        other = Turn(served.turns[0]._gate)
        other.begin()
        client.frame(b"\xc1" * (1 << 17))
        assert "malformed" in (client.farewell() or "")
        other.end()


def test_a_long_operation_is_a_long_one_after_its_callback_too(
    served: Served, long_ones: list[Turn]
) -> None:
    with RawClient(served.path) as client:
        x = handle_of(client.result("ones", [300_000]))
        yes = handle_of(client.result("ndarray.__gt__", x, 0.0))
        before = len(long_ones)
        client.say({"id": 99, "op": "piecewise", "a": [x, [yes], [wire.callback_ext(1)]], "b": 0})
        call = client.hear()
        assert call is not None
        assert call["fn"] == 1
        assert len(long_ones) == before + 1
        client.say({"ret": call["call"], "r": 2.0})
        answer = client.hear()
        assert answer is not None
        assert "r" in answer
        assert len(long_ones) == before + 2


def test_a_callback_of_a_short_operation_leaves_it_short(
    served: Served, long_ones: list[Turn]
) -> None:
    with RawClient(served.path) as client:
        x = handle_of(client.result("ones", [3]))
        client.say({"id": 99, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, x], "b": 0})
        call = client.hear()
        assert call is not None
        client.say({"ret": call["call"], "r": 2.0})
        assert client.hear() is not None
        assert long_ones == []


@pytest.mark.parametrize(("operands", "changes"), [(4, 0), (30, 1)])
def test_the_search_for_a_path_of_many_operands_is_long(
    served: Served, long_ones: list[Turn], operands: int, changes: int
) -> None:
    terms = [[str(at), str(at + 1)] for at in range(operands)]
    sizes = [[str(at), 2] for at in range(operands + 1)]
    with RawClient(served.path) as client:
        assert client.result("session.path", terms, [], sizes, "auto")
        assert len(long_ones) == changes
        assert client.error("session.path", 5, [], sizes, "auto")[0] == "TypeError"


def test_what_looks_at_all_of_a_large_array_is_long(served: Served, long_ones: list[Turn]) -> None:
    with RawClient(served.path) as client:
        small = handle_of(client.result("ones", [100, 100]))
        large = handle_of(client.result("ones", [500, 500]))
        before = len(long_ones)
        client.result("session.fetch", small)
        assert len(long_ones) == before
        client.result("session.fetch", large)
        assert len(long_ones) == before + 1


class FakeLock:
    def acquire(self, blocking: bool = True) -> bool:
        raise AssertionError("nothing is sent")

    def release(self) -> None:
        raise AssertionError("nothing is sent")


def test_a_frame_that_comes_with_others_is_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours, 100, 5.0, Board(), FakeLock(), Turn(Gate()))
        texts = [b"%d" % n for n in range(200)]
        theirs.sendall(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        assert [stream.receive() for _ in texts] == texts
