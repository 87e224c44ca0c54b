"""Slots that are reserved and written in place: their ends, and the samples that arrive."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.threads import Worker
from tests.support.waiting import wait_until


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with Server(EXAMPLE, 2, ShmTransport(name), num_buffers=2) as running:
        yield running


@pytest.fixture
def client(server: Server, name: str) -> Iterator[ShmClient]:
    with ShmClient(name, EXAMPLE) as attached:
        yield attached


def write(slot: Any, i: int) -> None:
    slot["x"][:] = i
    slot["n"][...] = i


def held(server: Server) -> int:
    (producer,) = server.producers()
    return producer.held


def flushed(server: Server) -> list[int]:
    sample = server.flush(timeout=0)
    assert sample is not None
    return numbers_of(sample.batch)


def test_the_end_of_the_with_statement_commits(server: Server, client: ShmClient) -> None:
    with client.reserve() as slot:
        assert slot.is_open
        assert held(server) == 1
        assert (slot["x"].shape, slot["x"].dtype) == ((3,), np.dtype(np.float32))
        write(slot, 7)
        assert server.info().store_size == 0
    assert not slot.is_open
    assert held(server) == 0
    assert flushed(server) == [7]


def test_an_exception_aborts_the_slot_and_propagates(server: Server, client: ShmClient) -> None:
    with pytest.raises(KeyError, match="mine"), client.reserve() as slot:
        write(slot, 7)
        raise KeyError("mine")
    assert held(server) == 0
    assert flushed(server) == []
    for i in range(4):  # every slot of the ring is there
        client.send(numbered(i), timeout=0)
    assert flushed(server) == [0, 1]
    assert flushed(server) == [2, 3]


def test_abort_in_the_with_statement_sends_nothing(server: Server, client: ShmClient) -> None:
    with client.reserve() as slot:
        slot.abort()
        slot.abort()
    client.send(numbered(1))
    assert flushed(server) == [1]


def test_commit_in_the_with_statement_sends_once(server: Server, client: ShmClient) -> None:
    with client.reserve() as slot:
        write(slot, 3)
        slot.commit()
    assert server.producers()[0].samples == 1
    assert flushed(server) == [3]


def test_a_garbage_collected_slot_is_aborted(server: Server, client: ShmClient) -> None:
    slot = client.reserve()
    assert held(server) == 1
    del slot
    gc.collect()
    assert held(server) == 0
    client.send(numbered(1), timeout=0)
    assert flushed(server) == [1]


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_slot_that_has_ended_can_be_neither_committed_nor_written(
    server: Server, client: ShmClient, end: str
) -> None:
    slot = client.reserve()
    write(slot, 1)
    getattr(slot, end)()
    with pytest.raises(ConnectionClosedError, match="slot"):
        slot.commit()
    with pytest.raises(ValueError, match="read-only"):
        slot["x"][:] = 2
    slot.abort()
    assert "closed" in repr(slot)
    assert flushed(server) == ([1] if end == "commit" else [])


def test_a_slot_delays_its_own_batch_and_keeps_its_position(
    server: Server, client: ShmClient
) -> None:
    slot = client.reserve()
    client.send(numbered(1))
    with pytest.raises(TimeoutError):
        server.sample(timeout=0)
    write(slot, 0)
    slot.commit()
    sample = server.sample(timeout=0)
    assert sample is not None
    assert numbers_of(sample.batch) == [0, 1]


def test_slots_may_end_in_any_order(server: Server, client: ShmClient) -> None:
    slots = [client.reserve(timeout=0) for _ in range(4)]
    assert held(server) == 4
    for i in (2, 0, 3, 1):
        write(slots[i], i)
        slots[i].commit()
    assert flushed(server) == [0, 1]
    assert flushed(server) == [2, 3]


@pytest.mark.parametrize("end", ["commit", "abort"])
def test_after_a_close_in_another_thread_the_slot_may_end_and_the_goodbye_comes_after(
    server: Server, client: ShmClient, end: str
) -> None:
    with client.reserve() as slot:
        Worker(client.close).result()
        assert client.closed
        with pytest.raises(ConnectionClosedError):
            client.send(numbered(9))
        assert held(server) == 1  # still attached, because it is still writing
        write(slot, 5)
        if end == "abort":
            slot.abort()
    wait_until(lambda: not server.producers(), "it has left")
    assert flushed(server) == ([5] if end == "commit" else [])


def test_after_the_server_was_closed_a_slot_can_be_written_without_harm(
    server: Server, client: ShmClient
) -> None:
    slot = client.reserve()
    server.close()
    write(slot, 1)
    with pytest.raises(ConnectionClosedError):
        client.send(numbered(2))
    slot.abort()
