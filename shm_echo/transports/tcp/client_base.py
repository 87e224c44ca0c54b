"""The connection of a TcpClient: how it is made, lost and left. `client` adds the calls of users.

In the child of a fork the connection is the parent's, and every use raises: two processes must not
write into one stream. A client that was unpickled connects at its first use.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    HandshakeError,
    OtherServerError,
    RefusedError,
    SendTimeoutError,
)
from shm_echo.ring.core import Result, _core_cpython
from shm_echo.transports.tcp.client_connect import may_coalesce
from shm_echo.transports.tcp.client_control import RemoteSubscriber
from shm_echo.transports.tcp.client_opening import Entered, Opening, Wire, Wishes
from shm_echo.transports.tcp.client_target import watch_for_own_server, windows
from shm_echo.transports.tcp.payload_check import check_sample
from shm_echo.transports.tcp.reader_sender import ReaderSender
from shm_echo.transports.tcp.reconnect import Restorer
from shm_echo.transports.unattached import UNATTACHED, PickledUnattached
from shm_echo.transports.wait_until import WARN_AFTER

__all__ = ["ClientBase"]

_log = logging.getLogger("shm_echo")

_T = TypeVar("_T")

# Seconds until a lost control connection is opened again.
_PAUSE = 0.05

# What each process has of its own, beside what PickledUnattached knows.
_OF_THIS_PROCESS = frozenset(
    ("_instance", "_loss_told", "_opening", "_publishing", "_restorer", "wire")
)


class ClientBase(PickledUnattached):
    """A connection to a server, with the sender that writes into it.

    Args:
        wishes: what the client wants of the server, and says about itself.
        window: samples that may be sent and not acknowledged, see `windows`.
        same_kind: send arrays of other dtypes, too, as NumPy's casting rule of this name allows.
        reconnect: connect again after a loss, and send again what was not acknowledged.
    """

    # Without a default here: see ClientAttachment.
    _sender: _core_cpython.TcpSender | ReaderSender
    _subscriber: RemoteSubscriber | None
    # Until connected: __del__ also runs after a failed __init__.
    _ended = True

    def __init__(
        self, wishes: Wishes, window: int | None, *, same_kind: bool, reconnect: bool
    ) -> None:
        self._wishes = wishes
        self._peer = str(wishes.target)
        self._spec = wishes.spec
        self._window = window
        self._same_kind = same_kind
        self._reconnect = reconnect
        self._register()
        self._connect()
        self._ended = False

    def _register(self) -> None:
        # Re-entrant: a signal handler may close a client whose close() it interrupts.
        self._lock = threading.RLock()
        self._sender = UNATTACHED
        self._subscriber = None
        self._opening = Opening(self._wishes)
        self._restorer = Restorer(self)
        self._instance: bytes | None = None
        self._publishing = False
        self._loss_told = False
        self.wire: Wire | None = None

    # ---------------------------------------------------------------- connecting

    def _connect(self) -> None:
        if self._wishes.request.role == "reader":
            self._make_subscriber("reader").open()
            self.wire = "shm"
            self._publishing = True  # else the server would have refused
            self._sender = ReaderSender(self._peer)
            register_at_fork(self)
            return
        entered = self._opening.open()
        with entered.dialed:
            self._adopt(entered, self._make_sender(entered))

    def _make_sender(self, entered: Entered) -> _core_cpython.TcpSender:
        """Make the sender of a connection, which has a descriptor of its own."""
        spec = self._spec = entered.spec
        order = spec.optree_order
        # The wire of shm-echo has the leaves in their canonical order.
        permuted = entered.wire == "echo" and order != tuple(range(len(order)))
        if not spec.nbytes:
            raise ValueError(
                "the example has 0 bytes: a stream of such samples is empty, and the server could "
                "not count them"
            )
        raiser = _Raiser(self)
        with FORK_LOCK:
            try:
                sender = _core_cpython.TcpSender(
                    entered.dialed.sock.fileno(),
                    spec.leaf_table,
                    spec.plan,
                    spec.fast_flatten,
                    spec.unflatten,
                    partial(check_sample, spec, same_kind=self._same_kind),
                    raiser,
                    order if permuted else None,
                    *windows(self._window, spec.nbytes),
                    self._wishes.tls is None and may_coalesce(entered.dialed.sock, spec.nbytes),
                    entered.wire == "shm",
                    entered.queued,
                    self._reconnect,
                    self._same_kind,
                    round(self._wishes.target.dead_after * 1e9),
                    *watch_for_own_server(self._wishes.target),
                )
            except OSError:
                raise descriptor_limit_error(f"a connection to {self._peer}") from None
            _senders.add(sender)
        raiser.sender = weakref.ref(sender)
        return sender

    def _adopt(self, entered: Entered, sender: _core_cpython.TcpSender) -> None:
        """Begin to use the sender of a new connection."""
        self.wire = entered.wire
        self._instance = entered.instance
        self._publishing = entered.publishes
        if entered.wire == "shm" and self._subscriber is None:
            self._make_subscriber("control")
        self._sender = sender
        register_at_fork(self)

    def _make_subscriber(self, role: Any) -> RemoteSubscriber:
        wishes = self._wishes
        self._subscriber = RemoteSubscriber(
            self._opening.stream,
            self._opening.identity(),
            role=role,
            address=self._peer,
            publishes=wishes.publishes,
            spec=self._spec,
            connect_timeout=max(1.0, wishes.target.connect_timeout),
            reconnect=self._reconnect,
            instance_id=wishes.instance_id,
        )
        return self._subscriber

    def _ensure_connected(self) -> None:
        """Connect a client that has come out of a pickle."""
        with self._lock:
            self._require_open()
            if self._sender is UNATTACHED:
                self._connect()

    def _require_open(self) -> None:
        if self._ended:
            raise ConnectionClosedError(f"TcpClient for {self._peer} is closed")
        if self._sender.retired and self._sender is not UNATTACHED:
            self._raise_forked()

    def _recover(self, sender: Any, error: Exception, timeout: float | None) -> float | None:
        """Make a call possible that `sender` has refused; return what is left of its time-out.

        Raises:
            Exception: `error`, if the client is closed or does not reconnect.
            SendTimeoutError: the connection was not there again in time.
        """
        if sender is UNATTACHED:
            self._ensure_connected()
            return timeout
        if self._ended or not self._reconnect or not sender.lost:
            raise error
        return self._restorer.restore(sender, timeout)

    def _again(
        self, call: str, sender: Any, error: Exception, timeout: float | None, *args: Any
    ) -> None:
        """Repeat a call that the sender refused, once the connection is there, or raise `error`."""
        while True:
            timeout = self._recover(sender, error, timeout)
            sender = self._sender
            try:
                getattr(sender, call)(*args, timeout)
                return
            except (ForkedHandleError, ConnectionClosedError) as next_error:
                error = next_error

    def _wait_acked(self, timeout: float | None) -> None:
        sender = self._sender
        try:
            sender.wait(timeout)
        except (ForkedHandleError, ConnectionClosedError) as error:
            self._again("wait", sender, error, timeout)

    def _wait_taken(self, end: float | None) -> None:
        warned = False
        while True:
            sender = self._sender
            left = None if end is None else max(0.0, end - time.monotonic())
            first = not warned and (left is None or left > WARN_AFTER)
            try:
                self._require_subscriber(publishing=False).taken(
                    sender.first + sender.sent, WARN_AFTER if first else left
                )
                return
            except (RefusedError, OtherServerError):
                raise
            except (ConnectionClosedError, HandshakeError) as error:
                if not self._reconnect or self._ended:
                    raise
                if sender.look():
                    self._recover(sender, error, left)
                else:  # only the control connection was lost
                    time.sleep(_PAUSE)
            except TimeoutError:
                if not first:
                    raise
                warned = True
                _log.warning(
                    "wait() of %r has waited %.0f s: the learner has not taken all samples; a "
                    "batch that does not fill is taken by sample(partial=True)",
                    self,
                    WARN_AFTER,
                )

    def _ask(self, question: Callable[[RemoteSubscriber], _T]) -> _T:
        """Ask the server about what it publishes."""
        control = self._require_subscriber()
        try:
            return question(control)
        except HandshakeError as error:  # of the first control connection
            if not self._sender.look():
                raise
            raise ConnectionClosedError(f"the server of {self._peer} has gone: {error}") from None

    def _require_subscriber(self, publishing: bool = True) -> RemoteSubscriber:
        if self._sender is UNATTACHED:
            self._ensure_connected()
        self._require_open()
        if self._subscriber is None or (publishing and not self._publishing):
            raise RuntimeError(
                f"the server at {self._peer} publishes nothing: "
                'it speaks echo\'s wire; give its TcpTransport wire="shm"'
                if self.wire == "echo"
                else f"the server at {self._peer} publishes nothing: give its Server "
                "publishes=example"
            )
        return self._subscriber

    # ---------------------------------------------------------------- errors

    def _raise_forked(self) -> NoReturn:
        raise ForkedHandleError(
            f"this TcpClient for {self._peer} was created before the fork, and its connection is "
            "the parent's: make another one in the child"
        )

    def _raise_for_result(
        self, sender: _core_cpython.TcpSender, result: int, sent: int, timeout: float | None
    ) -> NoReturn:
        unacked = sender.sent - sender.acked
        if result == Result.TIMEOUT:
            what = f"TcpClient for {self._peer}: {unacked} samples in flight stayed unacknowledged"
            raise SendTimeoutError(timeout or 0.0, sent, what=what)
        if result == Result.STOPPED and sender.retired:
            self._raise_forked()
        if result == Result.STOPPED:
            raise ConnectionClosedError(f"TcpClient for {self._peer} is closed", sent, unacked)
        self._loss_told = not self._reconnect
        reason = os.strerror(sender.error) if sender.error else "the server closed it"
        lost = f"; {unacked} samples that were sent are not acknowledged" if unacked else ""
        raise ConnectionClosedError(
            f"TcpClient for {self._peer} connection lost: {reason}{lost}", sent, unacked
        )

    # ---------------------------------------------------------------- the end

    def _end(self, timeout: float | None) -> None:
        """Wait for the acknowledgements, and close the connection."""
        if self._reconnect and not self._ended and not self._sender.retired:
            timeout = self._wait_before_end(timeout)
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._restorer.stop()
        sender = self._sender
        if sender.retired:
            return
        unacked = sender.sent - sender.acked
        try:
            unacked = sender.finish(timeout)
        finally:  # after an interrupt, too
            sender.disconnect()
            if self._subscriber is not None:
                self._subscriber.close()
        if unacked and not self._loss_told:
            _log.warning(
                "TcpClient for %s closed with %d samples that the server has not acknowledged%s",
                self._peer,
                unacked,
                ": the connection was lost" if sender.lost else "",
            )

    def _wait_before_end(self, timeout: float | None) -> float | None:
        """Connect again if necessary, so that no sample is left; return the rest of the time."""
        began = time.monotonic()
        try:
            self._wait_acked(timeout)
        except Exception as error:  # the warning at the end says what was not acknowledged
            _log.debug("TcpClient for %s: %s", self._peer, error)
        except BaseException:
            self._end_at_once()
            raise
        return None if timeout is None else max(0.0, timeout - (time.monotonic() - began))

    def _end_at_once(self) -> None:
        with self._lock:
            was_open, self._ended = not self._ended, True
        self._restorer.stop()
        if was_open and not self._sender.retired:
            self._sender.disconnect()
            if self._subscriber is not None:
                self._subscriber.close()

    # ---------------------------------------------------------------- forks and pickles

    def after_fork_in_child(self) -> None:
        """Note that the connection is the parent's. `_senders` has closed this process's copy."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if isinstance(self._sender, ReaderSender):
            self._sender.retire()
        if self._subscriber is not None:
            self._subscriber.after_fork_in_child()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _OF_THIS_PROCESS}


class _Senders:
    """The senders of this process. A forked child closes its copies of their sockets."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[_core_cpython.TcpSender] = weakref.WeakSet()

    def add(self, sender: _core_cpython.TcpSender) -> None:
        self._all.add(sender)
        register_at_fork(self)

    def after_fork_in_child(self) -> None:
        for sender in list(self._all):
            sender.retire()
        self._all.clear()


_senders = _Senders()


class _Raiser:
    """Raises the error for a result of a sender.

    It refers to both weakly: otherwise client and sender would keep each other, and the connection
    open, until the garbage collector runs.
    """

    def __init__(self, client: ClientBase) -> None:
        self._client = weakref.ref(client)
        self._peer = client._peer
        self.sender: Any = None

    def __call__(self, result: int, sent: int, timeout: float | None) -> None:
        client, sender = self._client(), self.sender()
        if client is None or sender is None:
            raise ConnectionClosedError(f"TcpClient for {self._peer} is closed", sent)
        client._raise_for_result(sender, result, sent, timeout)
