"""The shared-memory transport, producer side.

A client compares its example with the server's before it maps the ring, and checks every sample
against the example before it claims a slot. `shm_echo.ring` implements the sends. This module has
the connection, the error messages and the behaviour across a fork.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from shm_echo.control.client.client_connection import ClientConnection
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    HandshakeError,
    RequestError,
    RingCorruptedError,
    SendTimeoutError,
)
from shm_echo.ring.broadcast import Subscriber
from shm_echo.ring.core import Result, _core_cpython
from shm_echo.spec import TreeSpec
from shm_echo.transports.attach import attach
from shm_echo.transports.full_ring_warning import BLOCKED_AFTER, FullRingWarning
from shm_echo.transports.slot import Slot
from shm_echo.transports.unattached import UNATTACHED, PickledUnattached

__all__ = ["ShmClient"]

_log = logging.getLogger("shm_echo")


class ShmClient(PickledUnattached):
    """A producer: sends samples into the ring of a server on this host.

    `send`, `send_batch`, `reserve`, `wait`, `latest`, `wait_for` and `close` may be
    called from several threads at once. In the child of a fork, an inherited client attaches again
    on its first use; so does a client that was pickled, wherever it is unpickled.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, ShmClient, ShmTransport
        >>> example = {"x": np.zeros(2, np.float32)}
        >>> with Server(example, 2, ShmTransport("client-example")) as server:
        ...     with ShmClient("client-example", example) as client:  # usually in another process
        ...         for i in range(2):
        ...             client.send({"x": np.full(2, i, np.float32)})
        ...     server.sample().batch["x"].tolist()
        [[0.0, 0.0], [1.0, 1.0]]

    Args:
        address: the server's name or `ipc:///path.sock`, as given to its ShmTransport.
        example: a sample; its structure, shapes and dtypes must be those of the server's example.
        connect_timeout: seconds to wait for a server that is not up yet; 0 fails at once.
        publishes: an example of the published values, which must be like the server's; None
            accepts the server's.
        server_uid: another user whose server is trusted, beside this user; the server must allow
            this user (`ShmTransport(allow_uids=...)`).
        cast: "same_kind" also takes arrays of other dtypes that NumPy's rule of this name casts,
            such as float64 for float32 or int for float, but not float for int. By that rule, an
            integer out of range wraps around and a float becomes infinite. "exact" takes no other
            dtype, but for numbers at 0-d leaves (see `send`).

    Raises:
        SpecMismatchError: the example is not the server's; the message names the leaf.
        HandshakeError: the server cannot be attached to; its subclasses give the reason, such as
            ServerNotFoundError or PeerRefusedError.
        MemoryError: this process may map no more memory.
        DescriptorLimitError: this process may open no more files.
        TypeError: the example has a leaf that is not an array.
        ValueError: `cast` is unknown.
    """

    # Until attached: __del__ also runs after a failed __init__, and a fork may come in between.
    _closed = True
    _sender: _core_cpython.Sender = UNATTACHED

    def __init__(
        self,
        address: str,
        example: Any,
        connect_timeout: float = 0.0,
        *,
        publishes: Any = None,
        server_uid: int | None = None,
        cast: Literal["exact", "same_kind"] = "exact",
    ) -> None:
        if cast not in ("exact", "same_kind"):
            raise ValueError(f"cast must be 'exact' or 'same_kind', not {cast!r}")
        self._same_kind = cast == "same_kind"
        self._connect_timeout = connect_timeout
        self.address = address
        self._server_uid = server_uid
        self._spec = TreeSpec.from_example(example)
        self._publishes = None if publishes is None else TreeSpec.from_example(publishes)
        self._register()
        self._attach(connect_timeout)
        self._closed = False

    def _register(self) -> None:
        # Re-entrant: a signal handler may close a client whose close() it interrupts.
        self._lock = threading.RLock()
        _clients.add(self)

    def _attach(self, connect_timeout: float) -> None:
        connection, ring, owner, subscriber = attach(
            self.address, self._spec, self._publishes, connect_timeout, self._server_uid
        )
        try:
            self._sender = ring.sender(
                owner,
                _make_raise_for_result(self),
                connection.pidfd,
                same_kind=self._same_kind,
                watch=FullRingWarning(ring, self.address),
                watch_after=BLOCKED_AFTER,
            )
        except BaseException:
            connection.goodbye(timeout=1.0)
            raise
        self._ring = ring
        self._owner = owner
        self._subscriber = subscriber
        self._connection: ClientConnection = connection
        self.server_pid = connection.peer.pid

    # ---------------------------------------------------------------- sending

    def send(self, data: Any, timeout: float | None = None) -> None:
        """Copy one sample into the ring, waiting for room.

        Args:
            data: a tree like the example. A 0-d leaf of numbers takes a Python number, a NumPy
                scalar or a 0-d array, if that loses neither the kind (float to int) nor the value's
                range; it may be rounded.
            timeout: seconds to wait for room; None waits as long as the server lives.

        Raises:
            SpecMismatchError: the sample differs from the example; nothing was sent.
            SendTimeoutError: the ring stayed full.
            ConnectionClosedError: this client is closed, or the server has gone.
        """
        try:
            self._sender.send(data, timeout)
        except ForkedHandleError:
            self._reattach()
            self._sender.send(data, timeout)

    def send_batch(self, data: Any, timeout: float | None = None) -> int:
        """Copy N samples into the ring, in order, waiting for room, and return N.

        Samples of other producers may come between them. The attribute `sent` of an exception is
        the number of samples sent before it, which are the first ones.

        Args:
            data: a tree like the example, each leaf with one more leading axis of length N.
            timeout: seconds for the whole call; None waits as long as the server lives.

        Raises:
            SpecMismatchError: a leaf differs from the example, or has another N than the first
                leaf; nothing was sent.
            SendTimeoutError: the ring stayed full.
            ConnectionClosedError: this client is closed, or the server has gone.
        """
        try:
            return self._sender.send_batch(data, timeout)
        except ForkedHandleError:
            self._reattach()
            return self._sender.send_batch(data, timeout)

    def reserve(self, timeout: float | None = None) -> Slot:
        """Claim a slot to write a sample in place, without a copy.

        Use it in a `with` statement: its end commits the sample, an exception aborts it. Until
        then the batch that the slot belongs to cannot be delivered. The arrays hold the former
        content of the memory: write every element, or replace the array in the tree, which the
        commit then checks and copies as `send` does.

        Raises:
            SendTimeoutError: the ring stayed full.
            ConnectionClosedError: this client is closed, or the server has gone.
        """
        try:
            return self._sender.reserve(timeout)
        except ForkedHandleError:
            self._reattach()
            return self._sender.reserve(timeout)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until every sample that was sent has been handed to the learner.

        A sample in a batch that does not fill is handed out with a partial batch only.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client was closed, or the server has gone, before.
        """
        try:
            self._sender.wait(timeout)
        except SendTimeoutError:
            raise TimeoutError(
                f"not every sample was handed to the learner within {timeout:g} s"
            ) from None
        except ForkedHandleError:
            self._reattach()  # a new producer, which has sent no sample yet

    # ---------------------------------------------------------------- receiving

    def latest(self, timeout: float = 5.0, *, writable: bool = False) -> tuple[int, Any] | None:
        """Return the newest published (version, value), or None before the first.

        All arrays are of one version, and read-only, in a tree of the caller's own. Until the next
        version, later calls return the same arrays in another tree: no payload is copied. The
        newest value stays readable when the server has gone.

        Args:
            timeout: seconds after which to give up if the server publishes faster than this process
                can copy.
            writable: return a private, writable copy, made anew at each call.

        Raises:
            TimeoutError: the server overtook every copy for `timeout` seconds.
            ConnectionClosedError: this client is closed.
            RuntimeError: the server publishes nothing.
        """
        return self._require_subscriber().latest(timeout, writable)

    def wait_for(self, version: int, timeout: float | None = None) -> int:
        """Block until the server has published `version` or a newer one; return the newest.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client is closed, or the server has gone.
            RuntimeError: the server publishes nothing.
        """
        return self._require_subscriber().wait_for(version, timeout)

    def _require_subscriber(self) -> Subscriber:
        if self._sender.retired:
            self._reattach()
        if self._closed:
            raise ConnectionClosedError(f"the client of {self.address} is closed")
        if self._subscriber is None:
            raise RuntimeError(
                f"the server at {self.address} publishes nothing: give its Server publishes=example"
            )
        return self._subscriber

    # ---------------------------------------------------------------- the end

    @property
    def closed(self) -> bool:
        """Return True if `close` was called."""
        return self._closed

    def close(self) -> None:
        """Leave the ring. Samples that were sent stay sent; blocked calls of this client raise.

        Reserved slots may still be committed; the server counts this client as attached until the
        last one has ended. Later calls do nothing.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._sender.retired:
            return
        if self._subscriber is not None:
            self._subscriber.close()
        self._sender.leave(self._disconnect)

    def _disconnect(self) -> None:
        try:
            self._connection.goodbye(timeout=1.0)
        finally:  # after an interrupt, too
            self._connection.close()

    def __enter__(self) -> ShmClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed and not self._sender.retired:
            try:
                warnings.warn(
                    f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self
                )
            finally:  # where warnings are errors, too
                self.close()

    def __repr__(self) -> str:
        return f"<ShmClient of {self.address}{', closed' if self._closed else ''}>"

    # ---------------------------------------------------------------- errors and forks

    def _raise_for_result(self, result: int, sent: int, timeout: float | None) -> None:
        if result == Result.TIMEOUT:
            lent, buffers = self._ring.lent, self._ring.config.num_buffers
            raise SendTimeoutError(timeout or 0.0, sent, lent, buffers)
        if result == Result.STOPPED and self._sender.retired and not self._closed:
            raise ForkedHandleError(
                f"this client of {self.address} was created before the fork, and so was the slot"
            )
        if result == Result.STOPPED:
            raise ConnectionClosedError(f"the client of {self.address} is closed", sent)
        if result == Result.CORRUPTED:
            slot = self._sender.lost_slot
            raise RingCorruptedError(
                f"slot {slot} was overwritten by another program, and its sample was not sent",
                slot=slot,
                sent=sent,
            )
        if result in (Result.CLOSED, Result.REVOKED) and self._may_send():
            return  # a stray write has hit the word; the server has put it right
        if result == Result.CLOSED:
            raise ConnectionClosedError(f"the server of {self.address} has closed the ring", sent)
        if result == Result.GONE:
            raise ConnectionClosedError(
                f"the server of {self.address} (pid {self.server_pid}) has gone", sent
            )
        raise ConnectionClosedError(
            f"the server of {self.address} has detached this client: its connection broke", sent
        )

    def _may_send(self) -> bool:
        """Ask the server whether this client may send, against what the shared memory says."""
        try:
            reply, descriptors = self._connection.request("standing", {})
        except (HandshakeError, ConnectionError, TimeoutError, RequestError, OSError):
            return False
        for fd in descriptors:
            os.close(fd)
        return reply.get("may_send") is True

    def _reattach(self) -> None:
        """Attach again in the child of a fork, or for the first time after a pickle."""
        with self._lock:
            if self._closed:
                raise ConnectionClosedError(f"the client of {self.address} is closed")
            if not self._sender.retired:
                return  # another thread has attached already
            if self._sender is UNATTACHED:
                self._attach(self._connect_timeout)
                return
            try:
                self._attach(0.0)
            except Exception as error:
                raise ForkedHandleError(
                    f"this client of {self.address} was created before the fork, and attaching "
                    f"again failed: {error}"
                ) from error

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if self._sender is not UNATTACHED:
            self._sender.retire()  # even if closed: a slot may be open still
            self._connection.abandon()


def _make_raise_for_result(client: ShmClient) -> Callable[[int, int, float | None], None]:
    """Make the function with which the sender raises the error for a result of the C core.

    It refers to the client weakly. Otherwise client and sender would refer to each other, and keep
    the memory mapped until the garbage collector runs.
    """
    reference = weakref.ref(client)
    address = client.address

    def raise_for_result(result: int, sent: int, timeout: float | None) -> None:
        owner = reference()
        if owner is None:
            raise ConnectionClosedError(f"the client of {address} is closed", sent)
        owner._raise_for_result(result, sent, timeout)

    return raise_for_result


_clients: weakref.WeakSet[ShmClient] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
