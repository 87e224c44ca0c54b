"""An attach that fails in the middle, in a process that lives on, leaves no producer behind."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shm_echo import Server, ShmClient, ShmTransport
from shm_echo.errors import ConnectionClosedError, DescriptorLimitError
from tests.support.leftovers import limit_for_more_descriptors
from tests.support.numbered import EXAMPLE, numbered, numbers_of
from tests.support.processes import start
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until


def attach_with_more_and_more_descriptors(pipe: Any, address: str) -> None:
    # Imports all that is needed on the way. Its id makes it another producer than the later one.
    ShmClient(address, EXAMPLE, producer_id="first").close()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit_for_more_descriptors(24), hard))
    hogs = []
    with pytest.raises(OSError, match="Too many open files"):
        while True:
            hogs.append(os.open("/dev/null", os.O_RDONLY))
    pipe.send("full")
    pipe.recv()
    failures = []
    while True:
        try:
            client = ShmClient(address, EXAMPLE)
            break
        except DescriptorLimitError as error:
            failures.append(str(error))
        os.close(hogs.pop())
    pipe.send(failures)
    pipe.recv()
    client.send(numbered(1))
    client.close()


def test_a_client_without_memory_for_the_ring_is_not_counted_and_ends_no_stream(name: str) -> None:
    with Server(EXAMPLE, 2, ShmTransport(name), publishes={"w": np.zeros(2)}) as server:
        with start(attach_with_more_and_more_descriptors, name) as child:
            child.expect("full")
            wait_until(lambda: not server.producers(), "its first client has left")
            stream = Worker(list, server.dataset_iter(until="producers_closed", min_producers=2))
            child.say("go on")
            failures = child.hear()
            assert any("what the server passed" in words for words in failures), failures
            assert [producer.state for producer in server.producers()] == ["attached"]
            assert stream.thread.is_alive()  # one producer was there, and one is
            child.say("go on")
            samples = stream.result()
        assert [numbers_of(sample.batch) for sample in samples] == [[1]]


def attach_and_live_on(pipe: Any, address: str) -> None:
    try:
        ShmClient(address, EXAMPLE)
    except KeyboardInterrupt:
        pipe.send("interrupted")
    pipe.recv()


def test_a_client_that_is_interrupted_during_its_attach_is_detached(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go, owners = threading.Event(), threading.Event(), []
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        attach = server._producers.attach

        def hesitate(*args: Any, **named: Any) -> int:
            asked.set()
            assert go.wait(WATCHDOG)
            owners.append(attach(*args, **named))
            return owners[-1]

        monkeypatch.setattr(server._producers, "attach", hesitate)
        with start(attach_and_live_on, name) as child:
            assert asked.wait(WATCHDOG)
            child.kill(signal.SIGINT)
            child.expect("interrupted")
            go.set()
            wait_until(lambda: owners and not server.producers(), "its place is free")
            assert not child.ended()


def attach_without_address_space(pipe: Any, address: str) -> None:
    ShmClient(f"{address}-small", EXAMPLE).close()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (16 << 20), hard))
    try:
        ShmClient(address, np.zeros(1 << 22, np.uint8))
    except MemoryError as error:
        pipe.send(str(error))
    pipe.recv()


def test_a_client_without_address_space_raises_memory_error(name: str) -> None:
    with (
        Server(EXAMPLE, 2, ShmTransport(f"{name}-small")),
        Server(np.zeros(1 << 22, np.uint8), 4, ShmTransport(name)) as server,  # 48 MiB
        start(attach_without_address_space, name, method="subprocess") as child,
    ):
        child.expect(
            f"this process cannot map the ring of {name}: no memory or address space left "
            "(see 'ulimit -v')"
        )
        assert server.producers() == []


def test_a_server_that_ends_between_memory_and_owner_id_is_a_closed_connection(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = threading.Event(), threading.Event()
    with Server(EXAMPLE, 2, ShmTransport(name)) as server:
        attach = server._producers.attach

        def hesitate(*args: Any, **named: Any) -> int:
            asked.set()
            assert go.wait(WATCHDOG)
            return attach(*args, **named)

        monkeypatch.setattr(server._producers, "attach", hesitate)
        attaching = Worker(ShmClient, name, EXAMPLE)
        assert asked.wait(WATCHDOG)
        closing = Worker(server.close)
        go.set()
        closing.result()
        try:
            client = attaching.result()
        except ConnectionClosedError:
            return
        with client, pytest.raises(ConnectionClosedError):  # it was let in just before
            client.send(numbered(1))
