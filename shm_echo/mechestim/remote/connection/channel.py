"""The client's end of a session: requests and their answers.

A request is answered by its reply; before that may come ``busy`` (the operation is still running)
and ``call`` (a function of ours is wanted). Whatever leaves question and answer out of step closes
the channel for good. Needs no sockets, and starts no threads.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any

from shm_echo.errors import ConnectionClosedError, ProtocolError, RequestTimeoutError
from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.remote.connection import error_decoding, session_options
from shm_echo.mechestim.remote.connection.arena import ClientArena, asked_for
from shm_echo.mechestim.remote.connection.frame_pipe import FramePipe, PeerSilentError
from shm_echo.mechestim.remote.connection.pending_frees import drained, keep
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.connection.value_codec import ClientValueCodec

SILENCE_S = 30.0
_AFTER_INTERRUPT_S = 5.0
ARRAYS: set[type] = set()  # the classes of arrays, whose form in a message is known beforehand
_KEEP_CALLBACKS = frozenset({"vectorize", "frompyfunc"})  # what they make calls them later
_LAST_WORDS_S = 2.0
_ANY_SIZE = 1 << 32  # what a frame can announce
_MANY_BYTES = 8 << 20  # of arrays that are given up at once instead of with the next request
_FORKED = (
    "this session belongs to the parent process: arrays do not survive a fork. Make new ones in "
    "the child; the first operation that uses no array of the parent opens a session."
)


class Channel:
    """A session with a mechestim server.

    Args:
        fd: the connection, after the handshake; the channel closes it.
        address: for messages.
        silence: seconds without a word from the server after which it counts as gone.
        timed: the descriptor itself gives up after that time (``SO_RCVTIMEO``).
        arena: memory that is shared with the server already.
        may_have_arena: the server can be asked for some when it is wanted.
        max_frame: bytes of the longest message that the server takes; None if that is not known.
    """

    def __init__(
        self,
        fd: int,
        address: str,
        silence: float = SILENCE_S,
        timed: bool = False,
        arena: ClientArena | None = None,
        may_have_arena: bool = False,
        max_frame: int | None = None,
    ) -> None:
        self.address = address
        self.why_closed: str | None = None
        self.told = session_options.FRESH  # what the server knows of what is wanted
        self.first_printing: dict[str, Any] | None = None  # the server's own print options
        self.live: dict[int, weakref.ref[Any]] = {}  # what stands for an object, by its number
        self.values = ClientValueCodec(self)
        self._arena = arena
        self._may_have_arena = may_have_arena
        self._max_frame = max_frame or _ANY_SIZE
        self._pipe = FramePipe(fd, address, silence, timed)
        self._turns = RequestLock()
        self._last_id = self._answered = 0
        self._op = ""
        self._freed: deque[int] = deque()  # appended to by __del__, which may run anywhere
        self._freed_bytes = 0
        self._forgotten: deque[int] = deque()  # budgets, likewise
        _channels.add(self)

    # For arrays

    def free(self, number: int, size: int) -> None:
        """Give an object up: with the next request, or now if it is large. Safe in ``__del__``."""
        if self.why_closed is None:
            self.live.pop(number, None)
            self._freed.append(number)
            self._freed_bytes += size
            if self._freed_bytes > _MANY_BYTES:
                self._free_now()

    def _free_now(self) -> None:
        """Tell the server what was freed, unless a request is under way: that will do as well."""
        turns = self._turns
        if turns.is_mine():
            return
        try:
            if turns.take_if_free() and self.why_closed is None:
                self.say("session.size")
        except (ConnectionClosedError, ProtocolError, RequestTimeoutError):
            pass  # the next request says it
        finally:
            if turns.is_mine():  # it was not before: an interrupted taking counts
                turns.give()

    def object(self, number: int) -> Any:
        """What stands for the server's object with this number; None if nothing does.

        An object that was to be given up, and that the server has named again, is kept.
        """
        reference = self.live.get(number)
        if self._freed:
            keep(self._freed, number)
        return None if reference is None else reference()

    def forget(self, number: int) -> None:
        """Give a budget up; only notes it. Safe in ``__del__``."""
        if self.why_closed is None:
            self._forgotten.append(number)

    # Requests

    def request(
        self,
        op: str,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        budget: int = 0,
        namespace: str | None = None,
        wanted: session_options.SessionOptions | None = None,
    ) -> Any:
        """Ask for an operation and wait for its result.

        Args:
            op: its name.
            args, kwargs: its arguments.
            budget: the number of the budget that is charged.
            namespace: under which it is booked.
            wanted: what the server must know before, see ``context``.

        Raises:
            QuotaExceededError: the request is too long for the server; nothing was sent.
            ConnectionClosedError: the server has gone, or this is a forked child.
            RequestTimeoutError: no word came for the time of silence. The channel is closed.
            Exception: what the operation raised over there, as the class of the same name.
        """
        own = [
            (arg.ext or self.values.ext_of(arg))
            if type(arg) in ARRAYS and (arg.channel is self or arg.handle is None)
            else arg
            for arg in args
        ]
        message: dict[str, Any] = {"op": op, "a": own, "b": budget}
        if kwargs:
            message["k"] = kwargs
        if namespace is not None:
            message["n"] = namespace
        turns = self._turns
        turns.check()
        with turns.lock:
            if self.why_closed is not None:
                raise ConnectionClosedError(self.why_closed)
            if wanted is not None and wanted != self.told:
                session_options.tell(self, wanted)
            reply, raised = self._exchange(message, op)
        # From here on, code of the user's may run: filters and hooks of warnings.
        if "w" in reply:
            error_decoding.warn(reply["w"])
        if "e" in reply:
            raise error_decoding.rebuilt(reply["e"], raised)
        return reply.get("r")

    def say(self, op: str, args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """A request within a turn."""
        reply, _ = self._exchange({"op": op, "a": list(args), "k": kwargs or {}, "b": 0}, op)
        if "e" in reply:
            raise error_decoding.rebuilt(reply["e"])
        return reply.get("r")

    def change(
        self, op: str, part: int, options: dict[str, Any], now: session_options.SessionOptions
    ) -> dict[str, Any]:
        """Change options of the session, see ``session.changed``."""
        self._turns.check()
        with self._turns.lock:
            if self.why_closed is not None:
                raise ConnectionClosedError(self.why_closed)
            session_options.tell(self, now)
            before = self.say(op, (), options)
            if op == "session.print_options" and self.first_printing is None:
                self.first_printing = before
            found: dict[str, Any] = self.say(op)
            self.told = (*now[:part], found, *now[part + 1 :])
            return found

    def request_descriptors(self, op: str) -> tuple[Any, list[int]]:
        """Like ``request``, for an answer that brings descriptors: only over a Unix socket.

        Returns:
            The result, and the descriptors, which are the caller's to close.
        """
        from shm_echo.mechestim.remote.connection.connect import reading_descriptors

        with reading_descriptors(self._pipe) as fds:
            try:
                return self.request(op), fds
            except BaseException:
                for fd in fds:
                    os.close(fd)
                raise

    @property
    def arena(self) -> ClientArena | None:
        """Memory shared with the server; None where there is none."""
        if self._arena is None and self._may_have_arena:
            self._may_have_arena = False
            self._arena = asked_for(self)
        return self._arena

    # One request and what belongs to it; the turn is ours

    def _exchange(
        self, message: dict[str, Any], op: str
    ) -> tuple[dict[str, Any], BaseException | None]:
        """Send a request; its reply, and what a function of ours has raised meanwhile."""
        self._last_id += 1
        number = message["id"] = self._last_id
        values = self.values
        freed = forgotten = None
        if self._freed:
            freed = message["f"] = drained(self._freed)
            self._freed_bytes = 0
        if self._forgotten:
            forgotten = message["fb"] = drained(self._forgotten)
        try:
            payload, callbacks = self._packed(message)
        except BaseException:  # nothing has been sent
            self._freed.extend(freed or ())
            self._forgotten.extend(forgotten or ())
            raise
        self._op = op
        try:
            self._send(payload)
            reply, raised = self._reply_to(number)
            if op in _KEEP_CALLBACKS and "r" in reply:
                reply["r"].callbacks, callbacks = callbacks, []
            return reply, raised
        except PeerSilentError:
            silence = self._pipe.silence
            self._close(f"{self.address} gave no sign for {silence:g} s")
            raise RequestTimeoutError(self.address, op, silence) from None
        except (ConnectionClosedError, ProtocolError) as error:
            self._close(str(error))
            raise
        except BaseException:
            if self._pipe.sending:
                self._close(
                    f"the session with {self.address} is closed: it was interrupted while a "
                    "request was being sent"
                )
            else:
                self._abandon(number)
            raise
        finally:
            if callbacks:
                values.drop_callbacks(callbacks)

    def _packed(self, message: dict[str, Any]) -> tuple[bytes, list[int]]:
        """The bytes of a message, and the numbers of the functions that went into it.

        Raises:
            QuotaExceededError: it is longer than the server takes: that would end the session.
        """
        payload, callbacks = self.values.pack_message(message)
        if len(payload) > self._max_frame:
            self.values.drop_callbacks(callbacks)
            raise QuotaExceededError("max_frame", allowed=self._max_frame, wanted=len(payload))
        return payload, callbacks

    def _reply_to(self, number: int) -> tuple[dict[str, Any], BaseException | None]:
        """The reply to request ``number``; calls of the server are answered on the way."""
        raised: BaseException | None = None
        while True:
            message = self._receive()
            if message.get("id") == number:
                self._answered = number
                return message, raised
            if "call" in message:
                raised = self._called(message) or raised
            elif "closed" in message:
                raise ConnectionClosedError(self._pipe.ended(message["closed"]))
            elif "busy" not in message:
                raise ProtocolError(f"{self.address} sent a message that is no answer")

    def _called(self, message: dict[str, Any]) -> BaseException | None:
        """The server wants a function of ours; what that raised."""
        call, op = message["call"], self._op
        raised: BaseException | None = None
        payload = None
        depth = self._turns.next_depth
        try:
            self._turns.lend(depth)
            function = self.values.callback(message.get("fn"))
            result = function(*message.get("a", ()), **message.get("k", {}))
        except BaseException as error:
            raised = error
        raised = self._turns.take_back(depth) or raised
        self._op = op
        if self.why_closed is not None:  # by a request inside of the function
            raise raised or ConnectionClosedError(self.why_closed)
        if raised is None:
            try:
                payload, callbacks = self._packed({"ret": call, "r": result})
                self.values.drop_callbacks(callbacks)
            except Exception as error:
                raised = error
        self._send(payload or self.values.pack({"ret": call, "e": True}))
        return raised

    def _abandon(self, number: int) -> None:
        """Ctrl-C: wait a moment for the answer, so that the session stays in step, or close."""
        if self.why_closed is not None or self._answered == number:
            return
        deadline = time.monotonic() + _AFTER_INTERRUPT_S
        try:
            self._send(self.values.pack({"cancel": number}))
            while True:
                message = self._receive(deadline - time.monotonic())
                if message.get("id") == number:
                    return
                if "call" in message:
                    self._send(self.values.pack({"ret": message["call"], "e": True}))
        except BaseException:
            self._close(
                f"the session with {self.address} is closed: it was interrupted in the middle "
                "of an operation that did not end in time"
            )

    def _receive(self, within: float | None = None) -> dict[str, Any]:
        message = self.values.unpack(self._pipe.receive(within))
        if type(message) is not dict:
            raise ProtocolError(f"{self.address} sent a message that is not a map")
        return message

    def _send(self, payload: bytes) -> None:
        try:
            self._pipe.send(payload)
        except BrokenPipeError:
            raise ConnectionClosedError(self._last_words()) from None

    def _last_words(self) -> str:
        """The server has closed the connection; it may have said why."""
        try:
            while True:
                message = self._receive(_LAST_WORDS_S)
                if "closed" in message:
                    return self._pipe.ended(message["closed"])
        except (ConnectionClosedError, ProtocolError, PeerSilentError):
            return self._pipe.ended()

    # The end

    def _close(self, why: str) -> None:
        if self.why_closed is None:
            self.why_closed = why
            self._freed.clear()
            self._forgotten.clear()
            self._pipe.close()

    def close(self) -> None:
        """End the session: the server frees everything. Idempotent."""
        self._turns.check()
        with self._turns.lock:
            self._close(f"the session with {self.address} was closed")

    def leave_behind(self) -> None:
        """In a forked child: the session is the parent's."""
        self._turns = RequestLock()  # the thread that had the turn is not here
        self._arena = None
        self._close(_FORKED)


_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _in_child() -> None:
    for channel in list(_channels):
        channel.leave_behind()


os.register_at_fork(after_in_child=_in_child)
