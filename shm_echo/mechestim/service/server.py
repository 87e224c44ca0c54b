"""The `mechestim` service: it takes connections over from the control server and hosts sessions.

FLOPs are counted per principal: a given descriptor, the token that the client has shown, or else
the uid of the peer. By default, sessions of the service's own user run on threads and share a
scheduler; all other sessions need not be trusted, and run in processes of their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.control.server.service import ServiceRefusalError
from shm_echo.control.server.service import Session as ControlSession
from shm_echo.copying import Uncopyable
from shm_echo.mechestim.accounting.settings import settings
from shm_echo.mechestim.service.hosting.session_hosts import ProcessHost, SessionHost, ThreadHost
from shm_echo.mechestim.service.hosting.supervisor import Supervisor
from shm_echo.mechestim.service.hosting.worker_supply import WorkerSupply
from shm_echo.mechestim.service.metering.principals import GIVEN, Key, Principal, Principals
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler
from shm_echo.mechestim.service.session.frame_stream import frame
from shm_echo.mechestim.service.session.inherited_handshake import SERVICE, welcome_info
from shm_echo.mechestim.service.session.session import closed_message
from shm_echo.validation import check_count

__all__ = ["Isolation", "MechEstimService"]

_log = logging.getLogger("shm_echo.mechestim")

Isolation = Literal["threads", "process"]

SHUTDOWN = "the server is shutting down"


class MechEstimService(Uncopyable):
    """Serves mechestim clients; pass it to a `ControlServer`.

    Args:
        quotas: The limits of one session; `max_flops` is the ceiling of each principal.
        max_sessions: The number of sessions that may be open at once.
        max_sessions_per_user: The number that one user or token may have. Default: `max_sessions`.
        isolation: `"threads"` to run sessions on threads of this process, `"process"` to run each
            one in a process of its own. Default: threads for this user, processes for all others.
        kernels: The number of long operations on threads at once. Default: the number of CPUs.

    Example:
        >>> service = MechEstimService(Quotas(max_flops=10**12), max_sessions_per_user=4)
        >>> service.requests
        0
        >>> service.close()
    """

    _copying_advice = "it owns the sessions of its clients; make another MechEstimService"
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
        self._others_isolation: Isolation = isolation or "process"
        self.max_sessions = check_count("max_sessions", max_sessions, 1)
        self._scheduler = Scheduler(kernels)
        self._pool: LeaderFollowersPool | None = None
        self._hosts: dict[SessionHost, Principal] = {}
        per_user = check_count("max_sessions_per_user", max_sessions_per_user or max_sessions, 1)
        self._principals = Principals(self.quotas.max_flops, per_user)
        self._lock = threading.Lock()
        self._closed = False
        self._supervisor: Supervisor | None = None
        self._workers = WorkerSupply()
        self._requests_ended = 0
        self._rate = 0.0
        self._rate_sample = (time.monotonic(), 0)
        register_at_fork(self)
        if isolation == "process":
            self.keep_worker_ready()

    def keep_worker_ready(self) -> None:
        """Keep a worker process ready for the next session, from now on.

        Otherwise the first answer of a worker takes about a second. A service does not do this by
        itself: one whose sessions all run on threads needs no workers.
        """
        with FORK_LOCK, self._lock:
            if self._closed or self._workers.keeps_spare or self._others_isolation != "process":
                return
            self._workers.keeps_spare = True
            supervisor = self._supervisor = self._supervisor or Supervisor(self._on_tick)
        supervisor.call_soon(self._workers.start_spare)

    # Called by the control server ----

    def open(self, session: ControlSession) -> dict[str, Any]:
        """Welcome a client, unless the server or its principal has too many sessions."""
        session.watch = False  # a session ends with its socket, so no pidfd is needed
        problem = self._refusal_reason(_principal_key(session))
        if problem is not None:
            raise ServiceRefusalError("full", problem)
        return welcome_info(self.quotas)

    def _refusal_reason(self, key: Key) -> str | None:
        if self._closed:
            return SHUTDOWN
        if len(self._hosts) >= self.max_sessions:
            return (
                f"the server has {self.max_sessions:,} mechestim sessions, and takes no more "
                "(max_sessions)"
            )
        return self._principals.refusal_reason(key)

    def take_over(self, session: ControlSession, sock: socket.socket) -> None:
        """Take over the connection of a welcomed client: the service closes it from now on."""
        try:
            trusted = session.holder is None and session.peer.uid == os.geteuid()
            isolation = self.isolation if trusted else self._others_isolation
            key = _principal_key(session)
            if not self._start(
                sock, self._principals.get(key), isolation, handshake=False, key=key
            ):
                sock.close()
        except (OSError, RuntimeError) as error:  # out of descriptors or threads
            _log.error("cannot start a session: %s", error)
            with sock, contextlib.suppress(OSError):
                sock.send(frame(closed_message(f"the server cannot start a session: {error}")))

    def request(
        self, session: ControlSession, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        """Never called: the service has taken the connection over."""
        raise ServiceRefusalError(
            "protocol", "a mechestim session does not speak the control protocol"
        )

    def goodbye(self, session: ControlSession) -> None:
        """Do nothing: the service has taken the connection over."""

    def hangup(self, session: ControlSession) -> None:
        """Do nothing: the service has taken the connection over."""

    def died(self, session: ControlSession, pid: int, signal: int | None) -> None:
        """Do nothing: a session ends with its socket."""

    def tick(self, now: float) -> None:
        """Do nothing: the supervisor has ticks of its own."""

    # Inherited descriptors ----

    def adopt(
        self,
        sock: socket.socket,
        principal: str | None = None,
        isolation: Isolation = "process",
    ) -> Principal:
        """Serve a connected socket whose other end was given to a program.

        Args:
            sock: The service's end. The service closes it, also when this method raises.
            principal: The name of the principal: sessions with the same name share one ceiling.
                Default: the descriptor is a principal of its own.
            isolation: `"process"` or `"threads"`.

        Returns:
            The principal. Its counts can be read at any time, also after the session has ended.

        Raises:
            RuntimeError: The service was closed, or no thread can be started.
            OSError: No descriptor is available.
        """
        if principal is None:
            found = self._principals.create_unnamed(f"descriptor {sock.fileno()}")
        else:
            found = self._principals.get((GIVEN, principal))
        try:
            if not self._start(sock, found, isolation, handshake=True):
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
        handshake: bool,
        key: Key | None = None,
    ) -> bool:
        """Begin a session.

        Args:
            sock: The connection.
            principal: Pays for the session.
            isolation: `"process"` or `"threads"`.
            handshake: True if the handshake is still to be done, False for a welcomed client.
            key: The principal's key, if the number of its sessions is limited.

        Returns:
            True if the session has begun. If not, a welcomed client has received the reason.
        """
        sock.setblocking(True)
        with FORK_LOCK, self._lock:
            # Checked again: other clients may have been welcomed since this one was.
            problem = self._refusal_reason(key) if key else SHUTDOWN if self._closed else None
            if problem is not None:
                if not handshake:
                    with contextlib.suppress(OSError):
                        sock.send(frame(closed_message(problem)))
                return False
            supervisor = self._supervisor = self._supervisor or Supervisor(self._on_tick)
            host = self._create_host(sock, principal, isolation, handshake)
            self._hosts[host] = principal
            principal.add(host.stats)
        if isinstance(host, ProcessHost):
            supervisor.call_soon(partial(self._workers.assign, host, supervisor))
        else:
            try:
                host.start()
            except (RuntimeError, OSError):
                self._on_ended(host)
                raise
            supervisor.wake()
        return True

    def _create_host(
        self, sock: socket.socket, principal: Principal, isolation: Isolation, handshake: bool
    ) -> SessionHost:
        """Create the host of a session. The caller holds the service's lock."""
        ceiling, weights = principal.ceiling, settings.weights or {}
        if isolation == "process":
            return ProcessHost(sock, self.quotas, ceiling, weights, handshake, self._on_ended)
        pool = self._pool = self._pool or LeaderFollowersPool(self._scheduler)
        return ThreadHost(sock, self.quotas, ceiling, weights, pool, handshake, self._on_ended)

    def _on_ended(self, host: SessionHost) -> None:
        with self._lock:
            principal = self._hosts.pop(host, None)
            if principal is not None:
                principal.remove(host.stats)
                self._requests_ended += host.stats.requests

    # Called at every tick ----

    def _on_tick(self) -> bool:
        """Check all sessions. Return True if a session is open, so that ticks continue."""
        hosts = self.hosts()
        limit = self.quotas.wall_time_s
        for host in hosts:
            host.send_busy(self.quotas.busy_s)
            if limit is not None and host.stats.age_s > limit:
                host.kill(f"its wall time of {limit:g} s is over (wall_time_s)")
        if self._pool is not None:
            self._pool.on_tick()
        self._update_rate(self.requests)
        return bool(hosts)

    def _update_rate(self, requests: int) -> None:
        since, before = self._rate_sample
        now = time.monotonic()
        if now - since >= 1.0:
            self._rate = (requests - before) / (now - since)
            self._rate_sample = now, requests

    # State ----

    def hosts(self) -> dict[SessionHost, Principal]:
        """Return the hosts of all open sessions, with their principals."""
        with self._lock:
            return dict(self._hosts)

    def principals(self) -> list[Principal]:
        """Return the principals that have a key or an open session."""
        with self._lock:
            return list(dict.fromkeys([*self._principals.named(), *self._hosts.values()]))

    @property
    def requests(self) -> int:
        """The number of requests of all sessions so far."""
        with self._lock:
            return self._requests_ended + sum(host.stats.requests for host in self._hosts)

    @property
    def rate(self) -> float:
        """Requests per second, over the last second or more."""
        return self._rate if self._hosts else 0.0

    # Closing ----

    def close(self, timeout: float = 5.0, reason: str = SHUTDOWN) -> None:
        """End all sessions after their running operations. Idempotent.

        Args:
            timeout: The seconds after which sessions that still run are killed.
            reason: The reason that clients receive.
        """
        with self._lock:
            self._closed = self._workers.closing = True
            hosts = list(self._hosts)
            supervisor = self._supervisor
        if supervisor is None:
            return
        for host in hosts:
            host.end(reason)
        deadline = time.monotonic() + timeout
        late = [host for host in hosts if not host.wait(deadline - time.monotonic())]
        for host in late:
            host.kill(reason)
        for host in late:
            if isinstance(host, ProcessHost):
                host.wait(60.0)  # for the kernel to end it; a thread ends by itself, later
        supervisor.call_soon(self._workers.close)
        supervisor.stop()
        self._supervisor = None
        if self._pool is not None:
            self._pool.close()

    def after_fork_in_child(self) -> None:
        """Close all that a forked child has inherited, without a message to the clients."""
        self._closed = True
        self._lock = threading.Lock()
        self._principals.after_fork_in_child()
        for host in self._hosts:
            host.after_fork_in_child()
        self._hosts.clear()
        if self._pool is not None:
            self._pool.after_fork_in_child()
            self._pool = None
        self._workers.after_fork_in_child()
        if self._supervisor is not None:
            self._supervisor.after_fork_in_child()
            self._supervisor = None


def _principal_key(session: ControlSession) -> Key:
    """Return the key of the principal that pays for a session."""
    if session.holder is not None:
        return "token", session.holder
    return "user", session.peer.uid
