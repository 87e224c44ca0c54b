"""A session: one client's arrays, budgets and random state, and the loop that serves it.

In a process of its own a session blocks on its socket; in a pool, one thread or another serves it
one step at a time. It ends when the socket closes, and frees everything that it owns. When it ends
for another reason, the last message to the client gives it: `{"closed": text}`.
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
from shm_echo.mechestim.accounting.active_account import active_view
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
_MAX_CALLBACK_DEPTH = 32  # each level of nested callbacks takes a part of the thread's stack
_MAX_REASON_CHARS = 500  # the message must be short: the socket takes it in one piece
_FIXMAP = 0x80  # msgpack: a map of up to 15 keys begins with this plus their number
_SHORT_MESSAGE_BYTES = 1 << 14  # a longer message takes a while to decode
# The service sends busy messages only for requests that have run for longer than this.
_SOLE_WRITER_S = 0.5


def closed_message(reason: str) -> bytes:
    """Return the last message of a session that ends before its client does."""
    payload: bytes = msgpack.packb({"closed": reason[:_MAX_REASON_CHARS]})
    return payload


@dataclass
class SessionEnvironment:
    """The objects that a session's host provides.

    Attributes:
        ceiling: The ceiling of its principal.
        stats: The session's statistics.
        lock: Guards the writing side of the socket.
        slot: The session's slot at the scheduler.
        weights: Factors of costs, by operation, applied when the ceiling is charged.
    """

    ceiling: Ceiling
    stats: StatsPage = field(default_factory=StatsPage)
    lock: WriteLock = field(default_factory=threading.Lock)
    slot: SchedulerSlot = field(default_factory=SchedulerSlot)
    weights: Mapping[str, float] = field(default_factory=dict)


class Session:
    """Serves one client on a connected socket until it ends.

    Args:
        sock: The connection, in blocking mode. The session closes it.
        quotas: The limits of the session.
        environment: The objects that the host provides.

    Attributes:
        objects: The client's objects.
        budgets: The client's budgets.
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
        self._dispatcher.arena.can_pass_fds = sock.family == socket.AF_UNIX

    # The loop ----

    def run(self) -> None:
        """Serve until the client has gone, and close the socket. Raises no exception."""
        self.begin()
        try:
            while self._serve_next(self._stream.receive):
                pass
        finally:
            self.finish()

    def begin(self) -> None:
        """Begin the session of a welcomed client."""
        self._stats.begin_session()
        warning_capture.install()
        self._collect_warnings([])

    def step(self) -> bool:
        """Serve one message, if one has come. Raises no exception.

        Returns:
            True if the session continues; otherwise the caller calls `finish`.
        """
        return self._serve_next(self._stream.receive_nowait)

    @property
    def pending(self) -> bool:
        """Return True if a message is buffered, so that the socket may not be readable."""
        return self._stream.pending

    def finish(self) -> None:
        """Release everything that the session owns, and close the socket."""
        active_view.set(None)
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
        """Receive a message and serve it. Return True if the session continues."""
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
            self._send_closed("the server failed; its log says why", True)
        return False

    def _send_closed(self, reason: str, notify_client: bool) -> None:
        """Log the reason of the end; send it to the client if that can receive it."""
        _log.debug("a mechestim session has ended: %s", reason)
        if notify_client:
            with contextlib.suppress(OSError, SessionEndedError):
                self._stream.send(closed_message(reason))

    def end(self, reason: str) -> None:
        """End the session: at once if it waits, otherwise after the running operation.

        Idempotent. Any thread and any signal handler may call it.
        """
        if self._end_reason is None:
            self._end_reason = reason
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)

    # Requests ----

    def _serve(self, request: dict[str, Any]) -> None:
        """Answer one request; ignore a message that needs no answer."""
        number = request.get("id")
        if type(number) is not int:
            if "cancel" in request:  # of an operation that has been answered by now
                return
            raise ProtocolError("a message has no id")
        deferred = self._codec.deferred_error
        caught = self._warnings
        began = self._stats.begin_request()
        objects = self.objects
        first_sent: int | None = None
        try:
            if "f" in request or "fb" in request:
                self._free(request)
            if deferred is not None:
                raise deferred
            result = self._perform(request)
            first_sent = objects.next_number
            if caught:
                payload = self._pack({"id": number, "r": result}, caught)
            else:
                payload = self._codec.pack_answer(number, result)
        except (SessionEndedError, ConnectionError):
            raise
        except BaseException as error:
            if first_sent is not None:  # the client never receives the handles of this answer
                objects.free(range(first_sent, objects.next_number))
            payload = self._pack({"id": number, "e": error_encoding.encode_error(error)}, caught)
        finally:
            self._slot.demote()  # only now: packing a long list of numbers is long work, too
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
        return self._dispatcher.perform(name, args, kwargs, self._codec.has_big_integers)

    def _collect_warnings(self, caught: list[Any]) -> None:
        """Collect the warnings of the current request in a list."""
        self._warnings = caught
        warning_capture.collect_into(caught)

    def _bind_view(self, view: AccountView) -> None:
        """Charge all operations of this context to a view from now on."""
        if view is not self._view:
            active_view.set(view)
            self._view = view

    # Callbacks ----

    def _callback_function(self, number: int) -> Callable[..., Any]:
        """Return a function that calls a function of the client, on the client's side."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call_client(number, args, kwargs)

        call.__name__ = "callback"
        return call

    def _call_client(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the client call its function, and serve the requests that this function makes."""
        if self._depth >= _MAX_CALLBACK_DEPTH:
            raise RecursionError(f"callbacks nest more than {_MAX_CALLBACK_DEPTH} deep")
        self._depth += 1
        self._call_count += 1
        call = self._call_count
        view, caught = self._view, self._warnings
        was_long, reacquire = self._slot.is_long, self._slot.acquire_short
        self._slot.step_down()
        self._stats.mark_idle()  # the client computes
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
                    deferred = self._codec.deferred_error
                    if deferred is not None:
                        raise deferred
                    if "e" in message:
                        raise error_encoding.CallbackError
                    if was_long:  # NumPy continues the long operation with the returned value
                        reacquire = self._slot.promote_to_long
                    return message.get("r")
                self._serve(message)
        finally:
            self._depth -= 1
            if view is not None:
                self._bind_view(view)
            self._collect_warnings(caught)
            self._stats.mark_running()
            reacquire()

    def _decode(self, payload: bytes) -> dict[str, Any]:
        """Decode a message, and acquire a slot for the work on it."""
        if len(payload) <= _SHORT_MESSAGE_BYTES:
            self._slot.acquire_short()
            message = self._codec.unpack(payload)
        else:  # decoding a million items takes a while: other sessions must not wait for it
            self._slot.step_down()
            message = self._codec.unpack(payload)
            self._slot.acquire_short()
        if type(message) is not dict:
            raise ProtocolError("a message is malformed: it is not a map")
        if payload[0] != _FIXMAP + len(message):  # msgpack drops repeated keys without an error
            raise ProtocolError("a message is malformed: it has the same key twice, or too many")
        return message
