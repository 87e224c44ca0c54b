"""The ``mechestim`` service: takes connections over from the control server, a seat for each.

What a client may spend is kept per principal: the descriptor that it was given, the token that it
has shown, or else the uid of the peer. Sessions of this user run on threads unless told otherwise,
and their kernels pass a gate; those of everybody else (other users, holders of a token, whoever has
a descriptor), which need not be trusted, have processes of their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.control.server.service import ServiceRefusalError
from shm_echo.control.server.service import Session as ControlSession
from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.service.hosting.session_hosts import ProcessHost, SessionHost, ThreadHost
from shm_echo.mechestim.service.hosting.supervisor import Supervisor
from shm_echo.mechestim.service.hosting.worker_process import WorkerProcess
from shm_echo.mechestim.service.metering.principals import GIVEN, Key, Principal, Principals
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler
from shm_echo.mechestim.service.session.frame_stream import frame
from shm_echo.mechestim.service.session.inherited_handshake import SERVICE, welcome_info
from shm_echo.mechestim.service.session.session import closed_message

__all__ = ["Isolation", "MechEstimService"]

_log = logging.getLogger("shm_echo.mechestim")

Isolation = Literal["threads", "process"]

SHUTDOWN = "the server is shutting down"


class MechEstimService:
    """Serves mechestim clients; give it to a ``ControlServer``.

    Args:
        quotas: what one session may use; ``max_flops`` in it is the ceiling of each principal.
        max_sessions: how many there may be at once.
        max_sessions_per_user: how many of them one user, or one token, may have.
        isolation: where sessions run: on threads of this process, or each in a process of its own.
            Left out: threads for this user, processes for everybody else.
        kernels: long operations at once, of all sessions on threads; the number of CPUs if left
            out.
    """

    name = SERVICE
    allows_unwatched_peers = True

    def __init__(
        self,
        quotas: Quotas | None = None,
        *,
        max_sessions: int = 1024,
        max_sessions_per_user: int | None = None,
        isolation: Isolation | None = None,
        kernels: int | None = None,
    ) -> None:
        if isolation not in ("threads", "process", None):
            raise ValueError(f"isolation must be 'threads' or 'process', not {isolation!r}")
        self.quotas = quotas or Quotas()
        self.isolation: Isolation = isolation or "threads"
        self._of_others: Isolation = isolation or "process"
        self.max_sessions = max_sessions
        self._gate = Scheduler(kernels)
        self._crew: LeaderFollowersPool | None = None
        self._seats: dict[SessionHost, Principal] = {}
        self._principals = Principals(self.quotas.max_flops, max_sessions_per_user or max_sessions)
        self._lock = threading.Lock()
        self._closed = False
        self._warden: Supervisor | None = None
        self._spare: WorkerProcess | None = None  # for the next session; the warden's
        self._requests_ended = 0
        self._rate = 0.0
        self._counted = (time.monotonic(), 0)
        self._keeps_spare = False
        register_at_fork(self)
        if isolation == "process":
            self.keep_ready()

    def keep_ready(self) -> None:
        """Keep a worker process ready for the next session, from now on.

        It is not done before there is need: a service whose sessions are all on threads has no
        workers. Without it, the first answer to a client that gets a worker takes a second.
        """
        with FORK_LOCK, self._lock:
            if self._closed or self._keeps_spare or self._of_others != "process":
                return
            self._keeps_spare = True
            warden = self._warden = self._warden or Supervisor(self._look)
        warden.call(self._prepare)

    # For the control server ----

    def open(self, session: ControlSession) -> dict[str, Any]:
        """Take a client in, if there is room."""
        session.watch = False  # the socket says all there is to know
        problem = self._no_room(_key_of(session))
        if problem is not None:
            raise ServiceRefusalError("full", problem)
        return welcome_info(self.quotas)

    def _no_room(self, key: Key) -> str | None:
        if self._closed:
            return SHUTDOWN
        if len(self._seats) >= self.max_sessions:
            return (
                f"the server has {self.max_sessions:,} mechestim sessions, and takes no more "
                "(max_sessions)"
            )
        return self._principals.no_room(key)

    def take_over(self, session: ControlSession, sock: socket.socket) -> None:
        """The connection of a welcomed client is the service's own from now on."""
        try:
            ours = session.holder is None and session.peer.uid == os.geteuid()
            isolation = self.isolation if ours else self._of_others
            key = _key_of(session)
            if not self._start(sock, self._principals.of(key), isolation, greet=False, key=key):
                sock.close()
        except (OSError, RuntimeError) as error:  # no descriptor or no thread is left
            _log.error("cannot start a session: %s", error)
            with sock, contextlib.suppress(OSError):
                sock.send(frame(closed_message(f"the server cannot start a session: {error}")))

    def request(
        self, session: ControlSession, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """Never called: the session's connection is not the control server's any more."""
        raise ServiceRefusalError(
            "protocol", "a mechestim session does not speak the control protocol"
        )

    def goodbye(self, session: ControlSession) -> None:
        """Nothing is left to do."""

    def hangup(self, session: ControlSession) -> None:
        """Nothing is left to do."""

    def died(self, session: ControlSession, pid: int, signal: int | None) -> None:
        """The session's own socket tells it."""

    def tick(self, now: float) -> None:
        """The warden has a clock of its own."""

    # Inherited descriptors ----

    def adopt(
        self,
        sock: socket.socket,
        principal: str | None = None,
        isolation: Isolation = "process",
    ) -> Principal:
        """Serve a connected socket whose other end was given to a program.

        Args:
            sock: the service's end; the service closes it.
            principal: who spends: sessions of one principal stand under one ceiling. Each
                descriptor is a principal of its own when it is left out.
            isolation: where the session runs.

        Returns:
            The principal: its books can be read at any time, and after the session has ended.

        Raises:
            RuntimeError: the service was closed, or no thread is left.
            OSError: no descriptor is left.
        """
        if principal is None:
            found = self._principals.new(f"descriptor {sock.fileno()}")
        else:
            found = self._principals.of((GIVEN, principal))
        try:
            if not self._start(sock, found, isolation, greet=True):
                raise RuntimeError("the mechestim service was closed")
        except BaseException:
            sock.close()
            raise
        return found

    def _start(
        self,
        sock: socket.socket,
        principal: Principal,
        isolation: Isolation,
        greet: bool,
        key: Key | None = None,
    ) -> bool:
        """Begin a session.

        Args:
            key: whose sessions are counted; None where nobody's are.

        Returns:
            Whether it has begun. If not, a client that has been welcomed was told why.
        """
        sock.setblocking(True)
        ceiling, weights = principal.ceiling, settings.weights or {}
        seat: SessionHost
        with FORK_LOCK, self._lock:
            # Asked again: another one may have been welcomed since this one was.
            problem = SHUTDOWN if self._closed else None if key is None else self._no_room(key)
            if problem is not None:
                if not greet:
                    with contextlib.suppress(OSError):
                        sock.send(frame(closed_message(problem)))
                return False
            warden = self._warden = self._warden or Supervisor(self._look)
            if isolation == "process":
                seat = ProcessHost(sock, self.quotas, ceiling, weights, greet, self._ended)
            else:
                crew = self._crew = self._crew or LeaderFollowersPool(self._gate)
                seat = ThreadHost(sock, self.quotas, ceiling, weights, crew, greet, self._ended)
            self._seats[seat] = principal
            principal.add(seat)
        if isinstance(seat, ProcessHost):
            worker = seat
            warden.call(lambda: self._employ(worker, warden))
        else:
            try:
                seat.start()
            except (RuntimeError, OSError):
                self._ended(seat)
                raise
            warden.call(_nothing)
        return True

    def _employ(self, seat: ProcessHost, warden: Supervisor) -> None:
        """Have a worker serve; on the warden's thread."""
        spare, self._spare = self._spare, None
        try:
            with FORK_LOCK:
                if spare is None or not _employed(seat, spare):
                    seat.start()
        except OSError as error:
            _log.error("cannot start a worker process: %s", error)
            seat.failed(f"the server cannot start a worker process: {error.strerror or error}")
        else:
            warden.watch(seat.pidfd, seat.reap)
        if self._keeps_spare:
            warden.call(self._prepare)

    def _prepare(self) -> None:
        """Keep a worker ready for the next session; on the warden's thread."""
        if self._spare is None and not self._closed:
            try:
                with FORK_LOCK:
                    self._spare = WorkerProcess()
            except OSError as error:
                _log.warning("cannot keep a worker process ready: %s", error)

    def _ended(self, seat: SessionHost) -> None:
        with self._lock:
            principal = self._seats.pop(seat, None)
            if principal is not None:
                principal.remove(seat)
                self._requests_ended += seat.board.requests

    # Now and then ----

    def _look(self) -> bool:
        """What time brings; whether there is a session to come back for."""
        seats = self.seats()
        limit = self.quotas.wall_time_s
        for seat in seats:
            seat.say_busy(self.quotas.busy_s)
            if limit is not None and seat.board.age_s > limit:
                seat.kill(f"its wall time of {limit:g} s is over (wall_time_s)")
        if self._crew is not None:
            self._crew.look()
        self._measure(self.requests)
        return bool(seats)

    def _measure(self, requests: int) -> None:
        since, before = self._counted
        now = time.monotonic()
        if now - since >= 1.0:
            self._rate = (requests - before) / (now - since)
            self._counted = now, requests

    # What is asked about it ----

    def seats(self) -> dict[SessionHost, Principal]:
        """The sessions that are open, and whose they are."""
        with self._lock:
            return dict(self._seats)

    def principals(self) -> list[Principal]:
        """All who have a ceiling here, and those who have a session."""
        with self._lock:
            return list(dict.fromkeys([*self._principals.all(), *self._seats.values()]))

    @property
    def requests(self) -> int:
        """Requests of all sessions so far."""
        with self._lock:
            return self._requests_ended + sum(seat.board.requests for seat in self._seats)

    @property
    def rate(self) -> float:
        """Requests per second, lately."""
        return self._rate if self._seats else 0.0

    # The end ----

    def close(self, patience: float = 5.0, why: str = SHUTDOWN) -> None:
        """End all sessions: running operations are waited for, and clients told. Idempotent.

        Args:
            patience: seconds until sessions are ended by force.
            why: what clients are told.
        """
        with self._lock:
            self._closed = True
            seats = list(self._seats)
            warden = self._warden
        if warden is None:
            return
        for seat in seats:
            seat.end(why)
        deadline = time.monotonic() + patience
        late = [seat for seat in seats if not seat.wait(deadline - time.monotonic())]
        for seat in late:
            seat.kill(why)
        for seat in late:
            if isinstance(seat, ProcessHost):
                seat.wait(60.0)
        warden.call(self._dismiss_spare)
        warden.stop()
        self._warden = None
        if self._crew is not None:
            self._crew.close()

    def _dismiss_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.dismiss()

    def after_fork_in_child(self) -> None:
        """A forked child has no part in the sessions."""
        self._closed = True
        self._lock = threading.Lock()
        self._principals.after_fork_in_child()
        for seat in self._seats:
            seat.after_fork_in_child()
        self._seats.clear()
        if self._crew is not None:
            self._crew.after_fork_in_child()
            self._crew = None
        if self._spare is not None:
            self._spare.after_fork_in_child()
            self._spare = None
        if self._warden is not None:
            self._warden.after_fork_in_child()
            self._warden = None


def _key_of(session: ControlSession) -> Key:
    """Who spends, behind what kind of name it is."""
    if session.holder is not None:
        return "token", session.holder
    return "user", session.peer.uid


def _employed(seat: ProcessHost, spare: WorkerProcess) -> bool:
    """Whether the worker that was kept ready serves now; it may have died meanwhile."""
    try:
        seat.employ(spare)
    except OSError:
        return False
    return True


def _nothing() -> None:
    """Wakes the warden, so that it looks."""
