"""The pool: the threads that serve the sessions of one process, of which one leads.

The leader waits for the messages of all idle sessions and serves each as it comes. So a crowd of
clients with short requests is served without a change of threads between them. Before a session
does something long, or waits for its client, the leader *steps down*: another thread leads from
then on, and this one is the session's own until the request is over. Then the session is idle
again, and the thread leads if nobody does, or waits until it is needed.

The pattern is known as Leader/Followers (Schmidt, O'Ryan, Pyarali, Kircher and Buschmann, 2000).
"""

from __future__ import annotations

import contextvars
import functools
import logging
import select
import threading
import time
from collections import deque
from typing import Protocol

from shm_echo.mechestim.adaptive_spin import Spinner
from shm_echo.mechestim.service.scheduling.cpu_affinity import CpuMigrator
from shm_echo.mechestim.service.scheduling.scheduler import Scheduler, SchedulerSlot

__all__ = ["LeaderFollowersPool", "Runnable"]

_log = logging.getLogger("shm_echo.mechestim")

_MAX_EVENTS = 64  # sessions of one look; the kernel begins with others the next time
_MAX_FOLLOWERS = 4  # threads that wait until they are needed; more of them end


class Runnable(Protocol):
    """A session, as a pool sees it. One thread at a time works on it."""

    @property
    def slot(self) -> SchedulerSlot:
        """Its place at the scheduler."""

    @property
    def pending(self) -> bool:
        """More has been read from its socket than was asked for so far."""

    def fileno(self) -> int:
        """Of its socket, which is readable when there is something to do."""

    def step(self) -> bool:
        """Serve what has come, without waiting for more; whether the session goes on."""

    def end(self, reason: str) -> None:
        """Have the next step be the last one, which tells the client."""

    def finish(self) -> None:
        """Let go of everything: the session is over."""


class _Follower:
    """A thread that waits until it is needed."""

    def __init__(self) -> None:
        self._wakeup = threading.Lock()
        self._wakeup.acquire()
        self._leads = False

    def call(self, leads: bool) -> None:
        """It leads from now on, or ends."""
        self._leads = leads
        self._wakeup.release()

    def wait(self) -> bool:
        """Whether it leads; otherwise it ends."""
        self._wakeup.acquire()
        return self._leads


