"""Slots of sessions: work that takes long does not hold the one slot for short operations."""

from __future__ import annotations

import functools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shm_echo.control.server.control_server import ControlServer
from shm_echo.mechestim import wire
from shm_echo.mechestim.service.hosting.session_hosts import ThreadHost
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.objects.value_codec import SessionValueCodec
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot
from shm_echo.mechestim.service.server import MechEstimService
from shm_echo.mechestim.service.session.frame_stream import FrameStream
from tests.support.mechestim_server import RawClient, handle_of
from tests.support.waiting import WATCHDOG, wait_until


class Served:
    """A service of this process, whose deadlines are longer than a test.

    Attributes:
        path: The path of its socket.
        hosts: The hosts of its sessions, in the order of arrival.
    """

    def __init__(self, path: Path, hosts: list[ThreadHost]) -> None:
        self.path = path
        self.hosts = hosts


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    hosts: list[ThreadHost] = []
    begun = ThreadHost.__init__

    def begin(self: ThreadHost, *args: Any) -> None:
        begun(self, *args)
        hosts.append(self)

    monkeypatch.setattr(ThreadHost, "__init__", begin)
    service = MechEstimService(Quotas(stall_s=10 * WATCHDOG))
    with ControlServer(f"ipc://{folder}/slots.sock", {"mechestim": service}):
        yield Served(folder / "slots.sock", hosts)
        service.close()


@pytest.fixture
def long_ones(monkeypatch: pytest.MonkeyPatch) -> list[SchedulerSlot]:
    """Return a list that grows with each promotion of a session to a long slot."""
    found: list[SchedulerSlot] = []
    promote = SchedulerSlot.promote_to_long

    def noted(self: SchedulerSlot) -> None:
        if not self.is_long:
            found.append(self)
        promote(self)

    monkeypatch.setattr(SchedulerSlot, "promote_to_long", noted)
    return found


class Halt:
    """Replaces a method of the service and stops its first matching call.

    Args:
        method: The replaced method.
        here: Called with the arguments; returns True for a call to stop.
    """

    def __init__(self, method: Callable[..., Any], here: Callable[..., bool]) -> None:
        self._method = method
        self._here = here
        self.reached = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, *args: Any) -> Any:
        if self._here(*args) and not self.reached.is_set():
            self.reached.set()
            assert self.may_go_on.wait(WATCHDOG)
        return self._method(*args)

    def __get__(self, of: object, owner: type) -> Callable[..., Any]:
        return functools.partial(self, of)


def call_back(client: RawClient, x: msgpack.ExtType) -> None:
    """Ask for an operation that calls a function of the client."""
    client.send_message(
        {"id": 99, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, x], "b": 0}
    )


def are_served(*clients: RawClient) -> None:
    """Assert that each client is served three times.

    A single request could be served before the work that may block it has begun.
    """
    for _ in range(3):
        for client in clients:
            assert client.result("add", 1.0, 2.0) is not None


def test_an_incomplete_message_does_not_block_other_sessions(served: Served) -> None:
    with RawClient(served.path) as slow, RawClient(served.path) as other:
        slow.send(struct.pack("<I", 64) + b"half of it")
        are_served(other)


def test_an_answer_that_its_client_does_not_read_does_not_block_other_sessions(
    served: Served,
) -> None:
    with RawClient(served.path) as stuck, RawClient(served.path) as other:
        x = handle_of(stuck.result("ones", [60_000]))
        for number in range(10):
            stuck.send_message({"id": 100 + number, "op": "session.fetch", "a": [x], "b": 0})
        wait_until(lambda: served.hosts[0].stats.writing, "an answer is being sent")
        are_served(other)


def test_a_callback_that_has_made_a_request_does_not_block_other_sessions(served: Served) -> None:
    with RawClient(served.path) as calling, RawClient(served.path) as other:
        call_back(calling, handle_of(calling.result("ones", [3])))
        assert "call" in (calling.receive_message() or {})
        are_served(calling, other)


def test_arguments_of_a_callback_are_packed_while_other_sessions_are_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(SessionValueCodec._pack_array, lambda *_: True)
    with RawClient(served.path) as calling, RawClient(served.path) as other:
        x = handle_of(calling.result("ones", [3]))
        monkeypatch.setattr(SessionValueCodec, "_pack_array", halt)
        call_back(calling, x)
        assert halt.reached.wait(WATCHDOG)
        are_served(other)
        halt.may_go_on.set()
        assert "call" in (calling.receive_message() or {})


