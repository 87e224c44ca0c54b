"""The named peers, each used the way its own documentation shows.

A batch is what a learner gets from each: id-echo hands out batches itself; the queues hand out
samples, which are stacked leaf by leaf. All hold as many samples as the ring of shm-echo does.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from harness.contender import PATIENCE, Contender, Send
from harness.loads import NUM_BUFFERS, Load
from harness.processes import context

__all__ = ["PEERS", "FasterFifo", "IdEcho", "MpQueue"]

SLICE = 1.0  # seconds of one get_many(), which no signal interrupts


def _stack(samples: list[Any]) -> Any:
    return optree.tree_map(lambda *leaves: np.stack(leaves), *samples)


# ---- id-echo over TCP on loopback


class EchoConsumer:
    """An echo Server with a TcpTransport on a free port."""

    def __init__(self, load: Load) -> None:
        echo = importlib.import_module("echo")
        self._server = echo.Server(
            load.make(),
            batch_size=load.batch_size,
            transport=echo.TcpTransport(port=0),
            num_buffers=NUM_BUFFERS,
        )
        self._server.start()
        self.address = self._server.port
        self._batches = 0
        self._alarm = threading.Timer(PATIENCE, self._give_up)
        self._alarm.daemon = True
        self._alarm.start()

    def _give_up(self) -> None:  # its sample() has no time-out
        if self._batches == 0:
            self._server.close()

    def batch(self) -> Any:
        sample = self._server.sample()
        if sample is None:
            raise TimeoutError(f"id-echo: no batch within {PATIENCE:g} s")
        self._batches += 1
        return sample.batch

    def interrupt(self) -> None:
        self._server.close()  # its sample() then returns None

    def close(self) -> None:
        self._alarm.cancel()
        self._server.close()


@dataclass(frozen=True)
class IdEcho:
    """id-echo's own server and client, defaults throughout."""

    name: str = "id-echo"
    package: str | None = "echo"

    def consume(self, load: Load, /) -> EchoConsumer:
        return EchoConsumer(load)

    @contextlib.contextmanager
    def sender(self, address: Any, load: Load, sample: Any, /) -> Iterator[Send]:
        echo = importlib.import_module("echo")
        logging.getLogger("echo").setLevel(logging.ERROR)  # it warns when a round is over
        client = echo.TcpClient("127.0.0.1", address, load.make())

        def send_one() -> int:
            client.send(sample)
            return 1

        try:
            yield send_one
        finally:
            client.close()


# ---- multiprocessing.Queue


class QueueConsumer:
    """A bounded queue; a batch is that many gets and one np.stack per leaf."""

    def __init__(self, load: Load) -> None:
        self._queue = context().Queue(maxsize=load.capacity)
        self._batch_size = load.batch_size
        self.address = self._queue

    def batch(self) -> Any:
        get = self._queue.get
        return _stack([get(timeout=PATIENCE) for _ in range(self._batch_size)])

    def interrupt(self) -> None:
        pass  # a signal ends get()

    def close(self) -> None:
        self._queue.close()
        self._queue.cancel_join_thread()


@dataclass(frozen=True)
class MpQueue:
    """multiprocessing.Queue of pickled samples, then np.stack."""

    name: str = "mp.Queue + np.stack"
    package: str | None = None

    def consume(self, load: Load, /) -> QueueConsumer:
        return QueueConsumer(load)

    @contextlib.contextmanager
    def sender(self, address: Any, _load: Load, sample: Any, /) -> Iterator[Send]:
        put = address.put

        def send_one() -> int:
            put(sample)
            return 1

        try:
            yield send_one
        finally:
            address.cancel_join_thread()


# ---- faster-fifo


class FifoConsumer:
    """Takes all available samples with get_many, the fastest call of faster-fifo."""

    def __init__(self, load: Load) -> None:
        faster_fifo = importlib.import_module("faster_fifo")
        importlib.import_module("faster_fifo_reduction")  # lets the queue travel to a process
        pickled = load.nbytes + 512 * optree.tree_structure(load.make()).num_leaves
        self._queue = faster_fifo.Queue(max_size_bytes=load.capacity * pickled)
        self._batch_size = load.batch_size
        self.address = self._queue

    def batch(self) -> Any:
        samples: list[Any] = []
        deadline = time.monotonic() + PATIENCE
        while len(samples) < self._batch_size:
            room = self._batch_size - len(samples)
            try:
                samples += self._queue.get_many(timeout=SLICE, max_messages_to_get=room)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise
        return _stack(samples)

    def interrupt(self) -> None:
        pass  # get_many() runs into its time-out, and the signal's handler runs after it

    def close(self) -> None:
        self._queue.close()


@dataclass(frozen=True)
class FasterFifo:
    """faster-fifo of pickled samples, then np.stack."""

    name: str = "faster-fifo + np.stack"
    package: str | None = "faster_fifo"

    def consume(self, load: Load, /) -> FifoConsumer:
        return FifoConsumer(load)

    @contextlib.contextmanager
    def sender(self, address: Any, _load: Load, sample: Any, /) -> Iterator[Send]:
        put = address.put

        def send_one() -> int:
            put(sample, timeout=PATIENCE)
            return 1

        yield send_one


PEERS: tuple[Contender, ...] = (IdEcho(), MpQueue(), FasterFifo())
