"""The hosts of sessions: the threads of this process, or one process for one session.

The service sees both as a `SessionHost`: it can start a session, end it, kill it, and read its
statistics at any time.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict

from shm_echo.error_base import describe_death
from shm_echo.mechestim.service.hosting.worker_process import WorkerProcess
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.shared_memory import FileLock, reopened, sealed_memory
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from shm_echo.mechestim.service.session.frame_stream import WriteLock, frame, send_between_frames
from shm_echo.mechestim.service.session.inherited_handshake import (
    perform_handshake,
    refusal_message,
)
from shm_echo.mechestim.service.session.session import (
    BUSY,
    Session,
    SessionEnvironment,
    closed_message,
)

__all__ = ["ProcessHost", "SessionHost", "ThreadHost"]

_log = logging.getLogger("shm_echo.mechestim")


class SessionHost(ABC):
    """The host of one session.

    Attributes:
        stats: The session's statistics.
        isolation: `"threads"` or `"process"`.
        pid: The process that the session runs in; None until a worker is assigned.
    """

    isolation = ""
    pid: int | None = None

    def __init__(self, sock: socket.socket, stats: StatsPage, lock: WriteLock) -> None:
        self._sock = sock
        self._lock = lock
        self.stats = stats
        self._busy_sent_at = 0.0

    @abstractmethod
    def start(self) -> None:
        """Begin to serve the session."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """End the session after the running operation, and send the reason to the client."""

    @abstractmethod
    def kill(self, reason: str) -> None:
        """End the session now."""

    @abstractmethod
    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end. Return True if the session has ended."""

    def after_fork_in_child(self) -> None:
        """Close the descriptors that a forked child has inherited."""
        self._sock.close()

    def send_busy(self, interval: float) -> None:
        """Send a message to a client that has waited for longer than `interval` seconds."""
        # The same interval bounds the time between two such messages.
        running, now = self.stats.running_s, time.monotonic()
        if running is not None and running > interval and now - self._busy_sent_at > interval:
            self._busy_sent_at = now
            send_between_frames(self._sock, BUSY, self.stats, self._lock)


