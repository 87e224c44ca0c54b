"""The targets of the fuzzers: functions of bytes that raise if they find an error.

Errors are: an exception other than the one for bad bytes, an internal error in a session's log, a
count that went down, objects that a session has not released. The targets need no fuzzer: the
ordinary tests call them, too.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import socket
import warnings
from collections.abc import Callable
from typing import Any

from shm_echo.control.protocol.codec import Codec
from shm_echo.control.protocol.frames import FrameDecoder
from shm_echo.control.protocol.messages import parse
from shm_echo.errors import ProtocolError
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.value_codec import SessionValueCodec
from shm_echo.mechestim.service.session import warning_capture
from shm_echo.mechestim.service.session.session import Session, SessionEnvironment
from shm_echo.mechestim.wire import Wire
from tests.fuzz.tcp_handshakes import handshakes

__all__ = ["TARGETS", "codec", "session", "values"]

MIB = 1 << 20
QUOTAS = Quotas(
    max_handles=64,
    max_bytes=8 * MIB,
    max_call_bytes=8 * MIB,
    max_frame=1 << 16,
    stall_s=0.2,
)
CEILING = 10**7

_codec = Codec()
_plain = Wire(lambda value: None, {})


def codec(data: bytes) -> None:
    """Frames and control messages: whole and byte by byte, and both the same way."""
    assert _read_frames([data]) == _read_frames([data[i : i + 1] for i in range(len(data))])
    with contextlib.suppress(ProtocolError):
        parse(_codec.decode(data))


def _read_frames(parts: list[bytes]) -> list[Any]:
    frames, found = FrameDecoder(1 << 16), []
    try:
        for part in parts:
            frames.feed(part)
            while (payload := frames.next_frame()) is not None:
                try:
                    found.append(repr(parse(_codec.decode(payload))))
                except ProtocolError as error:
                    found.append(str(error))
    except ProtocolError as error:
        found.append(str(error))
    return found


def values(data: bytes) -> None:
    """Read bytes as values of mechestim: a value, a note about a wrong one, or a protocol error."""
    objects = HandleTable(QUOTAS)
    session = SessionValueCodec(objects, lambda number: number)
    for read in (_plain.unpack, session.unpack):
        with contextlib.suppress(ProtocolError):
            read(data)
    assert session.deferred_error is None or isinstance(session.deferred_error, Exception)
    assert (len(objects), objects.bytes) == (0, 0), "reading made objects"


class _Watched(Ceiling):
    """A ceiling that checks that the spent FLOPs only grow, up to its limit.

    It keeps an error in ``wrong`` instead of raising it: a session would send the exception to its
    client.
    """

    seen = 0
    wrong = ""

    def check(self, cost: int = 0) -> None:
        """Check the counts after a change."""
        spent, reserved = self.spent, self.reserved
        if spent < self.seen:
            self.wrong = f"a count went down: {self.seen} to {spent}"
        if min(reserved, cost) < 0 or spent + reserved > CEILING:
            self.wrong = f"{cost} more, and there are {spent} and {reserved} of {CEILING}"
        self.seen = spent

    def reserve(self, name: str, cost: int) -> None:
        super().reserve(name, cost)
        self.check(cost)

    def charge(self, name: str, cost: int) -> None:
        super().charge(name, cost)
        self.check(cost)

    def release(self, cost: int) -> None:
        super().release(cost)
        self.check()

    def commit(self, cost: int) -> None:
        super().commit(cost)
        self.check()


class _Errors(logging.Handler):
    """Keeps the first error that a session logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record

    def check(self) -> None:
        """Raise AssertionError if an error was logged since the last check."""
        first, self.first = self.first, None
        if first is None:
            return
        cause = first.exc_info[1] if isinstance(first.exc_info, tuple) else None
        raise AssertionError(f"the session logged: {first.getMessage()}") from cause


_errors = _Errors()


def session(data: bytes) -> None:
    """Serve a session from its first frame to the end of its client, which sends `data` at once."""
    contextvars.copy_context().run(_one_session, data)


def _one_session(data: bytes) -> None:
    log = logging.getLogger("shm_echo.mechestim")
    if _errors not in log.handlers:
        log.addHandler(_errors)
        log.propagate = False
        warning_capture.install()
    ours, theirs = socket.socketpair()
    ceiling = _Watched(CEILING)
    environment = SessionEnvironment(ceiling)
    with theirs, warnings.catch_warnings():
        warnings.simplefilter("always")
        one = Session(ours, QUOTAS, environment)
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            theirs.send(data[: 1 << 16])
        theirs.shutdown(socket.SHUT_WR)
        one.run()
    _errors.check()
    assert not ceiling.wrong, ceiling.wrong
    assert ceiling.reserved == 0, f"{ceiling.reserved} FLOPs stay promised"
    assert ceiling.spent == environment.stats.flops, "the stats and the ceiling differ"
    assert (len(one.objects), one.objects.bytes) == (0, 0), "objects are left"
    assert ours.fileno() == -1, "the socket is open"
    environment.stats.close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "codec": codec,
    "values": values,
    "handshakes": handshakes,
    "session": session,
}
