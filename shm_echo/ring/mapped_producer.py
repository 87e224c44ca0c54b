"""Producers that map the ring and write into it themselves, each under an owner id of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shm_echo.metrics import ProducerInfo

__all__ = ["MappedProducer"]


@dataclass
class MappedProducer:
    """One producer with an owner id.

    Attributes:
        owner: its owner id.
        pid: its process, or None if the transport does not know it.
        attached_ns: when it attached, on the clock of `she_now_ns`.
        samples_before: samples that earlier owners of the id have committed.
        blocked_before_ns: time for which they waited for room.
        producer_id: the name that it gave itself, or None.
        counted_as: its keys in `Arrivals`.
        transport: the kind of its transport.
        way: why a connector chose its transport, if it was made by one.
        revoked: True once its connection broke while its process lives.
    """

    owner: int
    pid: int | None
    attached_ns: int
    samples_before: int
    blocked_before_ns: int
    producer_id: str | None
    counted_as: tuple[str, ...]
    transport: str
    way: str | None
    revoked: bool = False

    def info(self, view: Any, samples: int, waits: bool, now: int, nbytes: int) -> ProducerInfo:
        """Describe it.

        Args:
            view: the `she_producer_view` of its owner id.
            samples: samples that were ever committed under the id.
            waits: True if it waits until its samples are taken.
            now: the time on the clock of `she_now_ns`.
            nbytes: the size of a sample.
        """
        samples -= self.samples_before
        seen = max(view.last_seen_ns, self.attached_ns)
        state = "waiting" if waits else "attached"
        return ProducerInfo(
            id=self.owner,
            pid=self.pid,
            samples=samples,
            bytes=samples * nbytes,
            blocked_seconds=max(0, view.blocked_ns - self.blocked_before_ns) / 1e9,
            held=view.held,
            last_seen=max(0, now - seen) / 1e9,
            state="hung up" if self.revoked else state,
            producer_id=self.producer_id,
            transport=self.transport,
            way=self.way,
        )
