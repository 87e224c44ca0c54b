"""A pool of threads with sessions that do what a test wants, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shm_echo.mechestim.service.scheduling.leader_followers import LeaderFollowersPool
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG

__all__ = ["Company", "Session", "Wait", "no_thread"]


class Session:
    """What a pool serves: answers each byte with the same byte.

    Args:
        scheduler: of the pool.
        does: called with each byte before the answer.

    Attributes:
        watched: the descriptor that the pool watches: of its end of the connection.
        client: the other end.
        threads: those that have served it, a step each.
        over: it has ended.
    """

    def __init__(
        self, scheduler: Scheduler, does: Callable[[Session, bytes], None] | None = None
    ) -> None:
        self.slot = SchedulerSlot(scheduler)
        self.threads: list[threading.Thread] = []
        self.over = threading.Event()
        self._does = does
        self._read = b""
        self._why: str | None = None
        self._ours, self.client = socket.socketpair()
        self.watched = self._ours.fileno()
        self.client.settimeout(WATCHDOG)

    def fileno(self) -> int:
        return self.watched

    @property
    def pending(self) -> bool:
        return bool(self._read)

    def step(self) -> bool:
        self.threads.append(threading.current_thread())
        if self._why is not None:
            self._ours.send(self._why.encode())
            return False
        if not self._read:
            self._read = self._ours.recv(1000)
            if not self._read:
                return False
        self.slot.acquire_short()
        byte, self._read = self._read[:1], self._read[1:]
        if self._does is not None:
            self._does(self, byte)
        self._ours.send(byte)
        return True

    def end(self, why: str) -> None:
        self._why = why

    def finish(self) -> None:
        self._ours.close()
        self.over.set()

    def ask(self, byte: bytes = b"x") -> bytes:
        """Send a byte, and hear the answer."""
        self.client.sendall(byte)
        return self.client.recv(1)

    def hear(self, count: int) -> bytes:
        """So many bytes; fewer if the session ends before."""
        heard = b""
        while len(heard) < count and (data := self.client.recv(count - len(heard))):
            heard += data
        return heard

    def leave(self) -> None:
        """Hang up; returns when the session is over."""
        self.client.close()
        assert self.over.wait(WATCHDOG)


class Wait:
    """What a session does: ends its slot, and waits until it may go on."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, session: Session, byte: bytes) -> None:
        session.slot.step_down()
        self.waits.set()
        assert self.may_go_on.wait(WATCHDOG)
        session.slot.acquire_short()


class Company:
    """A pool and its sessions."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(kernels=2)
        self.pool = LeaderFollowersPool(self.scheduler)
        self.sessions: list[Session] = []

    def add(self, does: Callable[[Session, bytes], None] | None = None) -> Session:
        """A new session."""
        return self.take_in(Session(self.scheduler, does))

    def take_in(self, session: Session) -> Session:
        """Have the pool serve a session."""
        self.pool.add(session)
        self.sessions.append(session)
        return session

    def threads(self) -> set[threading.Thread]:
        """Those that have served the sessions so far."""
        return {thread for session in self.sessions for thread in session.threads}

    def close(self) -> None:
        """Have the pool let go of everything, after its sessions."""
        Worker(self.pool.close).result()


def no_thread(self: threading.Thread) -> None:
    """Stands for ``Thread.start`` where no more of them can be started."""
    raise RuntimeError("can't start new thread")
