"""The pool of threads that serves the sessions of one process: one of its threads leads.

The leader waits for the messages of all idle sessions and serves each message as it comes. So a
crowd of clients with short requests is served without a switch between threads. Before a session
does something long, or waits for its client, the leader *steps down*: another thread leads from
then on, and the first thread serves that one session alone until the request is over. Then the
session is idle again, and the thread leads if no thread does, or waits as a follower.

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

# Sessions that one poll returns. The kernel starts with other sessions at the next poll, so a busy
# crowd beyond this number starves no session.
_MAX_EVENTS = 64
# Threads that wait to lead. A thread beyond them ends: a burst of long requests leaves few.
_MAX_FOLLOWERS = 4


class Runnable(Protocol):
    """A session as the pool sees it. One thread at a time works on it."""

    @property
    def slot(self) -> SchedulerSlot:
        """The slot that the session computes in."""

    @property
    def pending(self) -> bool:
        """Return True if its socket has been read beyond the message that was served last."""

    def fileno(self) -> int:
        """Return the descriptor of its socket, which is readable when a message has come."""

    def step(self) -> bool:
        """Serve one message, if one has come, without waiting for it.

        Returns:
            True if the session continues.
        """

    def end(self, reason: str) -> None:
        """Make the next step the last one, which sends the reason to the client."""

    def finish(self) -> None:
        """Release all resources: the session is over."""


class _Follower:
    """A thread of the pool that waits until it must lead or end."""

    def __init__(self) -> None:
        self._wakeup = threading.Lock()
        self._wakeup.acquire()
        self._leads = False

    def wake(self, leads: bool) -> None:
        """Make the thread lead from now on, or end."""
        self._leads = leads
        self._wakeup.release()

    def wait(self) -> bool:
        """Wait for `wake`. Return True if this thread leads now; otherwise it ends."""
        self._wakeup.acquire()
        return self._leads


class LeaderFollowersPool:
    """Serves sessions on as many threads as they need; on no thread while there is no session.

    Args:
        scheduler: Decides which of the sessions compute at the same time.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._poll = select.epoll()
        self._events: list[tuple[int, int]] = []
        self._spin = Spinner(self._poll_now, scheduler.short_is_taken)
        self._migrator = CpuMigrator()
        # Idle sessions whose next message has been read already. Only the leader uses it.
        self._ready: deque[Runnable] = deque()
        # Guarded by the mutex:
        self._mutex = threading.Lock()
        self._idle: dict[int, Runnable] = {}  # by descriptor: the sessions the leader waits for
        self._sessions = 0
        self._has_leader = False  # a thread leads or was woken to lead; then a session is idle
        self._followers: list[_Follower] = []
        self._threads: set[threading.Thread] = set()
        self._closing = False

    def add(self, session: Runnable) -> None:
        """Serve a session from now on.

        Raises:
            RuntimeError: No thread can be started, or the pool was closed.
            OSError: The kernel cannot watch the session's socket.
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
        """Start a leader if idle sessions have none, because no thread could be started before."""
        with self._mutex:
            if self._idle and not self._has_leader:
                self._try_appoint_leader()

    def close(self) -> None:
        """Release all resources once the last session has ended.

        The caller ends the sessions. If none is left, wait for the threads to end.
        """
        with self._mutex:
            self._closing = True
            over = not self._sessions
            if over:
                self._poll.close()
            threads = self._threads - {threading.current_thread()} if over else set()
        for thread in threads:
            thread.join()

    def after_fork_in_child(self) -> None:
        """Close the descriptor that a forked child has inherited."""
        self._poll.close()

    # The caller holds the mutex ----

    def _watch(self, session: Runnable) -> None:
        """Add a session to the idle ones, for which the leader waits."""
        fd = session.fileno()
        self._idle[fd] = session  # before `register`: the leader may get its event at once
        try:
            self._poll.register(fd, select.EPOLLIN)
        except BaseException:
            del self._idle[fd]
            raise

    def _unwatch(self, session: Runnable) -> None:
        """Remove a session from the idle ones."""
        fd = session.fileno()
        self._poll.unregister(fd)
        del self._idle[fd]
        if session in self._ready:
            self._ready.remove(session)

    def _appoint_leader(self) -> None:
        """Make another thread lead: a follower if there is one, else a new thread."""
        if self._followers:
            self._followers.pop().wake(leads=True)
        else:
            thread = threading.Thread(target=self._run, name="mechestim-pool", daemon=True)
            self._threads.add(thread)
            try:
                contextvars.Context().run(thread.start)  # an empty context: no session's state
            except BaseException:
                self._threads.discard(thread)
                raise
        self._has_leader = True

    def _try_appoint_leader(self) -> None:
        """Make another thread lead; if that fails, the next tick tries again."""
        try:
            self._appoint_leader()
        except (RuntimeError, MemoryError) as error:
            _log.warning("cannot start a thread for mechestim sessions: %s", error)

    # On a thread of the pool ----

    def _run(self) -> None:
        """Run a thread of the pool, which begins as the leader."""
        leads = True
        try:
            while leads:
                own = self._lead()
                leads = False
                leads = self._serve_until_idle(*own)
                del own  # a waiting thread would keep the session's memory alive
                leads = leads or self._follow()
        except BaseException:
            _log.exception("internal error: a thread that serves mechestim sessions has ended")
            if leads:
                self._replace_leader()
        finally:
            with self._mutex:
                self._threads.discard(threading.current_thread())

    def _replace_leader(self) -> None:
        """Replace this thread, which has failed as the leader."""
        with self._mutex:
            self._has_leader = False
            if self._idle:
                self._try_appoint_leader()

    def _lead(self) -> tuple[Runnable, bool]:
        """Serve all idle sessions until this thread has stepped down.

        Returns:
            The session that this thread serves alone from now on, and True if that one continues.
        """
        idle, ready = self._idle, self._ready
        while True:
            for fd, _ in self._wait_for_messages():
                session = idle[fd]
                goes_on = self._serve(session)
                if goes_on is not None:
                    return session, goes_on
            # One step for each session with buffered messages, then poll for other messages again:
            # a client that sends many requests at once does not starve the others.
            for _ in range(len(ready)):
                session = ready.popleft()
                goes_on = self._serve(session)
                if goes_on is not None:
                    return session, goes_on

    def _wait_for_messages(self) -> list[tuple[int, int]]:
        """Wait until sessions are readable; return `(descriptor, event)` of each."""
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
        """Serve one step of a session as the leader.

        Returns:
            None if this thread still leads; else True if the session continues and False if not.
        """
        slot = session.slot
        slot.on_step_down = functools.partial(self._step_down, session)
        goes_on = _step(session)
        if slot.on_step_down is None:  # the step has called it: another thread leads
            return goes_on
        slot.on_step_down = None
        slot.release()
        if session.pending and session not in self._ready:
            self._ready.append(session)
        return None

    def _step_down(self, session: Runnable) -> None:
        """Take a session out of the pool and let another thread lead the remaining ones."""
        with self._mutex:
            self._unwatch(session)
            self._has_leader = False
            if self._idle:
                self._try_appoint_leader()

    def _serve_until_idle(self, session: Runnable, goes_on: bool) -> bool:
        """Serve one session alone until it is idle or over.

        Returns:
            True if this thread leads from now on.
        """
        slot = session.slot
        slot.release()
        while goes_on and session.pending:
            goes_on = _step(session)
            slot.release()  # after each request, as the leader does: other sessions wait for it
        if goes_on:
            goes_on = self._return_to_idle(session)
        if not goes_on:
            with self._mutex:  # before `_finish`: a thread that waits for it may close the pool
                self._sessions -= 1
                if not self._sessions:
                    self._end_followers()
            _finish(session)
        with self._mutex:
            leads = not self._has_leader and bool(self._idle)
            self._has_leader = self._has_leader or leads
            return leads

    def _return_to_idle(self, session: Runnable) -> bool:
        """Make the session idle again.

        Returns:
            True if the leader waits for it now; False if it was ended, because the kernel cannot
            watch its socket.
        """
        try:
            with self._mutex:
                self._watch(session)
        except Exception as error:
            _log.error("cannot continue a mechestim session: %s", error)
            session.end(f"the server cannot watch the connection: {error}")
            _step(session)  # sends the reason to the client
            return False
        return True

    def _end_followers(self) -> None:
        """End all threads: no session is left."""
        for follower in self._followers:
            follower.wake(leads=False)
        self._followers.clear()
        if self._closing:
            self._poll.close()

    def _follow(self) -> bool:
        """Wait as a follower. Return True if this thread must lead now, False if it must end."""
        with self._mutex:
            if not self._sessions or len(self._followers) >= _MAX_FOLLOWERS:
                return False
            follower = _Follower()
            self._followers.append(follower)
        return follower.wait()


def _step(session: Runnable) -> bool:
    """Serve one message, if one has come. Return True if the session continues."""
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
