"""The client's end of a session: requests and their replies.

Before the reply to a request may come `busy` (the operation is still running) and `call` (the
server calls a function of ours). An event that leaves requests and replies out of step closes the
channel for good. The channel needs no sockets and starts no threads.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable
from typing import Any

from shm_echo.copying import Uncopyable
from shm_echo.errors import ConnectionClosedError, ProtocolError, RequestTimeoutError
from shm_echo.mechestim.errors import QuotaExceededError
from shm_echo.mechestim.remote.connection import error_decoding
from shm_echo.mechestim.remote.connection.arena import ClientArena, open_arena
from shm_echo.mechestim.remote.connection.frame_pipe import (
    FramePipe,
    PeerSilentError,
    receiving_descriptors,
)
from shm_echo.mechestim.remote.connection.pending_frees import PendingFrees
from shm_echo.mechestim.remote.connection.request_lock import RequestLock
from shm_echo.mechestim.remote.connection.session_options import ServerOptions, SessionOptions
from shm_echo.mechestim.remote.connection.value_codec import ClientValueCodec, ValueFactories

PEER_TIMEOUT_S = 30.0
# An interrupted operation may end within this time; then the session continues.
_AFTER_INTERRUPT_S = 5.0
# The server sends its reason before it closes the connection, so the wait for it is short.
_CLOSE_REASON_S = 2.0
# The objects that these operations make call the functions later.
_KEEP_CALLBACKS = frozenset({"vectorize", "frompyfunc"})
_ANY_SIZE = 1 << 32  # the length field of a frame has 32 bits
_FORKED = (
    "this session belongs to the parent process: arrays do not survive a fork. Make new ones in "
    "the child; the first operation that uses no array of the parent opens a session."
)


class Channel(Uncopyable):
    """A session with a mechestim server.

    Args:
        fd: The connection, after the handshake; the channel closes it.
        address: The server's address, for messages.
        factories: Make the values in the server's replies.
        peer_timeout: The server counts as gone after so many seconds of silence.
        has_socket_timeout: Reads and writes of the descriptor give up after that time themselves
            (`SO_RCVTIMEO`).
        arena: Memory that is shared with the server already.
        may_have_arena: The channel may ask the server for an arena when it first needs one.
        max_frame: The bytes of the longest message that the server takes; None if unknown.
    """

    _copying_advice = "it is the session of this process with its server"

    def __init__(
        self,
        fd: int,
        address: str,
        factories: ValueFactories,
        peer_timeout: float = PEER_TIMEOUT_S,
        has_socket_timeout: bool = False,
        arena: ClientArena | None = None,
        may_have_arena: bool = False,
        max_frame: int | None = None,
    ) -> None:
        self.address = address
        self.why_closed: str | None = None
        self.live: dict[int, weakref.ref[Any]] = {}  # the stand-ins of objects, by handle
        self.values = ClientValueCodec(self, factories)
        self._prepacked_classes = factories.prepacked_classes
        self._options = ServerOptions(self._request_locked)
        self._arena = arena
        self._may_have_arena = may_have_arena
        self._max_frame = max_frame or _ANY_SIZE
        self._pipe = FramePipe(fd, address, peer_timeout, has_socket_timeout)
        self._request_lock = RequestLock()
        self._last_id = self._last_answered = 0
        self._op = ""
        self._pending_frees = PendingFrees()
        _channels.add(self)

    # Objects of the server

    def free(self, handle: int, size: int) -> None:
        """Free an object: with the next request, or now if much is freed. Safe in `__del__`."""
        if self.why_closed is None:
            self.live.pop(handle, None)
            if self._pending_frees.add(handle, size):
                self._free_now()

    def _free_now(self) -> None:
        """Send the server the handles, unless a request is under way: the next one has them."""
        request_lock = self._request_lock
        if request_lock.is_owned():
            return
        try:
            if request_lock.try_acquire() and self.why_closed is None:
                self._request_locked("session.size")  # any request carries the handles
        except (ConnectionClosedError, ProtocolError, RequestTimeoutError):
            pass  # the next request raises it
        finally:
            # Not owned before, so owned now means acquired above, even if a signal handler's
            # exception came before the result of try_acquire() was used.
            if request_lock.is_owned():
                request_lock.release()

    def object(self, handle: int) -> Any:
        """Return the stand-in of the object with this handle; None if there is none.

        The server has just named the object again, so a pending free of it is cancelled.
        """
        reference = self.live.get(handle)
        if self._pending_frees.handles:
            self._pending_frees.cancel(handle)
        return None if reference is None else reference()

    def forget(self, number: int) -> None:
        """Let the server forget a budget, with the next request. Safe in `__del__`."""
        if self.why_closed is None:
            self._pending_frees.add_budget(number)

    # Requests

    def request(
        self,
        op: str,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        budget: int = 0,
        namespace: str | None = None,
        options: SessionOptions | None = None,
    ) -> Any:
        """Ask for an operation and wait for its result.

        Args:
            op: The name of the operation.
            args, kwargs: Its arguments.
            budget: The number of the budget that is charged.
            namespace: The namespace of the charge.
            options: The options under which the operation runs; None for those of the last one.

        Raises:
            QuotaExceededError: The request is too long for the server; nothing was sent.
            ConnectionClosedError: The server has gone, or this is a forked child.
            RequestTimeoutError: The server was silent for the time-out. The channel is closed.
            Exception: The operation raised it, or a class with the same name, on the server.
        """
        prepacked_classes = self._prepacked_classes
        packed = [
            (arg.ext or self.values.prepack(arg))
            if type(arg) in prepacked_classes and (arg.channel is self or arg.handle is None)
            else arg
            for arg in args
        ]
        message: dict[str, Any] = {"op": op, "a": packed, "b": budget}
        if kwargs:
            message["k"] = kwargs
        if namespace is not None:
            message["n"] = namespace
        request_lock = self._request_lock
        request_lock.check_not_owned()
        with request_lock.lock:
            if self.why_closed is not None:
                raise ConnectionClosedError(self.why_closed)
            if options is not None and options != self._options.sent:
                self._options.send_changes(options)
            reply, callback_error = self._exchange(message, op)
        # The lock is free from here on, because code of the user may run: filters and hooks of
        # warnings.
        if "w" in reply:
            error_decoding.issue_warnings(reply["w"])
        if "e" in reply:
            raise error_decoding.decode_error(reply["e"], callback_error)
        return reply.get("r")

    def _request_locked(
        self, op: str, args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Like `request`, for a caller that holds the lock; nothing is charged."""
        reply, _ = self._exchange({"op": op, "a": list(args), "k": kwargs or {}, "b": 0}, op)
        if "e" in reply:
            raise error_decoding.decode_error(reply["e"])
        return reply.get("r")

    def change_options(
        self, op: str, position: int, changes: dict[str, Any], options: SessionOptions
    ) -> dict[str, Any]:
        """Change options of the session: see `ServerOptions.change`."""
        self._request_lock.check_not_owned()
        with self._request_lock.lock:
            if self.why_closed is not None:
                raise ConnectionClosedError(self.why_closed)
            return self._options.change(op, position, changes, options)

    def request_descriptors(self, op: str) -> tuple[Any, list[int]]:
        """Like `request`, for a reply that brings descriptors: only over a Unix socket.

        Returns:
            The result, and the descriptors, which the caller closes.
        """
        with receiving_descriptors(self._pipe) as fds:
            try:
                return self.request(op), fds
            except BaseException:
                for fd in fds:
                    os.close(fd)
                raise

    @property
    def arena(self) -> ClientArena | None:
        """The memory that is shared with the server; None if there is none."""
        if self._arena is None and self._may_have_arena:
            self._may_have_arena = False
            self._arena = open_arena(self)
        return self._arena

    # One request, and the messages that belong to it; the caller holds the lock

    def _exchange(
        self, message: dict[str, Any], op: str
    ) -> tuple[dict[str, Any], BaseException | None]:
        """Send a request; return its reply, and the exception that a callback raised meanwhile."""
        self._last_id += 1
        number = message["id"] = self._last_id
        values = self.values
        self._pending_frees.move_to(message)
        try:
            payload, callbacks = self._pack(message)
        except BaseException:  # nothing was sent, so the next request carries the handles
            self._pending_frees.restore(message)
            raise
        self._op = op
        try:
            self._send(payload)
            reply, callback_error = self._receive_reply(number)
            if op in _KEEP_CALLBACKS and "r" in reply:
                reply["r"].callbacks, callbacks = callbacks, []
            return reply, callback_error
        except PeerSilentError:
            timeout = self._pipe.peer_timeout
            self._close(f"{self.address} was silent for {timeout:g} s")
            raise RequestTimeoutError(self.address, op, timeout) from None
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
                self._cancel(number)
            raise
        finally:
            if callbacks:
                values.drop_callbacks(callbacks)

    def _pack(self, message: dict[str, Any]) -> tuple[bytes, list[int]]:
        """Return the bytes of a message, and the numbers of the functions in it.

        Raises:
            QuotaExceededError: The message is longer than the server takes.
        """
        payload, callbacks = self.values.pack_message(message)
        if len(payload) > self._max_frame:
            self.values.drop_callbacks(callbacks)
            raise QuotaExceededError("max_frame", allowed=self._max_frame, wanted=len(payload))
        return payload, callbacks

    def _receive_reply(self, number: int) -> tuple[dict[str, Any], BaseException | None]:
        """Return the reply to request `number`; answer the server's calls until it comes."""
        callback_error: BaseException | None = None
        while True:
            message = self._receive()
            if message.get("id") == number:
                self._last_answered = number
                return message, callback_error
            if "call" in message:
                callback_error = self._answer_call(message) or callback_error
            elif "closed" in message:
                raise ConnectionClosedError(self._pipe.end_of_session(message["closed"]))
            elif "busy" not in message:
                raise ProtocolError(f"{self.address} sent a message that is not an answer")

    def _answer_call(self, message: dict[str, Any]) -> BaseException | None:
        """Run the function of ours that the server calls; return the exception that it raised."""
        call, op = message["call"], self._op
        raised: BaseException | None = None
        payload = None
        depth = self._request_lock.next_depth
        try:
            self._request_lock.release_for_callback(depth)
            function = self.values.callback(message.get("fn"))
            result = function(*message.get("a", ()), **message.get("k", {}))
        except BaseException as error:
            raised = error
        raised = self._request_lock.reacquire(depth) or raised
        self._op = op
        if self.why_closed is not None:  # a request inside the function closed the channel
            raise raised or ConnectionClosedError(self.why_closed)
        if raised is None:
            try:
                payload, callbacks = self._pack({"ret": call, "r": result})
                self.values.drop_callbacks(callbacks)
            except Exception as error:
                raised = error
        self._send(payload or self.values.pack({"ret": call, "e": True}))
        return raised

    def _cancel(self, number: int) -> None:
        """Cancel an interrupted request, and close the channel if the reply does not come soon.

        With the reply, requests and replies stay in step and the session continues.
        """
        if self.why_closed is not None or self._last_answered == number:
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

    def _receive(self, timeout: float | None = None) -> dict[str, Any]:
        message = self.values.unpack(self._pipe.receive(timeout))
        if type(message) is not dict:
            raise ProtocolError(f"{self.address} sent a message that is not a map")
        return message

    def _send(self, payload: bytes) -> None:
        try:
            self._pipe.send(payload)
        except BrokenPipeError:
            raise ConnectionClosedError(self._close_reason()) from None

    def _close_reason(self) -> str:
        """Read the reason that the server may have sent before it closed the connection."""
        try:
            while True:
                message = self._receive(_CLOSE_REASON_S)
                if "closed" in message:
                    return self._pipe.end_of_session(message["closed"])
        except (ConnectionClosedError, ProtocolError, PeerSilentError):
            return self._pipe.end_of_session()

    # The end

    def _close(self, why: str) -> None:
        if self.why_closed is None:
            self.why_closed = why
            self._pending_frees.clear()
            self._pipe.close()

    def close(self) -> None:
        """End the session: the server frees everything. Idempotent."""
        self._request_lock.check_not_owned()
        with self._request_lock.lock:
            self._close(f"the session with {self.address} was closed")

    def after_fork_in_child(self) -> None:
        """Close the child's copy: the session is the parent's."""
        self._request_lock = RequestLock()  # the thread that may hold it is not in the child
        self._arena = None
        self._close(_FORKED)


_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for channel in list(_channels):
        channel.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