class ThreadHost(SessionHost):
    """A session on the threads of a pool.

    Args:
        sock: The connection, in blocking mode. The session closes it.
        quotas: The limits of the session.
        ceiling: The ceiling of its principal.
        weights: The server's weights.
        pool: Serves the session.
        handshake: True if the handshake with the client is still to be done.
        on_ended: Called once, after the session has released everything.
    """

    isolation = "threads"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        pool: LeaderFollowersPool,
        handshake: bool,
        on_ended: Callable[[SessionHost], None],
    ) -> None:
        lock = threading.Lock()
        super().__init__(sock, StatsPage(), lock)
        self.pid = os.getpid()
        self.slot = SchedulerSlot(pool.scheduler)
        self._needs_handshake = handshake
        self._on_ended = on_ended
        self._quotas = quotas
        self._pool = pool
        self._session = Session(
            sock, quotas, SessionEnvironment(ceiling, self.stats, lock, self.slot, weights)
        )
        # NumPy and this package keep settings in context variables. With its own context, a session
        # finds its settings on any thread.
        self._context = contextvars.Context()
        self._finished = threading.Event()

    def start(self) -> None:
        """Begin to serve the session.

        Raises:
            RuntimeError: No thread can be started.
            OSError: The kernel cannot watch the connection.
        """
        try:
            if self._needs_handshake:
                threading.Thread(
                    target=self._shake_hands, name="mechestim-handshake", daemon=True
                ).start()
            else:
                self._begin()
        except BaseException:
            self._finished.set()  # no thread will do it, and `wait` must not block
            raise

    def _shake_hands(self) -> None:
        """Do the handshake, on a thread of its own: the client may take any time to start it."""
        try:
            if perform_handshake(self._sock, self._quotas):
                self._begin()
                return
        except (OSError, RuntimeError) as error:
            _log.error("cannot start a session: %s", error)
            with contextlib.suppress(OSError):
                reason = f"the server cannot start a session: {error}"
                self._sock.send(frame(closed_message(reason)))
        self._sock.close()
        self._end()

    def _begin(self) -> None:
        self._context.run(self._session.begin)
        self._pool.add(self)

    def _end(self) -> None:
        try:
            self._on_ended(self)
        finally:
            self._finished.set()

    # Called by the pool ----

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """Return True if the connection has been read beyond the message that was served last."""
        return self._session.pending

    def step(self) -> bool:
        """Serve one message, if one has come. Return True if the session continues."""
        return self._context.run(self._session.step)

    def finish(self) -> None:
        """Release all resources of the session, which is over."""
        try:
            self._context.run(self._session.finish)
        finally:
            self._end()

    # Called by the service ----

    def end(self, reason: str) -> None:
        """End the session after the running operation."""
        self._session.end(reason)

    def kill(self, reason: str) -> None:
        """Send the reason and close the connection.

        A running operation ends by itself: no thread can be stopped from outside.
        """
        sent = send_between_frames(self._sock, closed_message(reason), self.stats, self._lock)
        self._session.end(reason)
        if sent:  # otherwise the session is writing a message, and ends after it
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end. Return True if the session has ended."""
        return self._finished.wait(max(0.0, timeout))


class ProcessHost(SessionHost):
    """A session in a process of its own.

    The service keeps a second descriptor of the connection, for messages that the worker cannot
    send itself: that it is busy, or that it has died. Only the supervisor's thread may call
    `start`, `assign` and `reap`.

    Args:
        sock: The connection, in blocking mode. The host closes it.
        quotas: The limits of the session.
        ceiling: The ceiling of its principal.
        weights: The server's weights.
        handshake: True if the handshake with the client is still to be done.
        on_ended: Called once, after the worker has ended.
    """

    isolation = "process"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        handshake: bool,
        on_ended: Callable[[SessionHost], None],
    ) -> None:
        self._stats_fd = sealed_memory("mechestim-stats", StatsPage.SIZE)
        super().__init__(sock, StatsPage(self._stats_fd), FileLock(self._stats_fd))
        self._config = {"quotas": asdict(quotas), "weights": dict(weights), "handshake": handshake}
        self._ceiling = ceiling
        self._on_ended = on_ended
        self._reason: str | None = None
        self._finished = threading.Event()
        self._worker: WorkerProcess | None = None  # None until the supervisor has assigned one

    def start(self) -> None:
        """Start a worker and assign the session to it.

        Raises:
            OSError: No worker can be started.
        """
        self.assign(WorkerProcess())

    def assign(self, worker: WorkerProcess) -> None:
        """Assign the session to a worker.

        Raises:
            OSError: The worker has ended.
        """
        config = {**self._config, "limit": self._ceiling.limit}
        # The worker receives new descriptors of the pages; those of this process stay here.
        fds: list[int] = []
        try:
            fds += [reopened(self._stats_fd)]
            fds += [self._ceiling.share()]
            worker.assign(config, [self._sock.fileno(), *fds])
        except OSError:
            worker.terminate()
            raise
        finally:
            for fd in fds:
                os.close(fd)
        self.pid = worker.process.pid
        self._worker = worker
        if self._reason is not None:  # `end` or `kill` was called before there was a worker
            self.end(self._reason)

    @property
    def pidfd(self) -> int:
        """The pidfd of the worker."""
        assert self._worker is not None
        return self._worker.pidfd

    def end(self, reason: str) -> None:
        """End the session after the running operation."""
        self._reason = self._reason or reason  # the first reason is the cause of the later ones
        if self._worker is not None:
            self._worker.process.terminate()  # the worker's SIGTERM handler ends the session

    def kill(self, reason: str) -> None:
        """Kill the worker."""
        self._reason = self._reason or reason
        if self._worker is not None:
            self._worker.process.kill()

    def after_fork_in_child(self) -> None:
        """Close the descriptors that a forked child has inherited."""
        super().after_fork_in_child()
        os.close(self._stats_fd)
        if self._worker is not None:
            self._worker.after_fork_in_child()

    def fail(self, reason: str) -> None:
        """End a session for which no worker could be started."""
        self._reason = reason
        self._finish()

    def reap(self) -> None:
        """Release a worker that has ended; send the reason to the client if the worker has not."""
        assert self._worker is not None
        process = self._worker.process
        code = process.wait()  # returns at once: the pidfd has reported the end
        self._worker.close()
        if code != 0 and self._reason is None:
            self._reason = f"its worker process died: {_describe_exit(process.pid, code)}"
            _log.warning("a mechestim session has ended: %s", self._reason)
        self._finish()

    def _finish(self) -> None:
        if self._reason is not None:
            self._send_reason(self._reason)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self._on_ended(self)
        finally:
            self._sock.close()
            os.close(self._stats_fd)
            self._finished.set()

    def _send_reason(self, reason: str) -> None:
        """Send the reason as the last message: the answer to the hello, if that had none yet."""
        # The age starts with the session, after the handshake. Without a session, the client
        # still waits for the answer to its hello.
        if self._config["handshake"] and not self.stats.age_s:
            with contextlib.suppress(OSError):
                self._sock.send(refusal_message(reason), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        else:
            send_between_frames(self._sock, closed_message(reason), self.stats, self._lock)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end. Return True if the session has ended."""
        return self._finished.wait(max(0.0, timeout))


def _describe_exit(pid: int, code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}; the server's log says why"
    text = describe_death(pid, -code)
    # SIGKILL is the only signal that the kernel's out-of-memory killer sends.
    return f"{text} (out of memory, or ended from outside)" if code == -9 else text
