"""The servers of this process, for its clients: one thread that is to do both waits for itself."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["OwnServers", "own_servers"]


class Learner(Protocol):
    """The consumer of a server.

    Attributes:
        sampler: the thread that sampled last, or None.
    """

    @property
    def sampler(self) -> threading.Thread | None: ...

    def reason_for_endless_wait(self) -> str | None:
        """Return the reason why no thread will empty a full ring, or None if one may."""


class OwnServers:
    """The servers of this process. A forked child has none of its parent's."""

    def __init__(self) -> None:
        self._learners: weakref.WeakValueDictionary[tuple[int, bytes], Learner] = (
            weakref.WeakValueDictionary()
        )
        self._makers: weakref.WeakKeyDictionary[Learner, int] = weakref.WeakKeyDictionary()
        self._ports: dict[tuple[int, int], bytes] = {}

    def add(self, instance_id: bytes, learner: Learner) -> None:
        """Note a server that this thread makes, for as long as its consumer lives."""
        self._learners[os.getpid(), instance_id] = learner
        self._makers[learner] = threading.get_ident()

    def add_port(self, port: int, instance_id: bytes) -> None:
        """Note that a server listens at a TCP port."""
        self._ports[os.getpid(), port] = instance_id

    def discard_port(self, port: int) -> None:
        """Note that it listens no more."""
        self._ports.pop((os.getpid(), port), None)

    def at_port(self, port: int) -> bytes | None:
        """Return the server that listens at a port of this host, if it is one of this process."""
        return self._ports.get((os.getpid(), port))

    def reason_for_endless_wait(self, instance_id: bytes | None) -> str | None:
        """Return why the ring of a server of this process stays full if this thread waits for it.

        Returns:
            None if a thread may take batches, or the server is in another process.
        """
        if instance_id is None:
            return None
        learner = self._learners.get((os.getpid(), instance_id))
        if learner is None:
            return None
        if learner.sampler is None and self._makers.get(learner) != threading.get_ident():
            return None  # the thread that made the server may still begin to sample
        return learner.reason_for_endless_wait()


own_servers = OwnServers()
