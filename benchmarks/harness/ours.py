"""shm-echo: Server and ShmTransport on one side, ShmClient in each producer."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.contender import PATIENCE, Send
from harness.loads import NUM_BUFFERS, Load
from shm_echo import Server, ShmClient, ShmTransport

__all__ = ["OurConsumer", "ShmEcho"]

_numbers = itertools.count()


class OurConsumer:
    """A server, started.

    Args:
        load: what is sent.
        keeps: hold each batch while the next one is asked for, as a training loop does.
    """

    def __init__(self, load: Load, *, keeps: bool) -> None:
        self._keeps = keeps
        self._kept: Any = None
        self.address = f"bench-{os.getpid()}-{next(_numbers)}"
        self._server = Server(
            load.make(),
            batch_size=load.batch_size,
            transport=ShmTransport(self.address),
            num_buffers=NUM_BUFFERS,
        )
        self._server.start()
        self._sample = self._server.sample

    def batch(self) -> Any:
        sample = self._sample(timeout=PATIENCE)
        assert sample is not None  # only close() makes it None
        if self._keeps:
            self._kept = sample
        return sample.batch

    def interrupt(self) -> None:
        pass  # a signal ends sample()

    def close(self) -> None:
        self._server.close()


@dataclass(frozen=True)
class ShmEcho:
    """One `send` per sample, or `send_batch` of load.stack samples; see OurConsumer for `keeps`."""

    batched: bool = False
    keeps: bool = False
    package: str | None = None

    @property
    def name(self) -> str:
        name = "shm-echo send_batch(256)" if self.batched else "shm-echo send"
        return f"{name}, kept" if self.keeps else name

    def consume(self, load: Load, /) -> OurConsumer:
        return OurConsumer(load, keeps=self.keeps)

    @contextlib.contextmanager
    def sender(self, address: Any, load: Load, sample: Any, /) -> Iterator[Send]:
        with ShmClient(address, load.make(), connect_timeout=PATIENCE) as client:
            if self.batched:
                stacked, send_batch = load.stacked(load.stack), client.send_batch
                yield lambda: send_batch(stacked)
            else:
                send = client.send

                def send_one() -> int:
                    send(sample)
                    return 1

                yield send_one
