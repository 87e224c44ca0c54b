"""The targets of the fuzzers, without a fuzzer: they accept valid requests and detect errors."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shm_echo.mechestim import wire
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
from shm_echo.transports.tcp.echo_wire import HelloReader
from tests.fuzz import mutations, targets, tcp_handshakes
from tests.fuzz.record import record

REQUESTS: list[dict[str, Any]] = [
    {"id": 1, "op": "budget.open", "a": [10**6, 1.0, None], "b": 0},
    {"id": 2, "op": "ones", "a": [[3, 3]], "b": 1},
    {"id": 3, "op": "linalg.svd", "a": [wire.handle_ext(1)], "b": 1},
    {"id": 4, "op": "ndarray.tolist", "a": [wire.handle_ext(2)], "b": 1, "f": [2]},
    {"id": 6, "op": "add", "a": [wire.handle_ext(1), 1.0], "b": 1},
    {"id": 5, "op": "apply_along_axis", "a": [wire.callback_ext(1), 0, wire.handle_ext(1)], "b": 1},
    {"ret": 1, "r": 7.0},
]


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """Restore the logger, which the targets change for good: other tests read its messages."""
    log = logging.getLogger("shm_echo.mechestim")
    before = log.propagate
    yield
    log.removeHandler(targets._errors)
    log.propagate = before


@pytest.mark.parametrize("target", targets.TARGETS.values(), ids=targets.TARGETS)
def test_bytes_of_all_kinds_pass(target: Any) -> None:
    source = random.Random(5)
    target(b"")
    for _ in range(100):
        target(source.randbytes(source.randrange(1, 60)))


def test_a_session_that_goes_well_and_its_changes_pass() -> None:
    data = mutations.joined(REQUESTS)
    targets.session(data)
    for seed in range(300):
        changed = mutations.mutated(data, seed)
        assert changed is None or mutations.frames(changed) is not None
        targets.session(changed or data)


def test_the_requests_of_a_client_are_recorded_and_can_be_played_again(tmp_path: Path) -> None:
    assert record(tmp_path, "add", "linalg.svd", "sort") >= 3
    seeds = [path.read_bytes() for path in tmp_path.iterdir()]
    asked = {message.get("op") for seed in seeds for message in mutations.frames(seed) or []}
    assert {"add", "linalg.svd", "sort", "budget.open"} <= asked
    for seed in seeds:
        targets.session(seed)


def test_handshakes_of_peers_pass_and_so_do_damaged_ones() -> None:
    source = random.Random(6)
    for seed in tcp_handshakes.SEEDS:
        targets.handshakes(seed)
        targets.handshakes(seed + b"\x00")
        for end in range(len(seed)):
            targets.handshakes(seed[:end])
        for _ in range(60):
            damaged = bytearray(seed)
            for _ in range(source.randrange(1, 4)):
                damaged[source.randrange(len(damaged))] = source.randrange(256)
            targets.handshakes(bytes(damaged))


def test_a_parser_that_reads_pieces_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HelloReader, "feed", lambda self, data: setattr(self, "missing", 0))
    with pytest.raises(AssertionError):
        targets.handshakes(tcp_handshakes.SEEDS[0])


def test_objects_that_stay_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandleTable, "clear", lambda self: None)
    with pytest.raises(AssertionError, match="objects are left"):
        targets.session(mutations.joined(REQUESTS))


def test_a_count_that_goes_down_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    charge = targets._Watched.charge

    def cheating(self: Any, name: str, cost: int) -> None:
        charge(self, name, cost)
        self._words[0] -= 1
        self.check()

    monkeypatch.setattr(targets._Watched, "charge", cheating)
    with pytest.raises(AssertionError, match="a count went down"):
        targets.session(mutations.joined(REQUESTS))


def test_a_failure_of_the_server_itself_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise LookupErrorOfAServer

    monkeypatch.setattr(Dispatcher, "perform", broken)
    with pytest.raises(AssertionError, match="the session logged"):
        targets.session(mutations.joined(REQUESTS))


class LookupErrorOfAServer(Exception):
    """None that a client may see."""


def test_bytes_that_are_no_frames_are_left_to_the_fuzzer() -> None:
    for data in (b"", b"\x00" * 9, mutations.joined([[1]]), mutations.joined(REQUESTS)[:-1]):
        assert mutations.mutated(data, 1) is None
    twice = mutations.frames(mutations.joined(REQUESTS))
    assert twice is not None
    assert msgpack.packb(twice) == msgpack.packb(REQUESTS)
