"""The event loop of a control server: one thread that waits for sockets, processes and time.

It never blocks on a client: every socket is non-blocking, every client has deadlines, and one pass
of the loop handles a bounded number of messages of each client. `session_table` gives messages
their meaning; `acceptor` decides which clients may connect.
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

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
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

# Deadlines are in seconds, so a quarter of one is precise enough and costs an idle server nothing.
_TICK = 0.25
# Seconds between two looks at the socket file. A logout removes the folder of a user's sockets.
_SOCKET_CHECK = 2.0
# Per pass of the loop and client, so that a client with many requests does not delay the others.
_MAX_MESSAGES_PER_PASS = 16
# A dead process's messages are read to the end of the stream. The limit is for a child of it that
# inherited the socket and goes on sending.
_MAX_FINAL_READS = 64


class EventLoop:
    """The sockets of one server, and the main function of its thread.

    The loop owns the listener from the start, even if the constructor raises. `run` returns after
    `stop`, with everything closed. Other threads may call `call_soon` and `stop`; everything else
    belongs to the loop's own thread.
    """

    def __init__(
        self,
        listener: UnixListener | TcpListener,
        access: AccessPolicy,
        sessions: SessionTable,
        limits: ServerLimits,
    ) -> None:
        self._sessions = sessions
        self._connections: set[ServerConnection] = set()
        self._processes = ProcessTable()
        # Connections that may hold more complete messages than the last pass handled.
        self._unhandled: deque[ServerConnection] = deque()
        self._callbacks: deque[Callable[[], object]] = deque()
        # Guards _open and _wake against closing while another thread is about to wake the loop.
        self._wake_lock = threading.Lock()
        self._open = True
        self._stopping = False
        self._next_socket_check = time.monotonic() + _SOCKET_CHECK
        with FORK_LOCK, contextlib.ExitStack() as undo:
            self._acceptor = Acceptor(listener, access, limits)
            undo.callback(self._acceptor.close)
            try:
                self._selector = selectors.DefaultSelector()
                undo.callback(self._selector.close)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            except OSError:
                raise descriptor_limit_error("a control server") from None
            self._selector.register(self._wake, selectors.EVENT_READ, self._wake)
            self._selector.register(self._acceptor.sock, selectors.EVENT_READ, self._acceptor)
            register_at_fork(self)
            undo.pop_all()

    # ------------------------------------------------------------ for other threads

    def call_soon(self, function: Callable[[], object]) -> bool:
        """Call a function once, soon, on the loop's thread.

        Returns:
            False if the loop has ended; then the function is not called.
        """
        with self._wake_lock:
            if not self._open:
                return False
            self._callbacks.append(function)
            os.eventfd_write(self._wake, 1)
            return True

    def stop(self) -> None:
        """Make `run` return. It still makes the calls that `call_soon` has accepted."""
        with self._wake_lock:
            self._stopping = True
            if self._open:
                os.eventfd_write(self._wake, 1)

    def after_fork_in_child(self) -> None:
        """Close the descriptors that a forked child has inherited, and send nothing."""
        # A new lock: the thread that held the old one may not exist in this process.
        self._wake_lock = threading.Lock()
        self._open = False
        self._stopping = True
        self._acceptor.close_in_child()
        self._close_all()

    # ------------------------------------------------------------ the thread

    def run(self) -> None:
        """Serve until `stop` is called."""
        now = time.monotonic()
        next_tick = now + _TICK
        try:
            while not self._stopping:
                events = self._selector.select(self._select_timeout(next_tick))
                last_pass, now = now, time.monotonic()
                self._excuse_clients(now - last_pass)
                for key, mask in events:
                    self._on_event(key.data, mask, now)
                for _ in range(len(self._unhandled)):
                    self._on_connection_ready(self._unhandled.popleft(), 0, now)
                for process in self._sessions.report_hangups(now):
                    self._release_if_unused(process)
                self._run_callbacks()
                if now >= next_tick:
                    next_tick = now + _TICK
                    self._tick(now)
        except Exception:
            _log.critical("the control server has stopped after an internal error", exc_info=True)
        finally:
            self._shut_down()

    def _excuse_clients(self, elapsed: float) -> None:
        """Extend all deadlines if this thread did not run for long, given the time of a pass.

        A learner that holds the interpreter lock stops the loop, and so does a stopped process.
        Messages that came meanwhile have not been read, so the clients are not late.
        """
        late = elapsed - _TICK
        if late > _TICK:
            for connection in self._connections:
                connection.excuse(late)

    def _select_timeout(self, next_tick: float) -> float:
        if self._unhandled or self._callbacks:
            return 0.0
        wake_at = next_tick
        hangup_at = self._sessions.next_hangup_time()
        if hangup_at is not None:
            wake_at = min(wake_at, hangup_at)
        return max(0.0, wake_at - time.monotonic())

    def _on_event(self, source: object, mask: int, now: float) -> None:
        if isinstance(source, ServerConnection):
            self._on_connection_ready(source, mask, now)
        elif isinstance(source, Process):
            self._on_process_exit(source, now)
        elif isinstance(source, Acceptor):
            self._on_new_connections(now)
        else:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)

    def _run_callbacks(self) -> None:
        for _ in range(len(self._callbacks)):
            function = self._callbacks.popleft()
            try:
                function()
            except Exception:
                _log.exception("a function given to call_soon failed")

    def _tick(self, now: float) -> None:
        for connection in list(self._connections):
            expired_deadline = connection.expired_deadline(now)
            if expired_deadline is not None:
                self._close_connection(connection, now, expired_deadline)
        if self._acceptor.suspended:
            with FORK_LOCK:
                if self._acceptor.resume():
                    self._selector.register(
                        self._acceptor.sock, selectors.EVENT_READ, self._acceptor
                    )
        if now >= self._next_socket_check:
            self._next_socket_check = now + _SOCKET_CHECK
            self._check_socket()
        self._sessions.tick(now)

    def _check_socket(self) -> None:
        """Make the socket file again if it was removed."""
        with FORK_LOCK:
            old = self._acceptor.renew_listener()
            if old is None:
                return
            if not self._acceptor.suspended:
                self._selector.unregister(old)
                self._selector.register(self._acceptor.sock, selectors.EVENT_READ, self._acceptor)
            old.close()

    # ------------------------------------------------------------ clients

    def _on_new_connections(self, now: float) -> None:
        # The lock is taken for each client anew, so that a fork in another thread waits for one
        # client at most.
        for _ in range(Acceptor.MAX_ACCEPTS_PER_PASS):
            with FORK_LOCK:
                connection = self._acceptor.accept_one(self._processes, len(self._connections), now)
                if connection is not None:
                    self._connections.add(connection)
                    self._selector.register(connection.sock, selectors.EVENT_READ, connection)
                    process = connection.process
                    if process.pidfd >= 0 and not process.references:
                        self._selector.register(process.pidfd, selectors.EVENT_READ, process)
                    process.references.add(connection)
            if self._acceptor.suspended:
                self._selector.unregister(self._acceptor.sock)
                return
            if self._acceptor.backlog_empty:
                return

    def _on_connection_ready(self, connection: ServerConnection, mask: int, now: float) -> None:
        if connection.closed:
            return
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush(now)
            if mask & selectors.EVENT_READ and not connection.input_paused:
                connection.receive_bytes(now)
            has_more = self._handle_messages(connection, now, _MAX_MESSAGES_PER_PASS)
            if connection.ready_to_hand_over:
                self._hand_over(connection, now)
            elif has_more:
                self._unhandled.append(connection)
            elif connection.last_message_sent:
                self._close_connection(connection, now, "the final message has been sent")
            elif connection.peer_closed and not connection.input_paused:
                self._close_connection(connection, now, "the client closed it")
            else:
                self._selector.modify(connection.sock, connection.events, connection)
        except (ConnectionBrokenError, ProtocolError) as error:
            self._close_connection(connection, now, str(error))
        except Exception:
            # A bug of the server closes the connection that met it, not the others.
            _log.exception("internal error while serving %s", connection.peer.name)
            self._close_connection(connection, now, "internal error")

    def _handle_messages(self, connection: ServerConnection, now: float, limit: int) -> bool:
        """Handle up to `limit` messages. Return True if there may be more."""
        for _ in range(limit):
            message = connection.next_message(now)
            if message is None:
                return False
            self._sessions.handle(connection, message, now)
        return True

    def _on_process_exit(self, process: Process, now: float) -> None:
        """Handle the messages that an ended process has sent, then notify its services."""
        if process.released:
            return
        for connection in _connections_of(process):
            connection.discard_output()
            if connection.welcomed:
                self._handle_final_messages(connection, now)
        self._sessions.process_exited(process)
        for connection in _connections_of(process):
            self._close_connection(connection, now, "its process has ended")
        self._release_if_unused(process)

    def _handle_final_messages(self, connection: ServerConnection, now: float) -> None:
        try:
            for _ in range(_MAX_FINAL_READS):
                while self._handle_messages(connection, now, _MAX_MESSAGES_PER_PASS):
                    pass
                if not connection.receive_bytes(now):
                    return
        except (ConnectionBrokenError, ProtocolError):
            pass  # the caller closes the connection in any case
        except Exception:
            _log.exception("internal error in the final messages of %s", connection.peer.name)

    def _close_connection(self, connection: ServerConnection, now: float, reason: str) -> None:
        if connection.closed:
            return
        _log.debug("connection of %s closed: %s", connection.peer.name, reason)
        self._selector.unregister(connection.sock)
        connection.close()
        self._connections.discard(connection)
        connection.process.references.discard(connection)
        self._sessions.connection_closed(connection, now)
        self._release_if_unused(connection.process)

    def _hand_over(self, connection: ServerConnection, now: float) -> None:
        """Give the connection to its service: the client has its welcome."""
        if connection.handshake.endpoint.has_partial_frame:
            self._close_connection(connection, now, "it did not wait for its welcome")
            return
        with FORK_LOCK:
            self._selector.unregister(connection.sock)
            self._connections.discard(connection)
            connection.process.references.discard(connection)
            self._sessions.hand_over(connection)
        self._release_if_unused(connection.process)

    def _release_if_unused(self, process: Process) -> None:
        if not process.released and not process.references:
            if process.pidfd >= 0:
                self._selector.unregister(process.pidfd)
            self._processes.release(process)

    # ------------------------------------------------------------ the end

    def _shut_down(self) -> None:
        with self._wake_lock:
            self._open = False
        self._run_callbacks()
        with FORK_LOCK:
            self._acceptor.close()
        for connection in self._connections:
            if connection.welcomed and not connection.closing:
                with contextlib.suppress(ProtocolError):
                    connection.send(connection.handshake.endpoint.send(Closed()), time.monotonic())
        self._close_all()

    def _close_all(self) -> None:
        with FORK_LOCK:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._processes.close()
            self._selector.close()
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)


def _connections_of(process: Process) -> list[ServerConnection]:
    """The open connections of a process, in a list of their own: closing one changes the set."""
    return [one for one in process.references if isinstance(one, ServerConnection)]
