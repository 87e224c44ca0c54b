"""Where a session runs: on the threads of this process, or in a process of its own.

To the service both are a `SessionHost`: it is started, it can be asked to end or be ended by
force, and its statistics can be read at any time.
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

from shm_echo.errors import describe_death
from shm_echo.mechestim.service.hosting.worker_process import WorkerProcess
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.shared_memory import FileLock, reopened, sealed_memory
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from shm_echo.mechestim.service.session.frame_stream import SlotGuard, frame, interject
from shm_echo.mechestim.service.session.inherited_handshake import greeted, refusal
from shm_echo.mechestim.service.session.session import (
    BUSY,
    Session,
    SessionEnvironment,
    closed_message,
)

__all__ = ["ProcessHost", "SessionHost", "ThreadHost"]

_log = logging.getLogger("shm_echo.mechestim")


class SessionHost(ABC):
    """One session, seen by its service.

    Attributes:
        board: what it shows.
        isolation: ``"threads"`` or ``"process"``.
        pid: of the process that it runs in.
    """

    isolation = ""
    pid: int | None = None

    def __init__(self, sock: socket.socket, board: StatsPage, lock: SlotGuard) -> None:
        self._sock = sock
        self._lock = lock
        self.board = board
        self._told_busy = 0.0

    @abstractmethod
    def start(self) -> None:
        """Begin to serve."""

    @abstractmethod
    def end(self, why: str) -> None:
        """Have it end after the operation that runs, and tell the client why."""

    @abstractmethod
    def kill(self, why: str) -> None:
        """End it now."""

    @abstractmethod
    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited."""
        self._sock.close()

    def say_busy(self, every: float) -> None:
        """Let a client that waits know that its operation is still running."""
        running, now = self.board.running_s, time.monotonic()
        if running is not None and running > every and now - self._told_busy > every:
            self._told_busy = now
            interject(self._sock, BUSY, self.board, self._lock)


