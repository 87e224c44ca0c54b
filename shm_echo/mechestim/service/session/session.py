"""One client: its arrays, its budgets, its random state, and the loop that serves it.

In a process of its own a session blocks on its socket; on the threads of a pool it is served a step
at a time, by one thread or another. It ends when the socket closes, and everything it owned is
freed with it. When it ends for another reason, the last message to the client says which:
`{"closed": text}`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from shm_echo.errors import ProtocolError
from shm_echo.mechestim.accounting.account import AccountView
from shm_echo.mechestim.accounting.active_account import frame_now
from shm_echo.mechestim.service.metering.budgets import Budgets
from shm_echo.mechestim.service.metering.flop_ceiling import Ceiling, SessionLedger
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.metering.stats_page import StatsPage
from shm_echo.mechestim.service.objects.handle_table import HandleTable
from shm_echo.mechestim.service.objects.value_codec import SessionValueCodec
from shm_echo.mechestim.service.operations.dispatch import Dispatcher
from shm_echo.mechestim.service.scheduling.scheduler import SchedulerSlot
from shm_echo.mechestim.service.session import error_encoding, warning_capture
from shm_echo.mechestim.service.session.frame_stream import (
    FrameStream,
    SessionEndedError,
    WriteLock,
)

__all__ = ["BUSY", "Session", "SessionEnvironment", "closed_message"]

_log = logging.getLogger("shm_echo.mechestim")

BUSY: bytes = msgpack.packb({"busy": True})
_MAX_CALLBACK_DEPTH = 32  # callbacks inside of callbacks
_MAX_REASON_CHARS = 500
_FIXMAP = 0x80
_SHORT_MESSAGE_BYTES = 1 << 14  # bytes of a message
_SOLE_WRITER_S = 0.5  # within this time the service itself has nothing to say to the client


def closed_message(reason: str) -> bytes:
    """Return the last message of a session that ends before its client does."""
    payload: bytes = msgpack.packb({"closed": reason[:_MAX_REASON_CHARS]})
    return payload


@dataclass
class SessionEnvironment:
    """What a session is given by the thread or process that runs it.

    Attributes:
        ceiling: what its principal may spend.
        stats: where it shows what it does.
        lock: of the writing side of its socket.
        slot: its environment at the scheduler.
        weights: what prices are multiplied by when they are taken from the ceiling.
    """

    ceiling: Ceiling
    stats: StatsPage = field(default_factory=StatsPage)
    lock: WriteLock = field(default_factory=threading.Lock)
    slot: SchedulerSlot = field(default_factory=SchedulerSlot)
    weights: Mapping[str, float] = field(default_factory=dict)


class Session:
    """Serves one client on a connected socket until it ends.

    Args:
        sock: the connection, in blocking mode; the session closes it.
        quotas: what the client may use.
        environment: what the session works with.
    """

    def __init__(
        self, sock: socket.socket, quotas: Quotas, environment: SessionEnvironment
    ) -> None:
        self._sock = sock
        self._stats = environment.stats
        self._slot = environment.slot
        self._ledger = SessionLedger(
            environment.ceiling, environment.stats, environment.weights, environment.slot
        )
        self._stream = FrameStream(
            sock,
            quotas.max_frame,
            quotas.stall_s,
            environment.stats,
            environment.lock,
            environment.slot,
        )
        self._depth = 0
        self._call_count = 0
        self._end_reason: str | None = None
        self._view: AccountView | None = None
        self._warnings: list[Any] = []
        self._sole_writer_ns = int(min(_SOLE_WRITER_S, quotas.busy_s / 2) * 1e9)
        self.objects = HandleTable(quotas)
        self.budgets = Budgets(quotas, self._ledger)
        self._codec = SessionValueCodec(self.objects, self._callback_function)
        self._dispatcher = Dispatcher(self.objects, self.budgets, quotas, environment.slot)
        self._dispatcher.arena.possible = sock.family == socket.AF_UNIX

    # The loop

    def run(self) -> None:
        """Serve until the client is gone. Raises nothing; the socket is closed afterwards."""
        self.begin()
        try:
            while self._serve_next(self._stream.receive):
                pass
        finally:
            self.finish()

    def begin(self) -> None:
        """The client has been welcomed."""
        self._stats.begin_session()
        warning_capture.install()
        self._collect_warnings([])

    def step(self) -> bool:
        """Serve what has come, if anything has. Raises nothing.

        Returns:
            Whether the session goes on; otherwise ``finish`` is due.
        """
        return self._serve_next(self._stream.receive_nowait)

    @property
    def pending(self) -> bool:
        """There is more to serve, although the socket may not be readable."""
        return self._stream.pending

    def finish(self) -> None:
        """Let go of everything, and close the socket."""
        frame_now.set(None)
        warning_capture.collect_into(None)
        self._slot.step_down()
        self._stats.mark_idle()
        self._dispatcher.arena.close()
        self.objects.clear()
        self.budgets.close()
        self._ledger.close()
        self._stats.record_holdings(0, 0, 0)
        self._sock.close()

    def _serve_next(self, receive: Callable[[], bytes | None]) -> bool:
        """Receive a message and serve it; whether the session goes on."""
        try:
            payload = receive()
            if self._end_reason is not None:
                raise SessionEndedError(self._end_reason)
            if payload is not None:
                self._serve(self._decode(payload))
            return True
        except SessionEndedError as error:
            self._send_closed(
                self._end_reason or str(error), error.notify_client or self._end_reason is not None
            )
        except ProtocolError as error:
            self._send_closed(str(error), True)
        except OSError as error:
            self._send_closed(f"it has lost its client: {error}", False)
        except Exception as error:
            error_encoding.log_failure("internal error in a mechestim session", error)
            self._send_closed("the server failed; its log says reason", True)
        return False

    def _send_closed(self, reason: str, notify_client: bool) -> None:
        """The last words."""
        _log.debug("a mechestim session has ended: %s", reason)
        if notify_client:
            with contextlib.suppress(OSError, SessionEndedError):
                self._stream.send(closed_message(reason))

    def end(self, reason: str) -> None:
        """Have the session end: at once if it waits, else after the operation that runs.

        Idempotent; any thread and any signal handler may call it.
        """
        if self._end_reason is None:
            self._end_reason = reason
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)

    # Requests

    def _serve(self, request: dict[str, Any]) -> None:
        """Answer one request, or pass over a word that asks for nothing."""
        number = request.get("id")
        if type(number) is not int:
            if "cancel" in request:  # for an operation that has been answered by now
                return
            raise ProtocolError("a message has no id")
        problem = self._codec.problem
        caught = self._warnings
        began = self._stats.begin_request()
        objects = self.objects
        first_sent: int | None = None
        try:
            if "f" in request or "fb" in request:
                self._free(request)
            if problem is not None:
                raise problem
            result = self._perform(request)
            first_sent = objects.next_number
            if caught:
                payload = self._pack({"id": number, "r": result}, caught)
            else:
                payload = self._codec.pack_answer(number, result)
        except (SessionEndedError, ConnectionError):
            raise
        except BaseException as error:
            if first_sent is not None:  # the answer did not fit: the client learns no number of it
                objects.free(range(first_sent, objects.next_number))
            payload = self._pack({"id": number, "e": error_encoding.encode_error(error)}, caught)
        finally:
            self._slot.demote()  # not before: a long list of numbers takes a while to be packed
            self._ledger.commit()
            took = self._stats.end_request(len(objects), objects.bytes, len(self.budgets)) - began
            caught.clear()
        self._stream.send(payload, self._dispatcher.take_fds(), took < self._sole_writer_ns)

    def _free(self, request: dict[str, Any]) -> None:
        freed, forgotten = request.get("f"), request.get("fb")
        if type(freed) is list:
            self.objects.free(freed)
        if type(forgotten) is list:
            self.budgets.forget(forgotten)

    def _pack(self, reply: dict[str, Any], caught: list[Any]) -> bytes:
        if caught:
            reply["w"] = [error_encoding.encode_error(warning) for warning in caught]
        return self._codec.pack(reply)

    def _perform(self, request: dict[str, Any]) -> Any:
        name, args, kwargs = request.get("op"), request.get("a", []), request.get("k", {})
        if type(name) is not str or type(args) is not list or type(kwargs) is not dict:
            raise ProtocolError("a request needs an op (text), a (a list) and k (a map)")
        self._bind_view(self.budgets.view(request.get("b", 0), request.get("n")))
        return self._dispatcher.perform(name, args, kwargs, self._codec.long_numbers)

    def _collect_warnings(self, caught: list[Any]) -> None:
        """The warnings of the request that is served now go there."""
        self._warnings = caught
        warning_capture.collect_into(caught)

    def _bind_view(self, view: AccountView) -> None:
        """Whatever is done in this context from now on is charged to ``view``."""
        if view is not self._view:
            frame_now.set(view)
            self._view = view

    # Callbacks

    def _callback_function(self, number: int) -> Callable[..., Any]:
        """The function that stands for one of the client's: calls it over there."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call_client(number, args, kwargs)

        call.__name__ = "callback"
        return call

    def _call_client(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have the client call its function; serve what that asks for in the meantime."""
        if self._depth >= _MAX_CALLBACK_DEPTH:
            raise RecursionError(f"callbacks nest more than {_MAX_CALLBACK_DEPTH} deep")
        self._depth += 1
        self._call_count += 1
        call = self._call_count
        frame, caught = self._view, self._warnings
        was_long, reacquire = self._slot.is_long, self._slot.acquire_short
        self._slot.step_down()
        self._stats.mark_idle()  # the time is the client's
        self._collect_warnings([])
        try:
            payload = self._codec.pack({"call": call, "fn": number, "a": list(args), "k": kwargs})
            self._stream.send(payload)
            while True:
                self._slot.step_down()
                message = self._decode(self._stream.receive())
                if self._end_reason is not None:
                    raise SessionEndedError(self._end_reason)
                if message.get("ret") == call:
                    problem = self._codec.problem
                    if problem is not None:
                        raise problem
                    if "e" in message:
                        raise error_encoding.CallbackError
                    if was_long:  # and is so still: NumPy goes on with what the client has given
                        reacquire = self._slot.promote_to_long
                    return message.get("r")
                self._serve(message)
        finally:
            self._depth -= 1
            if frame is not None:
                self._bind_view(frame)
            self._collect_warnings(caught)
            self._stats.mark_running()
            reacquire()

    def _decode(self, payload: bytes) -> dict[str, Any]:
        """What a message says, and a environment among those who work: one at a time can anyway."""
        if len(payload) <= _SHORT_MESSAGE_BYTES:
            self._slot.acquire_short()
            message = self._codec.unpack(payload)
        else:  # reading a million items takes a while, and is nobody else's affair
            self._slot.step_down()
            message = self._codec.unpack(payload)
            self._slot.acquire_short()
        if type(message) is not dict:
            raise ProtocolError("a message is malformed: it is not a map")
        if payload[0] != _FIXMAP + len(message):  # one byte tells of up to 15 keys
            raise ProtocolError("a message is malformed: it has the same key twice, or too many")
        return message