def test_a_long_answer_is_packed_while_other_sessions_are_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(SessionValueCodec.pack_answer, lambda _, number, result: type(result) is list)
    monkeypatch.setattr(SessionValueCodec, "pack_answer", halt)
    with RawClient(served.path) as client, RawClient(served.path) as other:
        x = handle_of(client.result("ones", [300_000]))
        client.send_message({"id": 99, "op": "ndarray.tolist", "a": [x], "b": 0})
        assert halt.reached.wait(WATCHDOG)
        are_served(other)
        halt.may_go_on.set()
        assert (client.receive_message() or {})["r"] == [1.0] * 300_000


def test_a_message_of_many_items_is_decoded_while_other_sessions_are_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    halt = Halt(SessionValueCodec.unpack, lambda _, payload: len(payload) > 1 << 14)
    monkeypatch.setattr(SessionValueCodec, "unpack", halt)
    with RawClient(served.path) as client, RawClient(served.path) as other:
        client.send_message({"id": 99, "op": "sum", "a": [[1.0] * 2500], "b": 0})
        assert halt.reached.wait(WATCHDOG)
        are_served(other)
        halt.may_go_on.set()
        assert "r" in (client.receive_message() or {})


def test_an_answer_is_sent_with_the_short_slot(
    served: Served, long_ones: list[SchedulerSlot], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_as_long_ones: list[bool] = []
    send = FrameStream.send

    def noted(self: FrameStream, *args: Any) -> None:
        sent_as_long_ones.append(self._slot.is_long)
        send(self, *args)

    monkeypatch.setattr(FrameStream, "send", noted)
    with RawClient(served.path) as client:
        x = handle_of(client.result("ones", [500, 500]))
        assert client.result("sum", x) is not None
    assert len(long_ones) == len(sent_as_long_ones) == 2
    assert not any(sent_as_long_ones)


def test_a_long_message_is_decoded_without_a_slot(served: Served) -> None:
    with RawClient(served.path) as client:
        assert client.result("add", 1.0, 2.0) is not None
        other = SchedulerSlot(served.hosts[0].slot._scheduler)
        other.acquire_short()
        client.frame(b"\xc1" * (1 << 17))
        assert "malformed" in (client.closed_reason() or "")
        other.step_down()


def test_a_long_operation_holds_a_long_slot_again_after_its_callback(
    served: Served, long_ones: list[SchedulerSlot]
) -> None:
    with RawClient(served.path) as client:
        x = handle_of(client.result("ones", [300_000]))
        yes = handle_of(client.result("ndarray.__gt__", x, 0.0))
        before = len(long_ones)
        client.send_message(
            {"id": 99, "op": "piecewise", "a": [x, [yes], [wire.callback_ext(1)]], "b": 0}
        )
        call = client.receive_message()
        assert call is not None
        assert call["fn"] == 1
        assert len(long_ones) == before + 1
        client.send_message({"ret": call["call"], "r": 2.0})
        answer = client.receive_message()
        assert answer is not None
        assert "r" in answer
        assert len(long_ones) == before + 2


def test_a_short_operation_stays_short_after_its_callback(
    served: Served, long_ones: list[SchedulerSlot]
) -> None:
    with RawClient(served.path) as client:
        call_back(client, handle_of(client.result("ones", [3])))
        call = client.receive_message()
        assert call is not None
        client.send_message({"ret": call["call"], "r": 2.0})
        assert client.receive_message() is not None
        assert long_ones == []


@pytest.mark.parametrize(("operands", "changes"), [(4, 0), (30, 1)])
def test_the_search_for_a_path_of_many_operands_is_long(
    served: Served, long_ones: list[SchedulerSlot], operands: int, changes: int
) -> None:
    terms = [[str(at), str(at + 1)] for at in range(operands)]
    sizes = [[str(at), 2] for at in range(operands + 1)]
    with RawClient(served.path) as client:
        assert client.result("session.path", terms, [], sizes, "auto")
        assert len(long_ones) == changes
        assert client.error("session.path", 5, [], sizes, "auto")[0] == "TypeError"


def test_fetching_a_large_array_is_long(served: Served, long_ones: list[SchedulerSlot]) -> None:
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


def test_frames_that_arrive_together_are_separated() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = FrameStream(ours, 100, 5.0, StatsPage(), FakeLock(), SchedulerSlot(Scheduler()))
        texts = [b"%d" % n for n in range(200)]
        theirs.sendall(b"".join(struct.pack("<I", len(text)) + text for text in texts))
        assert [stream.receive() for _ in texts] == texts
