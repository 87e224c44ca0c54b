"""Sessions: what the messages of a connection mean, and what its service is told.

Guarantees that a session which was opened ends exactly once (see ``Service``), that nothing a
service raises reaches the server's loop, and that its words reach no client unless it meant them
to. Reads no sockets and keeps no time; that is for ``link`` and ``loop``.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from shm_echo.control.descriptors import duplicates
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

# When a process is killed its sockets close a moment before its pidfd tells. Only a socket that
# has been closed for longer than this belongs to a process that lives on.
_HANGUP_GRACE = 0.1

_SERVICE_FAILED = "the service failed; the server's log says why"


class SessionRecord:
    """A session that was opened and has not ended."""

    __slots__ = ("link", "process", "service", "session")

    def __init__(self, session: Session, service: Service, link: ServerConnection) -> None:
        self.session = session
        self.service = service
        self.link: ServerConnection | None = link
        self.process = link.process


class SessionTable:
    """All sessions of one control server."""

    def __init__(self, services: Mapping[str, Service], limits: ServerLimits) -> None:
        self._services = dict(services)
        self._limits = limits
        self._by_link: dict[ServerConnection, SessionRecord] = {}
        self._count = 0
        self._hangups: deque[tuple[float, SessionRecord]] = deque()
        self._failed_ticks: set[str] = set()

    # ------------------------------------------------------------ messages

    def handle(self, link: ServerConnection, message: Message, now: float) -> None:
        """Act on one message, answer included."""
        if isinstance(message, Hello):
            self._open(link, message, now)
        elif isinstance(message, Refused):
            _refuse(link, message, now)
        elif isinstance(message, Request):
            self._request(link, message, now)
        else:
            assert isinstance(message, Goodbye)  # the table of states lets no other by
            self._goodbye(link, now)

    def _open(self, link: ServerConnection, hello: Hello, now: float) -> None:
        if self._count >= self._limits.max_sessions:
            _refuse(link, Refused(FULL, "the server has no room for another session"), now)
            return
        service = self._services[hello.service]
        number = int.from_bytes(os.urandom(8), "big") >> 1
        holder = link.handshake.holder
        session = Session(number, link.peer, hello.service, holder=holder)
        try:
            info = service.open(session)
        except ServiceRefusalError as refusal:
            _refuse(link, Refused(refusal.code, refusal.message, refusal.fields), now)
            return
        except Exception:
            _log.exception("service %r failed to open a session", hello.service)
            _refuse(link, Refused(INTERNAL, _SERVICE_FAILED), now)
            return
        if link.process.pidfd < 0:
            session.watch = False
        attached = SessionRecord(session, service, link)
        self._by_link[link] = attached
        link.process.attached.add(attached)
        self._count += 1
        try:
            data = link.handshake.welcome(session.id, {"max_frame": MAX_FRAME}, info)
        except (TypeError, ValueError):
            _log.exception("what service %r says in its welcome cannot be sent", hello.service)
            _refuse(link, Refused(INTERNAL, _SERVICE_FAILED), now)
            return
        _log.debug("%s joined service %r", holder or link.peer.name, hello.service)
        link.greeted = True
        link.send(data, now)
        link.taken_over = getattr(service, "take_over", None) is not None

    def hand_over(self, link: ServerConnection) -> None:
        """Give the connection to its service, which speaks with the client itself from now on."""
        attached = self._by_link.pop(link)
        self._forget(attached)
        take_over: Any = attached.service
        _tell(attached, take_over.take_over, attached.session, link.detach())

    def _request(self, link: ServerConnection, request: Request, now: float) -> None:
        attached = self._by_link[link]
        endpoint = link.handshake.endpoint
        copies: list[int] = []
        try:
            try:
                result, fds = attached.service.request(attached.session, request.op, request.args)
                copies = duplicates(fds)
                data = endpoint.send(Reply(request.id, result))
            except ServiceRefusalError as refusal:
                data = endpoint.send(
                    ErrorReply(request.id, refusal.code, refusal.message, refusal.fields)
                )
        except Exception:
            for copy in copies:
                os.close(copy)
            copies = []
            _log.exception("service %r failed to answer a request", attached.session.service)
            data = endpoint.send(ErrorReply(request.id, INTERNAL, _SERVICE_FAILED))
        link.send(data, now, copies)

    def _goodbye(self, link: ServerConnection, now: float) -> None:
        attached = self._by_link.pop(link)
        self._forget(attached)
        _tell(attached, attached.service.goodbye, attached.session)
        link.closing = True
        link.send(link.handshake.endpoint.send(Closed()), now)

    # ------------------------------------------------------------ ends

    def lost(self, link: ServerConnection, now: float) -> None:
        """The connection has closed. A session of it has hung up, or its process is ending."""
        attached = self._by_link.pop(link, None)
        if attached is not None:
            attached.link = None
            self._hangups.append((now + _HANGUP_GRACE, attached))

    def next_hangup(self) -> float | None:
        """When ``tell_hangups`` may have something to tell."""
        return self._hangups[0][0] if self._hangups else None

    def tell_hangups(self, now: float) -> list[Process]:
        """Tell services about sessions whose socket has closed while the process lives.

        Returns:
            The processes that one of their sessions refers to no longer.
        """
        left = []
        while self._hangups and self._hangups[0][0] <= now:
            _, attached = self._hangups.popleft()
            # One that has died was told so, or is about to be.
            process = attached.process
            if attached not in process.attached:
                continue
            if process.pidfd >= 0 and has_exited(process.pidfd):
                continue
            _tell(attached, attached.service.hangup, attached.session)
            if not attached.session.watch or process.pidfd < 0:
                self._forget(attached)
                left.append(process)
        return left

    def exited(self, process: Process) -> None:
        """The process has ended, and all that it had said has been handled."""
        signal = exit_signal(process.pidfd) if process.attached else None
        for attached in list(process.attached):
            if attached.link is not None:
                del self._by_link[attached.link]
            self._forget(attached)
            _tell(attached, attached.service.died, attached.session, process.pid, signal)

    def tick(self, now: float) -> None:
        """Tell every service the time."""
        for name, service in self._services.items():
            try:
                service.tick(now)
            except Exception:
                # Four times a second is too often for the same news.
                if name not in self._failed_ticks:
                    self._failed_ticks.add(name)
                    _log.exception("service %r failed in tick (told once)", name)

    def _forget(self, attached: SessionRecord) -> None:
        attached.process.attached.remove(attached)
        self._count -= 1


def _refuse(link: ServerConnection, refused: Refused, now: float) -> None:
    try:
        data = link.handshake.refuse(refused)
    except ValueError:
        _log.exception("a refusal of a service cannot be sent")
        data = link.handshake.refuse(Refused(INTERNAL, _SERVICE_FAILED))
    link.closing = True
    link.send(data, now)


def _tell(attached: SessionRecord, method: Callable[..., None], *args: Any) -> None:
    try:
        method(*args)
    except Exception:
        name = getattr(method, "__name__", "a method")
        _log.exception("service %r failed in %s", attached.session.service, name)