class LeaderFollowersPool:
    """Serves sessions on as many threads as are needed; on none while there is no session.

    Args:
        scheduler: that the sessions pass.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._poll = select.epoll()
        self._events: list[tuple[int, int]] = []
        self._spin = Spinner(self._poll_now, scheduler.short_is_taken)
        self._migrator = CpuMigrator()
        self._ready: deque[Runnable] = deque()  # idle ones whose next message is here; the leader's
        # Under the mutex:
        self._mutex = threading.Lock()
        self._idle: dict[int, Runnable] = {}  # by descriptor; the leader waits for them
        self._sessions = 0
        self._has_leader = (
            False  # a thread leads, or has been told to; then there are idle sessions
        )
        self._followers: list[_Follower] = []
        self._threads: set[threading.Thread] = set()
        self._closing = False

    def add(self, session: Runnable) -> None:
        """Serve a session from now on.

        Raises:
            RuntimeError: no thread can be started.
            OSError: the kernel cannot watch its socket.
        """
        with self._mutex:
            if self._poll.closed:
                raise RuntimeError("the pool was closed")
            self._watch(session)
            try:
                if not self._has_leader:
                    self._appoint_leader()
            except BaseException:
                self._unwatch(session)
                raise
            self._sessions += 1

    def on_tick(self) -> None:
        """Have a thread lead if none does although it should: one could not be started before."""
        with self._mutex:
            if self._idle and not self._has_leader:
                self._try_appoint_leader()

    def close(self) -> None:
        """Let go of everything as soon as no session is left; sessions end by themselves."""
        with self._mutex:
            self._closing = True
            over = not self._sessions
            if over:
                self._poll.close()
            threads = self._threads - {threading.current_thread()} if over else set()
        for thread in threads:
            thread.join()

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited."""
        self._poll.close()

    # Under the mutex ----

    def _watch(self, session: Runnable) -> None:
        """The session is idle."""
        fd = session.fileno()
        self._idle[fd] = session  # first: the leader may see it as soon as it is registered
        try:
            self._poll.register(fd, select.EPOLLIN)
        except BaseException:
            del self._idle[fd]
            raise

    def _unwatch(self, session: Runnable) -> None:
        """The session is not idle any more."""
        fd = session.fileno()
        self._poll.unregister(fd)
        del self._idle[fd]
        if session in self._ready:
            self._ready.remove(session)

    def _appoint_leader(self) -> None:
        """Have another thread lead."""
        if self._followers:
            self._followers.pop().call(leads=True)
        else:
            thread = threading.Thread(target=self._run, name="mechestim-pool", daemon=True)
            self._threads.add(thread)
            try:
                contextvars.Context().run(thread.start)  # it inherits nothing of a session
            except BaseException:
                self._threads.discard(thread)
                raise
        self._has_leader = True

    def _try_appoint_leader(self) -> None:
        """Have another thread lead; if that fails, the next look tries again."""
        try:
            self._appoint_leader()
        except (RuntimeError, MemoryError) as error:
            _log.warning("cannot start a thread for mechestim sessions: %s", error)

    # What a thread does ----

    def _run(self) -> None:
        """A thread that begins as the leader."""
        leads = True
        try:
            while leads:
                own = self._lead()
                leads = False
                leads = self._serve_until_idle(*own)
                del own  # else the session's memory would stay
                leads = leads or self._follow()
        except BaseException:
            _log.exception("internal error: a thread that serves mechestim sessions has ended")
            if leads:
                self._replace_leader()
        finally:
            with self._mutex:
                self._threads.discard(threading.current_thread())

    def _replace_leader(self) -> None:
        """The leader has failed."""
        with self._mutex:
            self._has_leader = False
            if self._idle:
                self._try_appoint_leader()

    def _lead(self) -> tuple[Runnable, bool]:
        """Serve until this thread has stepped down.

        Returns:
            The session that it did so for, whose own thread it is now, and whether that goes on.
        """
        idle, ready = self._idle, self._ready
        while True:
            for fd, _ in self._wait_for_messages():
                session = idle[fd]
                goes_on = self._serve(session)
                if goes_on is not None:
                    return session, goes_on
            for _ in range(len(ready)):
                session = ready.popleft()
                goes_on = self._serve(session)
                if goes_on is not None:
                    return session, goes_on

    def _wait_for_messages(self) -> list[tuple[int, int]]:
        """The descriptors of sessions that have something to read, once there are any."""
        if self._ready:
            return self._poll_now()
        if self._spin.wait():
            return self._events
        since = time.monotonic()
        events = self._poll.poll(None, _MAX_EVENTS)
        if self._migrator.record_wait(time.monotonic() - since):
            self._spin.reset()
        return events

    def _poll_now(self) -> list[tuple[int, int]]:
        self._events = events = self._poll.poll(0, _MAX_EVENTS)
        return events

    def _serve(self, session: Runnable) -> bool | None:
        """One step of a session, as the leader.

        Returns:
            None if this thread is the leader still; else whether the session goes on.
        """
        slot = session.slot
        slot.on_step_down = functools.partial(self._step_down, session)
        goes_on = _step(session)
        if slot.on_step_down is None:
            return goes_on
        slot.on_step_down = None
        slot.release()
        if session.pending and session not in self._ready:
            self._ready.append(session)
        return None

    def _step_down(self, session: Runnable) -> None:
        """The leader is about to wait: this session is its own now, and others need a leader."""
        with self._mutex:
            self._unwatch(session)
            self._has_leader = False
            if self._idle:
                self._try_appoint_leader()

    def _serve_until_idle(self, session: Runnable, goes_on: bool) -> bool:
        """Serve a session of one's own until it is idle, or over.

        Returns:
            Whether this thread leads from now on.
        """
        slot = session.slot
        slot.release()
        while goes_on and session.pending:
            goes_on = _step(session)
            slot.release()  # for the others who wait, as when the leader serves it
        if goes_on:
            goes_on = self._return_to_idle(session)
        if not goes_on:
            with self._mutex:  # first: who has waited for the session's end may close the pool
                self._sessions -= 1
                if not self._sessions:
                    self._end_followers()
            _finish(session)
        with self._mutex:
            leads = not self._has_leader and bool(self._idle)
            self._has_leader = self._has_leader or leads
            return leads

    def _return_to_idle(self, session: Runnable) -> bool:
        """The session is idle again; whether that was possible. If not, it was told so."""
        try:
            with self._mutex:
                self._watch(session)
        except Exception as error:
            _log.error("cannot go on with a mechestim session: %s", error)
            session.end(f"the server cannot watch the connection: {error}")
            _step(session)  # which is its last
            return False
        return True

    def _end_followers(self) -> None:
        """No session is left: all threads end."""
        for follower in self._followers:
            follower.call(leads=False)
        self._followers.clear()
        if self._closing:
            self._poll.close()

    def _follow(self) -> bool:
        """Wait until this thread is to lead; whether that comes."""
        with self._mutex:
            if not self._sessions or len(self._followers) >= _MAX_FOLLOWERS:
                return False
            follower = _Follower()
            self._followers.append(follower)
        return follower.wait()


def _step(session: Runnable) -> bool:
    """Serve what has come; whether the session goes on."""
    try:
        if session.step():
            return True
    except BaseException:
        _log.exception("internal error in a mechestim session")
    session.slot.step_down()
    return False


def _finish(session: Runnable) -> None:
    try:
        session.finish()
    except BaseException:
        _log.exception("internal error at the end of a mechestim session")
