"""The loop of a control server: one thread that waits for sockets, processes and time.

Never blocks on a client: every socket is non-blocking, every client has deadlines, and a turn
handles a bounded number of messages of each. What messages mean is for ``sessions``; how to let
clients in is for ``door``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable

from shm_echo.control.descriptors import descriptor_limit
from shm_echo.control.fork_safety import FORK_LOCK, at_fork
from shm_echo.control.protocol.messages import Closed
from shm_echo.control.server.acceptor import Acceptor
from shm_echo.control.server.access_policy import AccessPolicy
from shm_echo.control.server.processes import Process, ProcessTable
from shm_echo.control.server.server_connection import (
    ConnectionBrokenError,
    ServerConnection,
    ServerLimits,
)
from shm_echo.control.server.session_table import SessionTable
from shm_echo.control.server.tcp_listener import TcpListener
from shm_echo.control.server.unix_listener import UnixListener
from shm_echo.errors import ProtocolError

__all__ = ["EventLoop"]

_log = logging.getLogger("shm_echo.control")

_TICK = 0.25
# Per turn of the loop and client, so that one that talks a lot does not hold up the others.
_MESSAGES_PER_TURN = 16
# What a dead process has said is read to its end, unless a child of it goes on talking.
_LAST_READS = 64


class EventLoop:
    """The sockets of one server, and the main function of its thread.

    Takes the listening socket over, even if the constructor raises. ``run`` returns after
    ``stop``, with everything closed. ``call_soon`` and ``stop`` are for other threads, everything
    else is for the loop's own.
    """

    def __init__(
        self,
        listening: UnixListener | TcpListener,
        access: AccessPolicy,
        sessions: SessionTable,
        limits: ServerLimits,
    ) -> None:
        self._sessions = sessions
        self._links: set[ServerConnection] = set()
        self._processes = ProcessTable()
        # Clients that may have more complete messages than their last turn had room for.
        self._turns: deque[ServerConnection] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        # Guards _open and _wake against closing while another thread is about to wake the loop.
        self._gate = threading.Lock()
        self._open = True
        self._stopping = False
        with FORK_LOCK, contextlib.ExitStack() as undo:
            self._door = Acceptor(listening, access, limits)
            undo.callback(self._door.shut)
            try:
                self._selector = selectors.DefaultSelector()
                undo.callback(self._selector.close)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            except OSError:
                raise descriptor_limit("a control server") from None
            self._selector.register(self._wake, selectors.EVENT_READ, self._wake)
            self._selector.register(self._door.sock, selectors.EVENT_READ, self._door)
            at_fork(self)
            undo.pop_all()

    # ------------------------------------------------------------ for other threads

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Have a function called once on the loop's thread; False if the loop has ended."""
        with self._gate:
            if not self._open:
                return False
            self._calls.append(function)
            os.eventfd_write(self._wake, 1)
            return True

    def stop(self) -> None:
        """Have ``run`` return. Calls accepted before are made."""
        with self._gate:
            self._stopping = True
            if self._open:
                os.eventfd_write(self._wake, 1)

    def after_fork_in_child(self) -> None:
        """Close what a forked child has inherited, and say nothing to anybody."""
        self._gate = threading.Lock()
        self._open = False
        self._stopping = True
        self._door.let_go()
        self._close_all()

    # ------------------------------------------------------------ the thread

    def run(self) -> None:
        """Serve until ``stop``."""
        next_tick = time.monotonic() + _TICK
        try:
            while not self._stopping:
                events = self._selector.select(self._patience(next_tick))
                now = time.monotonic()
                for key, mask in events:
                    self._on_event(key.data, mask, now)
                for _ in range(len(self._turns)):
                    self._on_link(self._turns.popleft(), 0, now)
                for process in self._sessions.tell_hangups(now):
                    self._release(process)
                self._make_calls()
                if now >= next_tick:
                    next_tick = now + _TICK
                    self._tick(now)
        except Exception:
            _log.critical("the control server has stopped after an internal error", exc_info=True)
        finally:
            self._finish()

    def _patience(self, next_tick: float) -> float:
        if self._turns or self._calls:
            return 0.0
        wake_at = next_tick
        hangup_at = self._sessions.next_hangup()
        if hangup_at is not None:
            wake_at = min(wake_at, hangup_at)
        return max(0.0, wake_at - time.monotonic())

    def _on_event(self, source: object, mask: int, now: float) -> None:
        if isinstance(source, ServerConnection):
            self._on_link(source, mask, now)
        elif isinstance(source, Process):
            self._on_exit(source, now)
        elif isinstance(source, Acceptor):
            self._on_arrival(now)
        else:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _make_calls(self) -> None:
        for _ in range(len(self._calls)):
            function = self._calls.popleft()
            try:
                function()
            except Exception:
                _log.exception("a function given to call_soon failed")

    def _tick(self, now: float) -> None:
        for link in list(self._links):
            overdue = link.overdue(now)
            if overdue is not None:
                self._drop(link, now, overdue)
        if self._door.closed:
            with FORK_LOCK:
                if self._door.reopen():
                    self._selector.register(self._door.sock, selectors.EVENT_READ, self._door)
        self._sessions.tick(now)

    # ------------------------------------------------------------ clients

    def _on_arrival(self, now: float) -> None:
        # One at a time under the lock, so that forks elsewhere need not wait for a crowd.
        for _ in range(Acceptor.CROWD):
            with FORK_LOCK:
                link = self._door.admit(self._processes, len(self._links), now)
                if link is not None:
                    self._links.add(link)
                    self._selector.register(link.sock, selectors.EVENT_READ, link)
                    process = link.process
                    if process.pidfd >= 0 and not process.links and not process.attached:
                        self._selector.register(process.pidfd, selectors.EVENT_READ, process)
                    process.links.add(link)
            if self._door.closed:
                self._selector.unregister(self._door.sock)
                return
            if self._door.idle:
                return

    def _on_link(self, link: ServerConnection, mask: int, now: float) -> None:
        if link.closed:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                link.flush(now)
            if mask & selectors.EVENT_READ and not link.blocked:
                link.fill(now)
            more = self._converse(link, now, _MESSAGES_PER_TURN)
            if link.to_hand_over:
                self._hand_over(link, now)
            elif more:
                self._turns.append(link)
            elif link.finished:
                self._drop(link, now, "the last words have been said")
            elif link.ended and not link.blocked:
                self._drop(link, now, "the client closed it")
            else:
                self._selector.modify(link.sock, link.interest, link)
        except (ConnectionBrokenError, ProtocolError) as error:
            self._drop(link, now, str(error))
        except Exception:
            # A mistake of ours; it costs the client that found it, not the others.
            _log.exception("internal error while serving %s", link.peer.name)
            self._drop(link, now, "internal error")

    def _converse(self, link: ServerConnection, now: float, at_most: int) -> bool:
        """Handle messages; whether there may be more."""
        for _ in range(at_most):
            message = link.next_message(now)
            if message is None:
                return False
            self._sessions.handle(link, message, now)
        return True

    def _on_exit(self, process: Process, now: float) -> None:
        """A process has ended: hear what it said before, then tell its services."""
        if process.gone:
            return
        for link in list(process.links):
            link.mute()
            if link.greeted:
                self._hear_out(link, now)
        self._sessions.exited(process)
        for link in list(process.links):
            self._drop(link, now, "its process has ended")
        self._release(process)

    def _hear_out(self, link: ServerConnection, now: float) -> None:
        try:
            for _ in range(_LAST_READS):
                while self._converse(link, now, _MESSAGES_PER_TURN):
                    pass
                if not link.fill(now):
                    return
        except (ConnectionBrokenError, ProtocolError):
            pass  # it is about to be dropped anyway
        except Exception:
            _log.exception("internal error in the last words of %s", link.peer.name)

    def _drop(self, link: ServerConnection, now: float, why: str) -> None:
        if link.closed:
            return
        _log.debug("connection of %s closed: %s", link.peer.name, why)
        self._selector.unregister(link.sock)
        link.close()
        self._links.discard(link)
        link.process.links.discard(link)
        self._sessions.lost(link, now)
        self._release(link.process)

    def _hand_over(self, link: ServerConnection, now: float) -> None:
        """The client has its welcome; its service takes the connection."""
        if link.handshake.endpoint.unfinished:
            self._drop(link, now, "it did not wait for its welcome")
            return
        with FORK_LOCK:
            self._selector.unregister(link.sock)
            self._links.discard(link)
            link.process.links.discard(link)
            self._sessions.hand_over(link)
        self._release(link.process)

    def _release(self, process: Process) -> None:
        if not process.gone and not process.links and not process.attached:
            if process.pidfd >= 0:
                self._selector.unregister(process.pidfd)
            self._processes.leave(process)

    # ------------------------------------------------------------ the end

    def _finish(self) -> None:
        with self._gate:
            self._open = False
        self._make_calls()
        with FORK_LOCK:
            self._door.shut()
        for link in self._links:
            if link.greeted and not link.closing:
                with contextlib.suppress(ProtocolError):
                    link.send(link.handshake.endpoint.send(Closed()), time.monotonic())
        self._close_all()

    def _close_all(self) -> None:
        with FORK_LOCK:
            for link in self._links:
                link.close()
            self._links.clear()
            self._processes.close()
            self._selector.close()
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)
