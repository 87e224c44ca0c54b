"""The conformance suite, on the transports of the library and on one that a user might write."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shm_echo import ShmClient, ShmTransport, Transport
from tests.support.processes import Child, start
from tests.support.samples import Maker, example
from tests.transports.conformance import MOST_PRODUCERS, Conformance, Mortal, Network, Producer
from tests.transports.memory_transport import MemoryClient, MemoryTransport


class Process:
    """A producer in a real process."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.pid = child.pid

    def die(self) -> int:
        self._child.kill()
        self._child.wait()
        return signal.SIGKILL


def send_and_stay(pipe: Any, address: str, maker: Maker, count: int) -> None:
    with ShmClient(address, example()) as client:
        client.send_batch(maker.batch(0, count))
        pipe.send("sent")
        pipe.recv()


class SharedMemory:
    """The network of a ShmTransport."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.transport = ShmTransport(name, max_producers=MOST_PRODUCERS)

    def connect(self, data: Any) -> Producer:
        return ShmClient(self._name, data)

    @contextmanager
    def mortal(self, maker: Maker, count: int) -> Iterator[Mortal]:
        with start(send_and_stay, self._name, maker, count) as child:
            child.expect("sent")
            yield Process(child)


class Actor:
    """A producer that says that it is a process."""

    def __init__(self, client: MemoryClient, pid: int) -> None:
        self._client = client
        self.pid = pid

    def die(self) -> int:
        self._client.die(signal.SIGTERM)
        return signal.SIGTERM


class Memory:
    """The network of a MemoryTransport."""

    def __init__(self) -> None:
        self._memory = MemoryTransport(MOST_PRODUCERS)
        self.transport: Transport = self._memory

    def connect(self, data: Any) -> Producer:
        return self._memory.connect(data)

    @contextmanager
    def mortal(self, maker: Maker, count: int) -> Iterator[Mortal]:
        client = self._memory.connect(example(), pid=12345)
        client.send_batch(maker.batch(0, count))
        yield Actor(client, 12345)


class TestShmTransport(Conformance):
    @pytest.fixture
    def network(self, name: str) -> Network:
        return SharedMemory(name)


class TestMemoryTransport(Conformance):
    @pytest.fixture
    def network(self) -> Network:
        return Memory()
