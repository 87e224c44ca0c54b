"""Connections that end at every byte of the greeting and of samples."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import echo
import numpy as np
import pytest

import shm_echo
from shm_echo import ProducerDiedError
from tests.support.echo_specs import random_sample
from tests.support.forwarder import End, Forwarder, Way
from tests.support.tcp_ends import (
    ARRAYS,
    SIZE,
    Collector,
    RawPeer,
    arrays,
    connected,
    greeting,
    idle,
    numbered_bytes,
    payload,
    serving,
)
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

LIBRARIES = {"echo": echo, "ours": shm_echo}
ENDS: tuple[End, ...] = ("close", "reset")


@pytest.fixture(params=LIBRARIES.values(), ids=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("end", ENDS)
def test_a_greeting_that_is_cut_at_any_byte_is_a_connection_error(
    library: ModuleType, end: End
) -> None:
    size = len(greeting(ARRAYS))
    with (
        serving(shm_echo, ARRAYS, 1) as server,
        # A reset may come while a client connects: then it tries again.
        Forwarder(server.port, down=lambda number: Way(cut_at=number % size, end=end)) as forwarder,
    ):
        for _ in range(size):
            with pytest.raises(ConnectionError):
                library.TcpClient("127.0.0.1", forwarder.port, ARRAYS)
        with connected(library, server.port, ARRAYS) as client:
            client.send(arrays(1))
            assert server.sample(WATCHDOG) is not None
        wait_until(lambda: idle(server), "all connections have ended")


def test_a_greeting_that_stops_at_any_byte_is_a_timeout() -> None:
    size = len(greeting(ARRAYS))
    with (
        serving(shm_echo, ARRAYS, 1) as server,
        Forwarder(server.port, down=lambda n: Way(cut_at=n, end="silence")) as forwarder,
    ):

        def connect() -> None:  # an attempt lasts a second at least, so all are made at once
            shm_echo.TcpClient("127.0.0.1", forwarder.port, ARRAYS, connect_timeout=0.1)

        for worker in [Worker(connect) for _ in range(size)]:
            with pytest.raises(TimeoutError, match=f"127.0.0.1:{forwarder.port}"):
                worker.result()


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_that_is_cut_at_any_byte_delivers_its_whole_samples(end: End) -> None:
    samples = 3
    with (
        serving(shm_echo, ARRAYS, 4, num_buffers=4) as server,
        Forwarder(server.port, lambda number: Way(cut_at=number + 1, end=end)) as forwarder,
    ):
        collector = Collector(server)
        for cut in range(1, samples * SIZE + 1):
            with RawPeer(forwarder.port) as peer:
                peer.send(numbered_bytes(range(cut * 10, cut * 10 + samples)))
                assert forwarder.link(cut - 1).done.wait(WATCHDOG)
            collector.take_now()
        collector.until_idle()
    for cut in range(1, samples * SIZE + 1):
        came = [number for number in collector.numbers if number // 10 == cut]
        whole = [cut * 10 + number for number in range(cut // SIZE)]
        if end == "close":
            assert came == whole, f"cut at byte {cut}"
        else:  # RST may overtake what was sent before it
            assert came == whole[: len(came)], f"cut at byte {cut}"


LARGE = {"x": np.zeros((100, 300), np.float32), "y": np.zeros(90_001, np.uint8)}
LARGE_BYTES = 120_000 + 90_001


@pytest.mark.parametrize("end", ENDS)
def test_large_samples_that_are_cut_are_delivered_whole_or_not_at_all(end: End) -> None:
    cuts = [1, 65_535, 65_536, 119_999, 120_000, 120_001, LARGE_BYTES - 1]
    cuts += [LARGE_BYTES + cut for cut in (0, 1, 120_000, LARGE_BYTES - 1, LARGE_BYTES)]
    sample = random_sample(LARGE, 3)
    data = payload(sample) * 2
    with (
        serving(shm_echo, LARGE, 4, num_buffers=4) as server,
        Forwarder(server.port, lambda number: Way(cut_at=cuts[number], end=end)) as forwarder,
    ):
        for number, cut in enumerate(cuts):
            with RawPeer(forwarder.port, LARGE) as peer:
                try:
                    peer.send(data)
                except OSError:
                    assert end == "reset"
                assert forwarder.link(number).done.wait(WATCHDOG)
            wait_until(lambda: idle(server), "the connection has ended")
            batch = server.flush(timeout=WATCHDOG).batch
            came = len(batch["x"])
            assert came == cut // LARGE_BYTES if end == "close" else came <= cut // LARGE_BYTES
            for key in LARGE:
                assert (batch[key] == sample[key]).all()


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_an_end_between_two_samples_is_no_death(caplog: pytest.LogCaptureFixture) -> None:
    with serving(shm_echo, ARRAYS, 4, on_producer_death="raise") as server:
        for count in (0, 2):
            with RawPeer(server.port) as peer:
                peer.send(numbered_bytes(range(count)))
                assert peer.rest() == b"\x01" * count
            wait_until(lambda: idle(server), "it has gone")
        assert Collector(server).until(2) == [0, 1]
    assert not [text for text in _messages(caplog) if "127.0.0.1" in text]


@pytest.mark.parametrize("end", ["fragment", "reset"])
def test_another_end_is_a_death_with_the_address_of_the_peer(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(shm_echo, ARRAYS, 4) as server:
        with RawPeer(server.port) as peer:
            name = peer.name
            peer.send(numbered_bytes([5]))
            peer.acks(1)
            if end == "fragment":
                peer.send(numbered_bytes([6])[:-1])
                assert peer.rest() == b""
            else:
                peer.reset()
            wait_until(lambda: idle(server), "it has gone")
        assert Collector(server).until(1) == [5]
        wait_until(lambda: any(name in text for text in _messages(caplog)), "the death is logged")


@pytest.mark.parametrize("end", ["fragment", "reset"])
def test_a_death_is_raised_where_that_is_wanted(end: str) -> None:
    with serving(shm_echo, ARRAYS, 4, on_producer_death="raise") as server:
        with RawPeer(server.port) as peer:
            name = peer.name
            peer.send(numbered_bytes([1]) + b"\x00")
            peer.acks(1)
            if end == "fragment":
                assert peer.rest() == b""
            else:
                peer.reset()
            with pytest.raises(ProducerDiedError, match=name):
                server.sample(WATCHDOG)
