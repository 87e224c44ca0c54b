"""Descriptors: `close()` gives all of them back while objects and arrays live."""

from __future__ import annotations

import gc
from multiprocessing.connection import Connection

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.ring.segment import Backing
from tests.support.leftovers import open_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.waiting import WATCHDOG, wait_until


@pytest.mark.parametrize("backing", ["posix", "memfd"])
def test_closing_gives_back_every_descriptor_while_the_objects_live(
    backing: Backing, name: str
) -> None:
    gc.collect()  # descriptors of earlier tests' objects are not to go meanwhile
    before = open_descriptors()
    server = Server(EXAMPLE, 1, ShmTransport(name, backing), publishes=EXAMPLE, lease=True)
    server.start()
    client = ShmClient(name, EXAMPLE)
    server.publish(numbered(7))
    latest = client.latest()
    client.send(numbered(5))
    sample = server.sample(timeout=WATCHDOG)
    client.close()
    server.close()
    wait_until(lambda: open_descriptors() == before, "no descriptor is left")
    assert sample is not None
    assert latest is not None
    assert numbers_of(sample.batch) == [5]
    assert latest[1]["n"] == 7


def _close_and_count(pipe: Connection, name: str) -> None:
    before = open_descriptors()
    client = ShmClient(name, EXAMPLE)
    slot = client.reserve()
    slot.commit()
    client.close()
    pipe.send(open_descriptors() - before)
    assert slot is not None


def test_a_client_in_a_process_of_its_own_gives_them_back_too(name: str) -> None:
    with Server(EXAMPLE, 1, ShmTransport(name), publishes=EXAMPLE):
        with start(_close_and_count, name) as child:
            child.expect(0)


def test_a_server_in_one_process_gives_its_memory_back_with_the_last_array() -> None:
    before = open_descriptors()
    server = Server({"x": np.zeros(1000)}, 1)
    server.submit({"x": np.ones(1000)})
    sample = server.sample()
    server.close()
    assert open_descriptors() == before
    assert sample is not None
    assert sample.batch["x"].all()
