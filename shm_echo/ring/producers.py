"""The registry of producers: owner ids, from attach to recovery.

A transport reports the events of its producers to this registry: attached, said goodbye, hung up,
died. The registry assigns owner ids, reclaims the slots of producers that have ended, and keeps the
deaths that the server has to report. It assigns an id again only after its owner has ended and its
slots are reclaimed.

Producers of a network connection are here too, without an owner id: see `remote_producers`. The
transport's own threads have the first owner ids of the table (`reserve`), and the producers those
behind.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sized
from typing import Any, Literal

from shm_echo.error_base import describe_death
from shm_echo.metrics import ProducerInfo
from shm_echo.ring.arrivals import Arrivals
from shm_echo.ring.core import Result, ffi, lib
from shm_echo.ring.damage_text import describe, log_mended
from shm_echo.ring.mapped_producer import MappedProducer
from shm_echo.ring.remote_producers import Death, RemoteProducer, RemoteSource, RemoteView
from shm_echo.ring.ring import Ring

__all__ = ["OwnersExhaustedError", "Producers"]

Remember = Literal["none", "all", "last"]

_log = logging.getLogger("shm_echo")


class OwnersExhaustedError(RuntimeError):
    """All owner ids are assigned. The transport reports it to the peer in its own terms."""


class Producers:
    """The producers of one ring. Every method may be called from any thread.

    Args:
        ring: the ring whose owner ids are assigned.
        consumer: its `she_consumer`, which counts the samples that were handed out.
        remember: the deaths that `next_death` reports: "none", "all", or "last": those after which
            no producer attached or closed in good order.
        reserved: the number of owner ids that threads of transports take with `reserve`.
    """

    def __init__(
        self, ring: Ring, consumer: Any, *, remember: Remember = "all", reserved: int = 0
    ) -> None:
        self._ring = ring
        self._consumer = consumer
        self._remember = remember
        # Re-entrant: a signal handler may close an inlet while its thread is in a method here.
        self._lock = threading.RLock()
        self._active: dict[int, MappedProducer | RemoteProducer] = {}
        self._reserved = deque(range(1, reserved + 1))
        self._first_free = reserved + 1
        # Oldest first, so that each id stays unused for as long as possible.
        self._free: deque[int] = deque(range(self._first_free, ring.config.max_producers + 1))
        self._remotes = 0  # attached now
        self._next_remote = ring.config.max_producers + 1
        self._deaths: deque[Death] = deque()
        self._arrivals = Arrivals()
        self._event_queues: list[Callable[[], None]] = []

    def follow(self, handle_events: Callable[[], None]) -> None:
        """Call `handle_events` before the producers are listed, or a stream is seen to end.

        A transport whose threads report connections later than they begin hands them over then.
        """
        self._event_queues.append(handle_events)

    def unfollow(self, handle_events: Callable[[], None]) -> None:
        """Undo `follow`."""
        self._event_queues.remove(handle_events)

    def catch_up(self) -> None:
        """Register the connections that began, and unregister those that ended, until now."""
        for handle_events in self._event_queues.copy():  # another thread may close a transport
            handle_events()

    @property
    def attached(self) -> Sized:
        """The attached producers, for `len` without the call of a property for each batch."""
        return self._active

    @property
    def active(self) -> int:
        """The number of attached producers."""
        return len(self._active)

    @property
    def active_local(self) -> int:
        """The number of attached producers that have an owner id."""
        return len(self._active) - self._remotes

    @property
    def come(self) -> int:
        """The number of producers that have come, see `arrivals`."""
        return self._arrivals.come

    def reserve(self, count: int) -> list[int]:
        """Take owner ids for threads of a transport, which keep them until the ring closes.

        Raises:
            OwnersExhaustedError: fewer were reserved than are asked for.
        """
        with self._lock:
            if count > len(self._reserved):
                raise OwnersExhaustedError(
                    f"{count} owner ids were asked for, and {len(self._reserved)} are reserved"
                )
            owners = [self._reserved.popleft() for _ in range(count)]
            for owner in owners:
                self._consumer.last_owner = max(self._consumer.last_owner, owner)
                lib.she_reinstate(self._ring.pointer, owner)
            return owners

    def is_own(self, owner: int) -> bool:
        """Return True if an owner id belongs to this process: `submit`, or a transport's thread."""
        return owner < self._first_free

    def attach(
        self,
        pid: int | None,
        producer_id: str | None = None,
        *,
        transport: str = "shm",
        way: str | None = None,
    ) -> int:
        """Register a new producer, and return its owner id.

        Args:
            pid: its process; None if the transport does not know it.
            producer_id: the name by which it is known again when it comes as another process.
            transport: the kind of its transport.
            way: why a connector chose it.

        Raises:
            OwnersExhaustedError: the ring has as many producers as it was made for.
        """
        with self._lock:
            if not self._free:
                raise OwnersExhaustedError(
                    f"it has as many producers as its ring was made for ({self.active_local}): "
                    "raise max_producers of its transport"
                )
            owner = self._free.popleft()
            self._consumer.last_owner = max(self._consumer.last_owner, owner)
            # First: else the view of a last owner that died in a wait counts it until now.
            lib.she_reinstate(self._ring.pointer, owner)
            view = self._view(owner)
            self._active[owner] = MappedProducer(
                owner,
                pid,
                lib.she_now_ns(),
                self._samples(owner),
                view.blocked_ns,
                producer_id,
                self._arrivals.arrive(owner, pid, producer_id),
                transport,
                way,
            )
            self._forget_earlier()
            return owner

    def attach_remote(
        self,
        source: RemoteSource,
        connection: int,
        peer: str,
        producer_id: str | None = None,
        *,
        transport: str = "tcp",
        way: str | None = None,
        holder: str | None = None,
    ) -> int:
        """Register a producer at the other end of a connection, and return its number.

        Without a `producer_id`, nothing tells two connections of one peer apart from two producers,
        so each counts for `min_producers`.

        Args:
            source: the transport's table of connections.
            connection, peer: its number there, and its address, "host:port".
            producer_id: the name by which it is known again when it comes anew.
            transport, way: the kind of its transport, and why a connector chose it.
            holder: the holder of its token.
        """
        with self._lock:
            number, self._next_remote = self._next_remote, self._next_remote + 1
            self._active[number] = RemoteProducer(
                number,
                source,
                connection,
                peer,
                transport,
                lib.she_now_ns(),
                producer_id,
                self._arrivals.arrive(number, None, producer_id),
                way=way,
                holder=holder,
            )
            self._remotes += 1
            self._forget_earlier()
            return number

    def set_waiting(self, number: int, waiting: bool) -> None:
        """Note that a remote producer waits until its samples are taken, or no longer does."""
        producer = self._active.get(number)
        if isinstance(producer, RemoteProducer) and producer.waiting != waiting:
            producer.waiting = waiting
            if waiting:
                lib.she_wake_consumer(self._consumer)  # all producers may wait for the learner now

    def withdraw(self, number: int) -> None:
        """Unregister a remote peer that has sent no sample, as if it had not come."""
        with self._lock:
            producer = self._active.get(number)
            if isinstance(producer, RemoteProducer):
                _log.debug("%s connected, and left without a sample", producer.peer)
                self._arrivals.withdraw(producer.counted_as)  # first: `StreamEnd` takes no lock
                self._end(number)

    def lost(self, number: int, reason: str) -> None:
        """Unregister a remote producer whose connection broke; see `on_producer_death`."""
        producer = self._active.get(number)
        if isinstance(producer, RemoteProducer):
            name = f" ({producer.producer_id})" if producer.producer_id else ""
            # Logged before the learner wakes: it may end because of this death.
            _log.warning("producer %s%s was lost: %s", producer.peer, name, reason)
            self._end(number, Death(None, None, producer.peer, reason))

    def close(self, owner: int) -> None:
        """Unregister a producer that said goodbye: it does not write any more."""
        self._end(owner)

    def hang_up(self, owner: int) -> None:
        """Revoke a producer whose connection broke while its process is alive.

        It gets no new claims. Its slots are not reclaimed, because it may still be writing.
        """
        with self._lock:
            producer = self._active.get(owner)
            if not isinstance(producer, MappedProducer) or producer.revoked:
                return
            producer.revoked = True
            self._arrivals.leave(producer.counted_as)
            lib.she_revoke(self._ring.pointer, owner)

    def died(self, owner: int, signal: int | None) -> None:
        """Unregister a producer whose process has ended without a goodbye."""
        producer = self._active.get(owner)
        if isinstance(producer, MappedProducer):
            if producer.pid is not None:
                # Logged before the learner wakes: it may end because of this death.
                _log.warning("producer %s without closing", describe_death(producer.pid, signal))
            self._end(owner, Death(producer.pid or 0, signal))

    def _end(self, owner: int, death: Death | None = None) -> None:
        with self._lock:
            producer = self._active.get(owner)
            if producer is None:
                return
            if isinstance(producer, MappedProducer):
                lib.she_revoke(self._ring.pointer, owner)
            if death is None:
                self._forget_earlier()
            elif self._remember != "none":
                self._deaths.append(death)
            del self._active[owner]
            if isinstance(producer, RemoteProducer):
                self._remotes -= 1
                self._arrivals.leave(producer.counted_as)
                # Also for the check of deaths, and of the producers that are left.
                lib.she_wake_consumer(self._consumer)
                return
            if not producer.revoked:
                self._arrivals.leave(producer.counted_as)
            # Also wakes the learner, which checks the deaths and the producers that are left.
            lib.she_recover(self._ring.pointer, owner)
            self._free.append(owner)

    def mend(self) -> None:
        """Put the words right that repeat the server's decisions, if stray writes have hit them."""
        if self._ring.segment.mapping.broken:
            return  # truncated: this process sees private zeros, and nobody sees what it writes
        damage, mended = ffi.new("she_damage *"), list[str]()
        with self._lock:
            last = self._consumer.last_owner
            while lib.she_mend(self._ring.pointer, last, damage) == Result.WOKEN:
                mended.append(describe(damage))
        if mended:
            log_mended(mended)

    def check(self, damage: Any) -> int:
        """Look for an overwritten word that holds up the next batch: see `she_check`.

        The lock keeps recoveries and new owners out: one of the same id may claim the hole that a
        recovery has just made, and the check could not tell its word from the overwritten one.
        """
        with self._lock:
            return int(lib.she_check(self._consumer, damage))

    def may_send(self, owner: int) -> bool:
        """Return True if the server has neither closed the ring nor revoked this owner."""
        producer = self._active.get(owner)
        return (
            not self._ring.closed and isinstance(producer, MappedProducer) and not producer.revoked
        )

    def _forget_earlier(self) -> None:
        if self._remember == "last":
            self._deaths.clear()

    def next_death(self) -> Death | None:
        """Return and remove the oldest death; None if there is none."""
        try:
            return self._deaths.popleft()
        except IndexError:
            return None

    def all_wait(self) -> bool:
        """Return True if producers are attached and each waits until its samples are taken.

        One whose connection broke does not count: it sends nothing more.
        """
        with self._lock:
            attached = list(self._active.values())
        remote = [one for one in attached if isinstance(one, RemoteProducer)]
        local = [one for one in attached if isinstance(one, MappedProducer) and not one.revoked]
        return (
            bool(remote or local)
            and all(one.waiting for one in remote)
            and all(lib.she_draining(self._ring.pointer, one.owner) for one in local)
        )

    def pid_of(self, owner: int) -> int | None:
        """Return the process id of an owner; None if it has none or is not attached."""
        producer = self._active.get(owner)
        return producer.pid if isinstance(producer, MappedProducer) else None

    def snapshot(self) -> list[ProducerInfo]:
        """Return the state of all attached producers, in the order in which they attached."""
        self.catch_up()
        nbytes = self._ring.spec.nbytes
        with self._lock:
            now = lib.she_now_ns()
            views: dict[int, Mapping[int, RemoteView]] = {}  # by the identity of their source
            infos = []
            for producer in list(self._active.values()):
                if isinstance(producer, MappedProducer):
                    infos.append(self._info(producer, now, nbytes))
                    continue
                source = producer.source
                if id(source) not in views:
                    views[id(source)] = source.views()
                view = views[id(source)].get(producer.connection)
                infos.append(producer.info(view, now, nbytes))
            return infos

    def _info(self, producer: MappedProducer, now: int, nbytes: int) -> ProducerInfo:
        owner = producer.owner
        waits = bool(lib.she_draining(self._ring.pointer, owner))
        return producer.info(self._view(owner), self._samples(owner), waits, now, nbytes)

    def _samples(self, owner: int) -> int:
        """Return the samples ever committed under this id: handed out, or still in the ring."""
        consumer = self._consumer
        for _ in range(100):  # a bound: after that, a figure that may be off by a batch will do
            taken = consumer.taken_total
            samples = int(consumer.taken_by[owner] + lib.she_stored_by(consumer, owner))
            if consumer.taken_total == taken:
                break
            time.sleep(0)  # the learner took a batch meanwhile, which moved samples: count again
        return samples

    def _view(self, owner: int) -> Any:
        view = ffi.new("she_producer_view *")
        lib.she_producer_stats(self._ring.pointer, owner, view)
        return view
