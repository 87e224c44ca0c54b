"""Where a session runs: on a thread of this process, or in a process of its own.

To the service both are a :class:`Seat`: it is started, it may be told to end, it can be ended by
force, and its board can be read at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from shm_echo.errors import describe_death
from shm_echo.mechestim.service.board import Board, FileLock, opened_again, sealed_memory
from shm_echo.mechestim.service.ceiling import Ceiling
from shm_echo.mechestim.service.gate import Gate, Turn
from shm_echo.mechestim.service.greeting import greeted
from shm_echo.mechestim.service.limits import Quotas
from shm_echo.mechestim.service.session import BUSY, Place, Session, farewell
from shm_echo.mechestim.service.stream import Lock, interject

__all__ = ["ProcessSeat", "Seat", "ThreadSeat"]

_log = logging.getLogger("shm_echo.mechestim")


class Seat:
    """One session, seen by its service.

    Attributes:
        board: what it shows.
        started: ``time.monotonic()`` of its begin.
        isolation: ``"threads"`` or ``"process"``.
        pid: of the process that it runs in.
    """

    isolation = ""
    pid: int | None = None

    def __init__(self, sock: socket.socket, board: Board, lock: Lock) -> None:
        self._sock = sock
        self._lock = lock
        self.board = board
        self.started = time.monotonic()
        self._told_busy = 0.0

    def start(self) -> None:
        """Begin to serve."""
        raise NotImplementedError

    def end(self, why: str) -> None:
        """Have it end after the operation that runs, and tell the client why."""
        raise NotImplementedError

    def kill(self, why: str) -> None:
        """End it now."""
        raise NotImplementedError

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""
        raise NotImplementedError

    def let_go_in_child(self) -> None:
        """Close what a forked child has inherited."""
        self._sock.close()

    def say_busy(self, every: float) -> None:
        """Let a client that waits know that its operation is still running."""
        running, now = self.board.running_s, time.monotonic()
        if running is not None and running > every and now - self._told_busy > every:
            self._told_busy = now
            interject(self._sock, BUSY, self.board, self._lock)


class ThreadSeat(Seat):
    """A session on a thread of its own.

    Args:
        sock: the connection, in blocking mode; closed at the end.
        quotas: what the session may use.
        ceiling: of its principal.
        weights: the server's own.
        gate: shared with the other sessions of this process.
        greet: the client has not said hello yet.
        ended: called once, on that thread, when all is over.
    """

    isolation = "threads"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        gate: Gate,
        greet: bool,
        ended: Callable[[Seat], None],
    ) -> None:
        lock = threading.Lock()
        super().__init__(sock, Board(), lock)
        self.pid = os.getpid()
        self._greet = greet
        self._ended = ended
        self._quotas = quotas
        self._session = Session(sock, quotas, Place(ceiling, self.board, lock, Turn(gate), weights))
        self._thread = threading.Thread(target=self._run, name="mechestim-session", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._greet and not greeted(self._sock, self._quotas):
                self._sock.close()
                return
            self._session.run()
        finally:
            self._ended(self)

    def end(self, why: str) -> None:
        """Have it end after the operation that runs."""
        self._session.end(why)

    def kill(self, why: str) -> None:
        """Tell the client, and close the connection. An operation that runs ends by itself."""
        interject(self._sock, farewell(why), self.board, self._lock)
        self._session.end(why)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()


_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from shm_echo.mechestim.service.worker import main; main(sys.argv[1])"
)
# Each worker computes on one thread: there are as many workers as sessions.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class ProcessSeat(Seat):
    """A session in a process of its own.

    The service keeps a second descriptor of the connection, for what the worker cannot say itself:
    that it is busy, or that it has died. ``start`` and ``reap`` are for the warden's thread: the
    kernel ends a worker together with the thread that started it.
    """

    isolation = "process"

    def __init__(
        self,
        sock: socket.socket,
        quotas: Quotas,
        ceiling: Ceiling,
        weights: Mapping[str, float],
        greet: bool,
        ended: Callable[[Seat], None],
    ) -> None:
        self._board_fd = sealed_memory("mechestim-board", Board.SIZE)
        super().__init__(sock, Board(self._board_fd), FileLock(self._board_fd))
        self._config = {"quotas": asdict(quotas), "weights": dict(weights), "greet": greet}
        self._ceiling = ceiling
        self._ended = ended
        self._why: str | None = None
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1

    def start(self) -> None:
        """Start the worker.

        Raises:
            OSError: that is not possible.
        """
        board, ceiling = opened_again(self._board_fd), self._ceiling.share()
        fds = {"sock": self._sock.fileno(), "board": board, "ceiling": ceiling}
        config = {**self._config, **fds, "limit": self._ceiling.limit, "parent": os.getpid()}
        environment = {name: value for name, value in os.environ.items() if name not in _REMOVED}
        environment.update(dict.fromkeys(_ONE_THREAD, "1"))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=sys.path), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=list(fds.values()),
                env=environment,
                start_new_session=True,  # Ctrl-C is for the server, which tells its workers
            )
            self.pid = self._process.pid
            self.pidfd = os.pidfd_open(self._process.pid)
        finally:
            os.close(board)
            os.close(ceiling)
        if self._why is not None:
            self.end(self._why)

    def end(self, why: str) -> None:
        """Have it end after the operation that runs."""
        self._why = self._why or why
        if self._process is not None:
            self._process.terminate()

    def kill(self, why: str) -> None:
        """Kill the worker."""
        self._why = self._why or why
        if self._process is not None:
            self._process.kill()

    def failed(self, why: str) -> None:
        """The worker could not be started."""
        self._why = why
        self._finish()

    def reap(self) -> None:
        """The worker has ended: tell the client why, unless it knows."""
        assert self._process is not None
        code = self._process.wait()
        if code != 0 and self._why is None:
            self._why = f"its worker process died: {_cause(self._process.pid, code)}"
            _log.warning("a mechestim session has ended: %s", self._why)
        self._finish()

    def _finish(self) -> None:
        if self._why is not None:
            interject(self._sock, farewell(self._why), self.board, self._lock)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self._ended(self)
        finally:
            self._sock.close()
            if self.pidfd >= 0:
                os.close(self.pidfd)
            os.close(self._board_fd)
            self._over.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, at the latest after this time."""
        return self._over.wait(max(0.0, seconds))


_REMOVED = frozenset({"MECHESTIM_SERVER_URL", "MECHESTIM_WEIGHTS_FILE"})


def _cause(pid: int, code: int) -> str:
    if code >= 0:
        return f"it exited with status {code}; the server's log says why"
    text = describe_death(pid, -code)
    return f"{text} (out of memory, or ended from outside)" if code == -9 else text
