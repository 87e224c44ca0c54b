"""A pool of threads with fake sessions over real sockets: a test decides what their steps do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

__all__ = ["FakeSession", "Pause", "PoolHarness", "refuse_to_start"]


class FakeSession:
    """A session of a pool, which answers each byte with the same byte.

    Args:
        scheduler: The scheduler of the pool.
        on_byte: Called with the session and each byte, before the answer.

    Attributes:
        watched: The descriptor that the pool watches: the session's end of the connection.
        client: The other end.
        threads: The thread of each step so far.
        finished: Set once the session has ended.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        on_byte: Callable[[FakeSession, bytes], None] | None = None,
    ) -> None:
        self.slot = SchedulerSlot(scheduler)
        self.threads: list[threading.Thread] = []
        self.finished = threading.Event()
        self._on_byte = on_byte
        self._received = b""
        self._end_reason: str | None = None
        self._sock, self.client = socket.socketpair()
        self.watched = self._sock.fileno()
        self.client.settimeout(WATCHDOG)

    # Called by the pool ----

    def fileno(self) -> int:
        return self.watched

    @property
    def pending(self) -> bool:
        return bool(self._received)

    def step(self) -> bool:
        self.threads.append(threading.current_thread())
        if self._end_reason is not None:
            self._sock.send(self._end_reason.encode())
            return False
        if not self._received:
            self._received = self._sock.recv(1000)
            if not self._received:
                return False
        self.slot.acquire_short()
        byte, self._received = self._received[:1], self._received[1:]
        if self._on_byte is not None:
            self._on_byte(self, byte)
        self._sock.send(byte)
        return True

    def end(self, reason: str) -> None:
        self._end_reason = reason

    def finish(self) -> None:
        self._sock.close()
        self.finished.set()

    # Called by the test ----

    def ask(self, byte: bytes = b"x") -> bytes:
        """Send a byte and return the answer."""
        self.client.sendall(byte)
        return self.client.recv(1)

    def receive(self, count: int) -> bytes:
        """Return this many bytes; fewer if the session ends before."""
        received = b""
        while len(received) < count and (data := self.client.recv(count - len(received))):
            received += data
        return received

    def hang_up(self) -> None:
        """Close the client's end, and wait until the session has ended."""
        self.client.close()
        assert self.finished.wait(WATCHDOG)


class Pause:
    """A step that steps down and waits until the test lets it go on.

    Attributes:
        reached: Set once the step waits.
        may_go_on: Set by the test.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, session: FakeSession, byte: bytes) -> None:
        session.slot.step_down()
        self.reached.set()
        assert self.may_go_on.wait(WATCHDOG)
        session.slot.acquire_short()


class PoolHarness:
    """A pool and its fake sessions.

    Attributes:
        scheduler: The scheduler of the pool, with two slots for long operations.
        pool: The pool under test.
        sessions: The sessions that it was given.
    """

    def __init__(self) -> None:
        self.scheduler = Scheduler(kernels=2)
        self.pool = LeaderFollowersPool(self.scheduler)
        self.sessions: list[FakeSession] = []

    def add(self, on_byte: Callable[[FakeSession, bytes], None] | None = None) -> FakeSession:
        """Create a session and add it to the pool."""
        return self.add_session(FakeSession(self.scheduler, on_byte))

    def add_session(self, session: FakeSession) -> FakeSession:
        """Add a session to the pool."""
        self.pool.add(session)
        self.sessions.append(session)
        return session

    def threads(self) -> set[threading.Thread]:
        """Return the threads that have served the sessions so far."""
        return {thread for session in self.sessions for thread in session.threads}

    def close(self) -> None:
        """Close the pool, on another thread so that a hang is noticed."""
        Worker(self.pool.close).result()


def refuse_to_start(self: threading.Thread) -> None:
    """Replaces `Thread.start`, as if no thread could be started."""
    raise RuntimeError("can't start new thread")