class ThreadHost(SessionHost):
    """A session on the threads of a crew.

    Args:
        sock: the connection, in blocking mode; closed at the end.
        quotas: what the session may use.
        ceiling: of its principal.
        weights: the server's own.
        crew: serves the session.
        greet: the client has not said hello yet.
        ended: called once, when all is over.
    """

    isolation = "threads"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        crew: LeaderFollowersPool,
        greet: bool,
        ended: Callable[[SessionHost], None],
    ) -> None:
        lock = threading.Lock()
        super().__init__(sock, StatsPage(), lock)
        self.pid = os.getpid()
        self.turn = SchedulerSlot(crew.gate)
        self._greet = greet
        self._ended = ended
        self._quotas = quotas
        self._crew = crew
        self._session = Session(
            sock, quotas, SessionEnvironment(ceiling, self.board, lock, self.turn, weights)
        )
        # What NumPy and this package keep in context variables is the session's, on any thread.
        self._context = contextvars.Context()
        self._over = threading.Event()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            RuntimeError: no thread is left.
            OSError: the kernel cannot watch the connection.
        """
        try:
            if self._greet:
                threading.Thread(target=self._meet, name="mechestim-greeting", daemon=True).start()
            else:
                self._begin()
        except BaseException:
            self._over.set()
            raise

    def _meet(self) -> None:
        """The client may take its time to say hello."""
        try:
            if greeted(self._sock, self._quotas):
                self._begin()
                return
        except (OSError, RuntimeError) as error:
            _log.error("cannot start a session: %s", error)
            with contextlib.suppress(OSError):
                why = f"the server cannot start a session: {error}"
                self._sock.send(frame(closed_message(why)))
        self._sock.close()
        self._end()

    def _begin(self) -> None:
        self._context.run(self._session.begin)
        self._crew.add(self)

    def _end(self) -> None:
        try:
            self._ended(self)
        finally:
            self._over.set()

    # For the crew ----

    def fileno(self) -> int:
        """Of the connection."""
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """More has been read from the connection than was asked for so far."""
        return self._session.pending

    def step(self) -> bool:
        """Serve what has come; whether the session goes on."""
        return self._context.run(self._session.step)

    def finish(self) -> None:
        """The session is over."""
        try:
            self._context.run(self._session.finish)
        finally:
            self._end()

    # For the service ----

    def end(self, why: str) -> None:
        """Have it end after the operation that runs."""
        self._session.end(why)

    def kill(self, why: str) -> None:
        """Tell the client, and close the connection. An operation that runs ends by itself."""
        told = interject(self._sock, closed_message(why), self.board, self._lock)
        self._session.end(why)
        if told:  # else the session is writing, and ends after that
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""
        return self._over.wait(max(0.0, seconds))


class ProcessHost(SessionHost):
    """A session in a process of its own.

    The service keeps a second descriptor of the connection, for what the worker cannot say itself:
    that it is busy, or that it has died. ``start``, ``employ`` and ``reap`` are for the warden's
    thread.
    """

    isolation = "process"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        greet: bool,
        ended: Callable[[SessionHost], None],
    ) -> None:
        self._board_fd = sealed_memory("mechestim-board", StatsPage.SIZE)
        super().__init__(sock, StatsPage(self._board_fd), FileLock(self._board_fd))
        self._config = {"quotas": asdict(quotas), "weights": dict(weights), "greet": greet}
        self._ceiling = ceiling
        self._ended = ended
        self._why: str | None = None
        self._over = threading.Event()
        self._worker: WorkerProcess | None = None

    def start(self) -> None:
        """Start a worker of its own.

        Raises:
            OSError: that is not possible.
        """
        self.employ(WorkerProcess())

    def employ(self, worker: WorkerProcess) -> None:
        """Have a worker serve.

        Raises:
            OSError: the worker has ended.
        """
        config = {**self._config, "limit": self._ceiling.limit}
        fds: list[int] = []
        try:
            fds += [reopened(self._board_fd)]
            fds += [self._ceiling.share()]
            worker.assign(config, [self._sock.fileno(), *fds])
        except OSError:
            worker.dismiss()
            raise
        finally:
            for fd in fds:
                os.close(fd)
        self.pid = worker.process.pid
        self._worker = worker
        if self._why is not None:
            self.end(self._why)

    @property
    def pidfd(self) -> int:
        """Of the worker."""
        assert self._worker is not None
        return self._worker.pidfd

    def end(self, why: str) -> None:
        """Have it end after the operation that runs."""
        self._why = self._why or why
        if self._worker is not None:
            self._worker.process.terminate()

    def kill(self, why: str) -> None:
        """Kill the worker."""
        self._why = self._why or why
        if self._worker is not None:
            self._worker.process.kill()

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited."""
        super().after_fork_in_child()
        os.close(self._board_fd)
        if self._worker is not None:
            self._worker.after_fork_in_child()

    def failed(self, why: str) -> None:
        """The worker could not be started."""
        self._why = why
        self._finish()

    def reap(self) -> None:
        """The worker has ended: tell the client why, unless it knows."""
        assert self._worker is not None
        process = self._worker.process
        code = process.wait()
        self._worker.close()
        if code != 0 and self._why is None:
            self._why = f"its worker process died: {_cause(process.pid, code)}"
            _log.warning("a mechestim session has ended: %s", self._why)
        self._finish()

    def _finish(self) -> None:
        if self._why is not None:
            self._tell(self._why)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self._ended(self)
        finally:
            self._sock.close()
            os.close(self._board_fd)
            self._over.set()

    def _tell(self, why: str) -> None:
        """The client's last message: the answer to its hello, if it had none yet."""
        if self._config["greet"] and not self.board.age_s:
            with contextlib.suppress(OSError):
                self._sock.send(refusal(why), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        else:
            interject(self._sock, closed_message(why), self.board, self._lock)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""
        return self._over.wait(max(0.0, seconds))


def _cause(pid: int, code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}; the server's log says why"
    text = describe_death(pid, -code)
    return f"{text} (out of memory, or ended from outside)" if code == -9 else text
