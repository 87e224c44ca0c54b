"""The C ingress of one transport: its threads, its connections, and the events of these.

The threads of the ingress know nothing of Python. Through an event descriptor they report which
connections began and ended, and a thread here hands that to the server's registry of producers.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.metrics import NO_TIMES, HistSnapshot
from shm_echo.ring.core import _core_cpython, check_result, ffi, lib
from shm_echo.ring.ingress_meter import IngressFigures
from shm_echo.ring.remote_producers import RemoteView
from shm_echo.transports.tcp.native_config import (
    NativeOptions,
    address_of,
    check_errno,
    config_of,
)

if TYPE_CHECKING:
    from shm_echo.transports.base import Ingress

__all__ = ["Ended", "NativeIngress"]

_log = logging.getLogger("shm_echo")

# A read of an eventfd takes its count, a write adds to it: 8 bytes in the machine's byte order.
_COUNTER_BYTES = 8
# Seconds that close() waits for the thread, which a signal handler may have stopped in a lock.
_THREAD_ENDS_WITHIN = 2.0
# Ends that are kept for `taken`, above which those whose samples were handed out are dropped.
_MANY_ENDS = 1024


class Ended(NamedTuple):
    """The end of a connection.

    Attributes:
        id: its number.
        queued: samples of its session that were acknowledged; all of them are in the ring.
        last_position: 1 + the highest ring position of these samples; 0 without samples.
        error: an errno, or 0.
    """

    id: int
    queued: int
    last_position: int
    error: int


@dataclass
class _Adopted:
    """The facts about a connection that was not accepted in C."""

    peer: str
    producer_id: str | None = None
    way: str | None = None
    holder: str | None = None
    queued_before: int = 0
    lost: Callable[[], bool] | None = None
    on_end: Callable[[Ended], None] | None = None


class NativeIngress:
    """The threads that read the connections of one transport. Any thread may call any method.

    Args:
        native: the arguments of the transport.
        ingress: the server's side.

    Raises:
        MemoryError: no memory, descriptor or thread is left.
    """

    def __init__(self, native: NativeOptions, ingress: Ingress) -> None:
        self._ring = ingress.ring  # the threads write into its memory: it must outlive them
        self._producers = ingress.producers
        self._transport = ingress.transport
        self._payload = ingress.spec.nbytes
        self._lock = threading.RLock()  # makes an adoption and its record one step
        # Keeps the events in order. Re-entrant: a signal handler may list the producers.
        self._events_lock = threading.RLock()
        self._handling = False
        self._adopted: dict[int, _Adopted] = {}
        self._numbers: dict[int, int] = {}  # by connection: its number among the producers
        self._ends: dict[int, int] = {}  # by adopted connection that has ended: its last position
        self._closed = False
        config, keepalive = config_of(native, ingress)
        out = ffi.new("she_ingress **")
        with FORK_LOCK:
            check_result(
                lib.she_ingress_open(ingress.ring.pointer, config, out),
                "failed to start transport: no memory, descriptor or thread is left",
            )
            self._pointer = ffi.gc(out[0], lib.she_ingress_free)
            register_at_fork(self)
        del keepalive
        self._address = int(ffi.cast("uintptr_t", self._pointer))
        self._event_fd = lib.she_ingress_event_fd(self._pointer)
        self._thread = threading.Thread(
            target=self._follow, name="shm_echo-tcp-events", daemon=True
        )
        self._thread.start()
        ingress.add_meter(self)
        ingress.producers.follow(self._handle_events)

    # ---------------------------------------------------------------- connections

    def listen(self, sock: socket.socket) -> None:
        """Accept the connections of a listening socket, of which it makes a duplicate.

        Raises:
            OSError: no descriptor is left.
        """
        with FORK_LOCK:
            check_errno(lib.she_ingress_listen(self._pointer, sock.fileno()))

    def adopt(
        self,
        fd: int,
        queued_before: int = 0,
        *,
        peer: str,
        position_before: int = 0,
        producer_id: str | None = None,
        way: str | None = None,
        holder: str | None = None,
        lost: Callable[[], bool] | None = None,
        on_end: Callable[[Ended], None] | None = None,
    ) -> int:
        """Take over a connection whose handshake is done, and return its number.

        Args:
            fd: its descriptor; still the caller's if this fails.
            queued_before: samples of the same session that came by earlier connections.
            peer: its address, "host:port".
            position_before: the last position of the session's earlier end; 0 without one.
            producer_id: the name that its producer gave itself.
            way: why a connector chose this transport.
            holder: the holder of its producer's token.
            lost: says, at the end of the stream, if that was not an end in good order.
            on_end: called by the thread of the events with the connection's end.

        Raises:
            OSError: no memory is left, or the ingress is closed.
        """
        number = ffi.new("uint64_t *")
        with self._lock:
            check_errno(
                lib.she_ingress_adopt(self._pointer, fd, queued_before, position_before, number)
            )
            self._adopted[number[0]] = _Adopted(
                peer, producer_id, way, holder, queued_before, lost, on_end
            )
        return int(number[0])

    def kick(self, connection: int) -> bool:
        """End a connection once its whole samples are in the ring. Return False if it is gone."""
        return bool(lib.she_ingress_kick(self._pointer, connection))

    def taken(self, connection: int, count: int) -> bool:
        """Return True if the first `count` samples of a session were handed to the learner.

        Of a connection that has ended, if all of its samples were.
        """
        answer = lib.she_ingress_taken(self._pointer, connection, count)
        if answer < 0:
            position = self._ends.get(connection, 0)
            return bool(lib.she_ingress_position_taken(self._pointer, position))
        return bool(answer)

    def set_waiting(self, connection: int, waiting: bool) -> None:
        """Note that the producer of a connection waits until its samples are taken, or no more."""
        number = self._numbers.get(connection)
        if number is not None:
            self._producers.set_waiting(number, waiting)

    def taken_ticket(self) -> int:
        """Return the ticket for a `taken_wait` that ends with the next batch that is taken."""
        return int(lib.she_ingress_taken_ticket(self._pointer))

    def taken_wait(self, ticket: int, seconds: float) -> None:
        """Wait until the learner has taken a batch since the ticket, or the ring is closed."""
        lib.she_ingress_taken_wait(self._pointer, ticket, int(seconds * 1e9))

    # ---------------------------------------------------------------- observing

    def views(self) -> Mapping[int, RemoteView]:
        """Return the counters of the open connections, see `RemoteSource`."""
        room = 64
        while True:
            views = ffi.new("she_ingress_view[]", room)
            count = lib.she_ingress_connections(self._pointer, views, room)
            if count <= room:
                break
            room = 2 * count
        found = {}
        for i in range(count):
            view = views[i]
            adopted = self._adopted.get(view.id)
            before = adopted.queued_before if adopted else 0
            samples = max(0, int(view.inserted) - before)
            found[int(view.id)] = RemoteView(samples, int(view.blocked_ns), int(view.last_seen_ns))
        return found

    def figures(self) -> IngressFigures:
        """Return the figures for `SampleInfo`, see `IngressMeter`."""
        connections, depth_sum, depth_max, blocked, rounds, dwell = _core_cpython.ingress_figures(
            self._address
        )
        return IngressFigures(
            connections,
            depth_sum,
            depth_max,
            blocked,
            NO_TIMES if rounds is None else HistSnapshot._make(rounds),
            NO_TIMES if dwell is None else HistSnapshot._make(dwell),
        )

    def reset_histograms(self) -> None:
        """Restart the histograms."""
        lib.she_ingress_reset_times(self._pointer)

    # ---------------------------------------------------------------- events

    def _follow(self) -> None:
        """Hand the events of the connections to the registry: the thread's work."""
        while not self._closed:
            os.read(self._event_fd, _COUNTER_BYTES)
            self._handle_events()

    def _handle_events(self) -> None:
        """Hand over the events that have come. Also called by whoever lists the producers."""
        event = ffi.new("she_ingress_event *")
        with self._events_lock:
            if self._handling:  # a signal handler that interrupted this loop: it goes on afterwards
                return
            self._handling = True
            try:
                self._handle_each(event)
            finally:
                self._handling = False

    def _handle_each(self, event: Any) -> None:
        while not self._closed and lib.she_ingress_next_event(self._pointer, event):
            try:
                self._handle(event)
            except Exception:  # one bad event must not hide the later ones
                _log.exception("an event of a TCP connection could not be handled")

    def _handle(self, event: Any) -> None:
        connection = int(event.id)
        if event.kind == lib.SHE_INGRESS_OPENED:
            with self._lock:  # after the adoption, if it is one
                adopted = self._adopted.get(connection)
            self._numbers[connection] = self._producers.attach_remote(
                self,
                connection,
                adopted.peer if adopted else address_of(event),
                adopted.producer_id if adopted else None,
                transport=self._transport,
                way=adopted.way if adopted else None,
                holder=adopted.holder if adopted else None,
            )
        elif event.kind in (lib.SHE_INGRESS_ENDED, lib.SHE_INGRESS_LOST):
            self._end(connection, event)
        elif event.kind == lib.SHE_INGRESS_REFUSED:
            _log.warning("a TCP connection was refused: %s", os.strerror(event.error))
        elif event.kind == lib.SHE_INGRESS_CLOSED:
            self._closed = True  # an interrupt may have kept `close` from saying so

    def _end(self, connection: int, event: Any) -> None:
        with self._lock:
            adopted = self._adopted.pop(connection, None)
        if adopted is not None:  # only such a session asks for what was taken
            self._ends[connection] = int(event.last_position)
            self._drop_ends()
        number = self._numbers.pop(connection, None)
        if number is not None:
            self._unregister(number, event, adopted)
        if adopted is not None and adopted.on_end is not None:
            adopted.on_end(
                Ended(connection, int(event.queued), int(event.last_position), int(event.error))
            )

    def _unregister(self, number: int, event: Any, adopted: _Adopted | None) -> None:
        # A kick is for a session that has a new connection; a closed ring is no peer's fault.
        by_server = event.error in (errno.ECANCELED, errno.ESHUTDOWN)
        if adopted is None and event.queued == 0:
            # On echo's wire a port scan, or a client that refuses the spec, looks like this.
            self._producers.withdraw(number)
        elif event.kind == lib.SHE_INGRESS_LOST and not by_server:
            self._producers.lost(number, self._reason(event))
        elif adopted is not None and adopted.lost is not None and not by_server and adopted.lost():
            self._producers.lost(number, "its encrypted connection broke off")
        else:
            self._producers.close(number)

    def _drop_ends(self) -> None:
        if len(self._ends) > _MANY_ENDS:
            for connection, position in list(self._ends.items()):
                if lib.she_ingress_position_taken(self._pointer, position):
                    del self._ends[connection]  # as if it had never had samples

    def _reason(self, event: Any) -> str:
        if event.error == 0:
            text = "its connection ended inside of a sample"
        else:
            text = f"its connection failed ({os.strerror(event.error)})"
        if event.fragment:
            text += f"; {event.fragment:,} of {self._payload:,} bytes of a sample were dropped"
        return text

    # ---------------------------------------------------------------- the end

    def close(self) -> int:
        """Stop the threads and close all sockets.

        Returns:
            The number of samples that were acknowledged and did not reach the ring.
        """
        dropped = ffi.new("uint64_t *")
        if self._closed:
            return 0
        with contextlib.suppress(ValueError):  # an interrupted close has done it before
            self._producers.unfollow(self._handle_events)
        lib.she_ingress_close(self._pointer, dropped)
        self._closed = True
        # Wakes the thread once more if it has seen the last event already.
        with contextlib.suppress(OSError):
            os.write(self._event_fd, (1).to_bytes(_COUNTER_BYTES, sys.byteorder))
        if threading.current_thread() is not self._thread:
            self._thread.join(_THREAD_ENDS_WITHIN)
        for number in list(self._numbers.values()):
            self._producers.close(number)
        self._adopted.clear()  # their on_end may refer to this object
        return int(dropped[0])

    def after_fork_in_child(self) -> None:
        """Close the inherited descriptors; the threads are the parent's."""
        self._closed = True
        lib.she_ingress_after_fork(self._pointer)
