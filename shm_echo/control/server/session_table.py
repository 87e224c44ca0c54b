"""Sessions: the meaning of a connection's messages, and the calls that its service gets for them.

Guarantees that every session which was opened ends exactly once (see `Service`), that no exception
of a service reaches the event loop, and that its text reaches no client unless the service raised
`ServiceRefusalError`. Reads no sockets and measures no time; `server_connection` and `event_loop`
do.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from shm_echo.control.descriptors import duplicate_fds
from shm_echo.control.peer import exit_signal, has_exited
from shm_echo.control.protocol.frames import MAX_FRAME
from shm_echo.control.protocol.handshake import FULL, INTERNAL
from shm_echo.control.protocol.messages import (
    Closed,
    ErrorReply,
    Goodbye,
    Hello,
    Message,
    Refused,
    Reply,
    Request,
)
from shm_echo.control.server.processes import Process
from shm_echo.control.server.server_connection import ServerConnection, ServerLimits
from shm_echo.control.server.service import Service, ServiceRefusalError, Session

__all__ = ["SessionRecord", "SessionTable"]

_log = logging.getLogger("shm_echo.control")

# The kernel closes the sockets of a killed process a moment before its pidfd becomes readable. Only
# a process that still lives this many seconds after its socket closed has hung up.
_HANGUP_GRACE = 0.1

_SERVICE_FAILED = "the service failed; the server's log says why"


class SessionRecord:
    """A session that was opened and has not ended.

    Attributes:
        connection: None once it has closed while the process is still watched.
    """

    __slots__ = ("connection", "process", "service", "session")

    def __init__(self, session: Session, service: Service, connection: ServerConnection) -> None:
        self.session = session
        self.service = service
        self.connection: ServerConnection | None = connection
        self.process = connection.process


class SessionTable:
    """All sessions of one control server."""

    def __init__(self, services: Mapping[str, Service], limits: ServerLimits) -> None:
        self._services = dict(services)
        self._limits = limits
        self._by_connection: dict[ServerConnection, SessionRecord] = {}
        self._count = 0
        # Sessions whose connection has closed, with the time at which that counts as a hang-up.
        self._hangups: deque[tuple[float, SessionRecord]] = deque()
        self._failed_ticks: set[str] = set()

    # ------------------------------------------------------------ messages

    def handle(self, connection: ServerConnection, message: Message, now: float) -> None:
        """Act on one message and send the answer."""
        if isinstance(message, Hello):
            self._open_session(connection, message, now)
        elif isinstance(message, Refused):
            _refuse(connection, message, now)
        elif isinstance(message, Request):
            self._request(connection, message, now)
        else:
            assert isinstance(message, Goodbye)  # the transition table admits no other kind
            self._goodbye(connection, now)

    def _open_session(self, connection: ServerConnection, hello: Hello, now: float) -> None:
        if self._count >= self._limits.max_sessions:
            _refuse(connection, Refused(FULL, "the server has no room for another session"), now)
            return
        service = self._services[hello.service]
        number = int.from_bytes(os.urandom(8), "big") >> 1  # 63 bits: it travels as a signed int
        holder = connection.handshake.holder
        session = Session(number, connection.peer, hello.service, holder=holder)
        try:
            info = service.open(session)
        except ServiceRefusalError as refusal:
            _refuse(connection, Refused(refusal.code, refusal.message, refusal.fields), now)
            return
        except Exception:
            _log.exception("service %r failed to open a session", hello.service)
            _refuse(connection, Refused(INTERNAL, _SERVICE_FAILED), now)
            return
        if connection.process.pidfd < 0:
            session.watch = False
        record = SessionRecord(session, service, connection)
        self._by_connection[connection] = record
        connection.process.references.add(record)
        self._count += 1
        try:
            data = connection.handshake.welcome(session.id, {"max_frame": MAX_FRAME}, info)
        except (TypeError, ValueError):
            # The session is open by now. It ends like any other when its connection closes.
            _log.exception("the welcome info of service %r cannot be sent", hello.service)
            _refuse(connection, Refused(INTERNAL, _SERVICE_FAILED), now)
            return
        _log.debug("%s joined service %r", holder or connection.peer.name, hello.service)
        connection.welcomed = True
        connection.send(data, now)
        connection.service_takes_over = getattr(service, "take_over", None) is not None

    def hand_over(self, connection: ServerConnection) -> None:
        """Give the connection to its service, which talks to the client itself from now on."""
        record = self._by_connection.pop(connection)
        self._remove(record)
        service: Any = record.service  # `take_over` is optional, so the Protocol lacks it
        _notify(record, service.take_over, record.session, connection.detach())

    def _request(self, connection: ServerConnection, request: Request, now: float) -> None:
        record = self._by_connection[connection]
        endpoint = connection.handshake.endpoint
        copies: list[int] = []
        try:
            try:
                result, fds = record.service.request(record.session, request.op, request.args)
                copies = duplicate_fds(fds)
                data = endpoint.send(Reply(request.id, result))
            except ServiceRefusalError as refusal:
                data = endpoint.send(
                    ErrorReply(request.id, refusal.code, refusal.message, refusal.fields)
                )
        except Exception:
            for copy in copies:
                os.close(copy)
            copies = []
            _log.exception("service %r failed to answer a request", record.session.service)
            data = endpoint.send(ErrorReply(request.id, INTERNAL, _SERVICE_FAILED))
        connection.send(data, now, copies)

    def _goodbye(self, connection: ServerConnection, now: float) -> None:
        record = self._by_connection.pop(connection)
        self._remove(record)
        _notify(record, record.service.goodbye, record.session)
        connection.closing = True
        connection.send(connection.handshake.endpoint.send(Closed()), now)

    # ------------------------------------------------------------ ends

    def connection_closed(self, connection: ServerConnection, now: float) -> None:
        """Note that a connection has closed: its session has hung up, or its process is ending."""
        record = self._by_connection.pop(connection, None)
        if record is not None:
            record.connection = None
            self._hangups.append((now + _HANGUP_GRACE, record))

    def next_hangup_time(self) -> float | None:
        """The time from which `report_hangups` has a hang-up to look at; None if there is none."""
        return self._hangups[0][0] if self._hangups else None

    def report_hangups(self, now: float) -> list[Process]:
        """Notify services of sessions whose socket has closed while the process lives.

        Returns:
            The processes to which one session less refers.
        """
        unused = []
        while self._hangups and self._hangups[0][0] <= now:
            _, record = self._hangups.popleft()
            process = record.process
            # `process_exited` has removed this session, and has reported its death.
            if record not in process.references:
                continue
            # The process has ended, and its event has not been handled yet: it has died, not
            # hung up.
            if process.pidfd >= 0 and has_exited(process.pidfd):
                continue
            _notify(record, record.service.hangup, record.session)
            if not record.session.watch or process.pidfd < 0:
                self._remove(record)
                unused.append(process)
        return unused

    def process_exited(self, process: Process) -> None:
        """End the sessions of a process that has ended, after all its messages were handled."""
        records = [one for one in process.references if isinstance(one, SessionRecord)]
        signal = exit_signal(process.pidfd) if records else None
        for record in records:
            if record.connection is not None:
                del self._by_connection[record.connection]
            self._remove(record)
            _notify(record, record.service.died, record.session, process.pid, signal)

    def tick(self, now: float) -> None:
        """Give every service the time."""
        for name, service in self._services.items():
            try:
                service.tick(now)
            except Exception:
                # Ticks come four times a second: the same error would fill the log.
                if name not in self._failed_ticks:
                    self._failed_ticks.add(name)
                    _log.exception("service %r failed in tick (logged once)", name)

    def _remove(self, record: SessionRecord) -> None:
        record.process.references.remove(record)
        self._count -= 1


def _refuse(connection: ServerConnection, refused: Refused, now: float) -> None:
    try:
        data = connection.handshake.refuse(refused)
    except ValueError:
        _log.exception("a refusal of a service cannot be sent")
        data = connection.handshake.refuse(Refused(INTERNAL, _SERVICE_FAILED))
    connection.closing = True
    connection.send(data, now)


def _notify(record: SessionRecord, method: Callable[..., None], *args: Any) -> None:
    """Call a method of a service, and log an exception instead of raising it."""
    try:
        method(*args)
    except Exception:
        name = getattr(method, "__name__", "a method")
        _log.exception("service %r failed in %s", record.session.service, name)
