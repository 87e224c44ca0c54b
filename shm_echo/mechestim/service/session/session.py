"""One client: its arrays, its budgets, its random state, and the loop that serves it.

In a process of its own a session blocks on its socket; on the threads of a crew it is served a step
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
    SlotGuard,
)

__all__ = ["BUSY", "Session", "SessionEnvironment", "closed_message"]

_log = logging.getLogger("shm_echo.mechestim")

BUSY: bytes = msgpack.packb({"busy": True})
_DEEPEST = 32  # callbacks inside of callbacks
_LONGEST_REASON = 500
_SHORT_MAP = 0x80
_QUICKLY_READ = 1 << 14  # bytes of a message
_PROMPT_S = 0.5  # within this time the service itself has nothing to say to the client


def closed_message(why: str) -> bytes:
    """Return the last message of a session that ends before its client does."""
    payload: bytes = msgpack.packb({"closed": why[:_LONGEST_REASON]})
    return payload


@dataclass
class SessionEnvironment:
    """What a session is given by the thread or process that runs it.

    Attributes:
        ceiling: what its principal may spend.
        board: where it shows what it does.
        lock: of the writing side of its socket.
        turn: its place at the gate.
        weights: what prices are multiplied by when they are taken from the ceiling.
    """

    ceiling: Ceiling
    board: StatsPage = field(default_factory=StatsPage)
    lock: SlotGuard = field(default_factory=threading.Lock)
    turn: SchedulerSlot = field(default_factory=SchedulerSlot)
    weights: Mapping[str, float] = field(default_factory=dict)


class Session:
    """Serves one client on a connected socket until it ends.

    Args:
        sock: the connection, in blocking mode; the session closes it.
        quotas: what the client may use.
        place: what the session works with.
    """

    def __init__(self, sock: socket.socket, quotas: Quotas, place: SessionEnvironment) -> None:
        self._sock = sock
        self._board = place.board
        self._turn = place.turn
        self._purse = SessionLedger(place.ceiling, place.board, place.weights, place.turn)
        self._stream = FrameStream(
            sock, quotas.max_frame, quotas.stall_s, place.board, place.lock, place.turn
        )
        self._depth = 0
        self._calls = 0
        self._ending: str | None = None
        self._frame: AccountView | None = None
        self._caught: list[Any] = []
        self._prompt_ns = int(min(_PROMPT_S, quotas.busy_s / 2) * 1e9)
        self.objects = HandleTable(quotas)
        self.budgets = Budgets(quotas, self._purse)
        self._values = SessionValueCodec(self.objects, self._callback)
        self._operations = Dispatcher(self.objects, self.budgets, quotas, place.turn)
        self._operations.arena.possible = sock.family == socket.AF_UNIX

    # The loop

    def run(self) -> None:
        """Serve until the client is gone. Raises nothing; the socket is closed afterwards."""
        self.begin()
        try:
            while self._served(self._stream.receive):
                pass
        finally:
            self.finish()

    def begin(self) -> None:
        """The client has been welcomed."""
        self._board.open()
        warning_capture.install()
        self._collect([])

    def step(self) -> bool:
        """Serve what has come, if anything has. Raises nothing.

        Returns:
            Whether the session goes on; otherwise ``finish`` is due.
        """
        return self._served(self._stream.take)

    @property
    def pending(self) -> bool:
        """There is more to serve, although the socket may not be readable."""
        return self._stream.pending

    def finish(self) -> None:
        """Let go of everything, and close the socket."""
        frame_now.set(None)
        warning_capture.collect(None)
        self._turn.end()
        self._board.idle()
        self._operations.arena.close()
        self.objects.clear()
        self.budgets.close()
        self._purse.close()
        self._board.note(0, 0, 0)
        self._sock.close()

    def _served(self, receive: Callable[[], bytes | None]) -> bool:
        """Receive a message and serve it; whether the session goes on."""
        try:
            payload = receive()
            if self._ending is not None:
                raise SessionEndedError(self._ending)
            if payload is not None:
                self._serve(self._read(payload))
            return True
        except SessionEndedError as error:
            self._part(self._ending or str(error), error.tell or self._ending is not None)
        except ProtocolError as error:
            self._part(str(error), True)
        except OSError as error:
            self._part(f"it has lost its client: {error}", False)
        except Exception as error:
            error_encoding.log_failure("internal error in a mechestim session", error)
            self._part("the server failed; its log says why", True)
        return False

    def _part(self, why: str, tell: bool) -> None:
        """The last words."""
        _log.debug("a mechestim session has ended: %s", why)
        if tell:
            with contextlib.suppress(OSError, SessionEndedError):
                self._stream.send(closed_message(why))

    def end(self, why: str) -> None:
        """Have the session end: at once if it waits, else after the operation that runs.

        Idempotent; any thread and any signal handler may call it.
        """
        if self._ending is None:
            self._ending = why
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
        problem = self._values.problem
        caught = self._caught
        began = self._board.begin()
        objects = self.objects
        first_sent: int | None = None
        try:
            if "f" in request or "fb" in request:
                self._forget(request)
            if problem is not None:
                raise problem
            result = self._perform(request)
            first_sent = objects.next_number
            if caught:
                payload = self._packed({"id": number, "r": result}, caught)
            else:
                payload = self._values.pack_answer(number, result)
        except (SessionEndedError, ConnectionError):
            raise
        except BaseException as error:
            if first_sent is not None:  # the answer did not fit: the client learns no number of it
                objects.free(range(first_sent, objects.next_number))
            payload = self._packed({"id": number, "e": error_encoding.described(error)}, caught)
        finally:
            self._turn.light()  # not before: a long list of numbers takes a while to be packed
            self._purse.settle()
            took = self._board.end(len(objects), objects.bytes, len(self.budgets)) - began
            caught.clear()
        self._stream.send(payload, self._operations.take_fds(), took < self._prompt_ns)

    def _forget(self, request: dict[str, Any]) -> None:
        freed, forgotten = request.get("f"), request.get("fb")
        if type(freed) is list:
            self.objects.free(freed)
        if type(forgotten) is list:
            self.budgets.forget_all(forgotten)

    def _packed(self, reply: dict[str, Any], caught: list[Any]) -> bytes:
        if caught:
            reply["w"] = [error_encoding.described(warning) for warning in caught]
        return self._values.pack(reply)

    def _perform(self, request: dict[str, Any]) -> Any:
        name, args, kwargs = request.get("op"), request.get("a", []), request.get("k", {})
        if type(name) is not str or type(args) is not list or type(kwargs) is not dict:
            raise ProtocolError("a request needs an op (text), a (a list) and k (a map)")
        self._charge(self.budgets.frame(request.get("b", 0), request.get("n")))
        return self._operations.perform(name, args, kwargs, self._values.long_numbers)

    def _collect(self, caught: list[Any]) -> None:
        """The warnings of the request that is served now go there."""
        self._caught = caught
        warning_capture.collect(caught)

    def _charge(self, frame: AccountView) -> None:
        """Whatever is done in this context from now on is charged to ``frame``."""
        if frame is not self._frame:
            frame_now.set(frame)
            self._frame = frame

    # Callbacks

    def _callback(self, number: int) -> Callable[..., Any]:
        """The function that stands for one of the client's: calls it over there."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call_client(number, args, kwargs)

        call.__name__ = "callback"
        return call

    def _call_client(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have the client call its function; serve what that asks for in the meantime."""
        if self._depth >= _DEEPEST:
            raise RecursionError(f"callbacks nest more than {_DEEPEST} deep")
        self._depth += 1
        self._calls += 1
        call = self._calls
        frame, caught = self._frame, self._caught
        was_long, go_on = self._turn.long, self._turn.begin
        self._turn.end()
        self._board.idle()  # the time is the client's
        self._collect([])
        try:
            payload = self._values.pack({"call": call, "fn": number, "a": list(args), "k": kwargs})
            self._stream.send(payload)
            while True:
                self._turn.end()
                message = self._read(self._stream.receive())
                if self._ending is not None:
                    raise SessionEndedError(self._ending)
                if message.get("ret") == call:
                    problem = self._values.problem
                    if problem is not None:
                        raise problem
                    if "e" in message:
                        raise error_encoding.CallbackError
                    if was_long:  # and is so still: NumPy goes on with what the client has given
                        go_on = self._turn.heavy
                    return message.get("r")
                self._serve(message)
        finally:
            self._depth -= 1
            if frame is not None:
                self._charge(frame)
            self._collect(caught)
            self._board.resume()
            go_on()

    def _read(self, payload: bytes) -> dict[str, Any]:
        """What a message says, and a place among those who work: one at a time can anyway."""
        if len(payload) <= _QUICKLY_READ:
            self._turn.begin()
            message = self._values.unpack(payload)
        else:  # reading a million items takes a while, and is nobody else's affair
            self._turn.end()
            message = self._values.unpack(payload)
            self._turn.begin()
        if type(message) is not dict:
            raise ProtocolError("a message is malformed: it is not a map")
        if payload[0] != _SHORT_MAP + len(message):  # one byte tells of up to 15 keys
            raise ProtocolError("a message is malformed: it has the same key twice, or too many")
        return message
