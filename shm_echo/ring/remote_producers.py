"""Producers that reach the ring through the server's own threads: those of a network connection.

Such a producer has no owner id in the ring and no process that the server could watch. The threads
that read its connection write into the ring under owner ids of the server, so its end leaves no
slot to recover. What the server knows of it comes from the transport: a `RemoteSource`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shm_echo.metrics import ProducerInfo

__all__ = ["Death", "RemoteProducer", "RemoteSource", "RemoteView"]


class Death(NamedTuple):
    """The end of a producer that did not close, in the order of `ProducerDiedError`'s arguments.

    Attributes:
        pid: its process; None for a remote producer.
        signal: the signal that ended it, if known.
        peer: the address of a remote producer, else None.
        reason: how a remote producer was lost.
    """

    pid: int | None
    signal: int | None
    peer: str | None = None
    reason: str = ""


class RemoteView(NamedTuple):
    """The counters of one connection.

    Attributes:
        samples: samples of it that were put into the ring, since it was opened.
        blocked_ns: time for which it was not read because the ring and its queue were full.
        last_seen_ns: when bytes last came, on the clock of `she_now_ns`.
    """

    samples: int
    blocked_ns: int
    last_seen_ns: int


class RemoteSource(Protocol):
    """A transport's table of connections."""

    def views(self) -> Mapping[int, RemoteView]:
        """Return the counters of the open connections, by the transport's number of each."""


@dataclass
class RemoteProducer:
    """One remote producer.

    Attributes:
        id: its number among the producers, above all owner ids.
        source: the transport's table, and `connection`, its number there.
        peer: its address.
        transport: the kind of its transport.
        attached_ns: when it attached.
        producer_id: the name that it gave itself, or None.
        counted_as: its key in `Arrivals`.
        way: why a connector chose its transport, if it was made by one.
        holder: the holder of the token that it has proved to have, or None.
        waiting: True while it waits until its samples are taken.
    """

    id: int
    source: RemoteSource
    connection: int
    peer: str
    transport: str
    attached_ns: int
    producer_id: str | None
    counted_as: tuple[str, ...]
    way: str | None = None
    holder: str | None = None
    waiting: bool = False

    def info(self, view: RemoteView | None, now: int, nbytes: int) -> ProducerInfo:
        """Describe it; `view` is None if its connection has just ended."""
        samples, blocked_ns, last_seen_ns = view or (0, 0, 0)
        return ProducerInfo(
            id=self.id,
            pid=None,
            samples=samples,
            bytes=samples * nbytes,
            blocked_seconds=blocked_ns / 1e9,
            held=0,
            last_seen=max(0, now - max(last_seen_ns, self.attached_ns)) / 1e9,
            state="waiting" if self.waiting else "attached",
            producer_id=self.producer_id,
            peer=self.peer,
            transport=self.transport,
            way=self.way,
            holder=self.holder,
        )
