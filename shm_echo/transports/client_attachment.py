"""The attachment of a client to its server: at its construction, after a fork, after a pickle.

In the child of a fork, claims and connection belong to the parent: a client that was inherited
attaches again on its first use there. One that was unpickled attaches on its first use.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace

from shm_echo.control.client.client_connection import ClientConnection
from shm_echo.control.protocol.ring_requests import AttachRequest
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    HandshakeError,
    HandshakeTimeoutError,
    RequestError,
    RingCorruptedError,
    SendTimeoutError,
)
from shm_echo.ring.broadcast import Subscriber
from shm_echo.ring.core import Result, _core_cpython
from shm_echo.ring.ring import RaiseForResult, Ring
from shm_echo.spec import TreeSpec
from shm_echo.transports.attach import attach, attach_reader
from shm_echo.transports.full_ring_warning import BLOCKED_AFTER, FullRingWarning
from shm_echo.transports.no_sender import NoSender
from shm_echo.transports.unattached import UNATTACHED, PickledUnattached

__all__ = ["ClientAttachment"]


class ClientAttachment(PickledUnattached):
    """The connection of a client, with what it has mapped. `ShmClient` adds the calls of users.

    Args:
        address: the address of the server.
        spec: the spec of the samples; None takes the server's.
        publishes: the spec of the published values; None accepts the server's.
        connect_timeout: seconds to wait for the server, at each attachment.
        server_uid: another user whose server is trusted, beside this user.
        request: what the client says about itself.
        instance_id: the server that must answer, at each attachment; None takes any.
        same_kind: send arrays of other dtypes, too, as NumPy's casting rule of this name allows.
    """

    _connection: ClientConnection
    _ring: Ring
    _subscriber: Subscriber | None
    _server_pid: int
    # Until attached: __del__ also runs after a failed __init__, and a fork may come in between.
    _closed = True
    # CLOSED or REVOKED, once the server has confirmed it or the connection has ended.
    _ended_by: int | None = None
    # Without a default here: CPython would not specialize the look-up of the instance's attribute,
    # and each send would take 20 ns more.
    _sender: _core_cpython.Sender | NoSender

    def __init__(
        self,
        address: str,
        spec: TreeSpec | None,
        publishes: TreeSpec | None,
        connect_timeout: float,
        server_uid: int | None,
        request: AttachRequest,
        instance_id: bytes | None = None,
        *,
        same_kind: bool,
    ) -> None:
        self.address = address
        self.role = request.role
        self._spec = spec
        self._publishes = publishes
        self._connect_timeout = connect_timeout
        self._server_uid = server_uid
        self._request = request
        self._instance_id = instance_id
        self._same_kind = same_kind
        self._register()
        self._attach()
        self._closed = False

    def _register(self) -> None:
        # Re-entrant: a signal handler may close a client whose close() it interrupts.
        self._lock = threading.RLock()
        self._sender = UNATTACHED  # a fork may come before it is attached
        _clients.add(self)

    def _attach(self) -> None:
        arguments = (
            self.address,
            self._spec,
            self._publishes,
            self._connect_timeout,
            self._server_uid,
            self._request,
            self._instance_id,
        )
        self._ended_by = None
        # The sender comes last: other threads look at it to see if the client is attached.
        if self.role == "reader":
            self._connection, self._subscriber = attach_reader(*arguments)
            self._server_pid = self._connection.peer.pid
            self._sender = NoSender(self.address)
            return
        connection, ring, owner, subscriber = attach(*arguments)
        try:
            sender = ring.sender(
                owner,
                _make_raise_for_result(self),
                connection.pidfd,
                same_kind=self._same_kind,
                watch=FullRingWarning(ring, self.address, connection.info.get("instance_id")),
                watch_after=BLOCKED_AFTER,
            )
        except BaseException:
            connection.goodbye(timeout=1.0)
            raise
        self._ring, self._spec = ring, ring.spec
        self._owner = owner
        self._subscriber = subscriber
        self._connection = connection
        self._server_pid = connection.peer.pid
        self._sender = sender

    @property
    def server_pid(self) -> int:
        """The process that serves there. A client that was unpickled attaches to learn it.

        Raises:
            ConnectionClosedError: the client was closed before it attached.
            HandshakeError: the server cannot be attached to.
        """
        if self._sender is UNATTACHED:
            self._reattach()
        return self._server_pid

    # ---------------------------------------------------------------- errors

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
            assert not isinstance(self._sender, NoSender)
            slot = self._sender.lost_slot
            raise RingCorruptedError(
                f"slot {slot} was overwritten by another program, and its sample was not sent",
                slot=slot,
                sent=sent,
            )
        if result in (Result.CLOSED, Result.REVOKED):
            if self._may_send():
                return  # a stray write has hit the word; the server has put it right
            self._ended_by = result
        elif result == Result.GONE and self._ended_by is not None:
            result = self._ended_by  # the pidfd was closed with the connection
        if result == Result.CLOSED:
            raise ConnectionClosedError(f"the server of {self.address} has closed the ring", sent)
        if result == Result.GONE:
            raise ConnectionClosedError(
                f"the server of {self.address} (pid {self._server_pid}) has gone", sent
            )
        raise ConnectionClosedError(
            f"the server of {self.address} has detached this client: its connection broke", sent
        )

    def _may_send(self) -> bool:
        """Ask the server whether this client may send, against what the shared memory says."""
        if self._ended_by is not None or self._connection.loss_reason() is not None:
            return False
        try:
            reply, descriptors = self._connection.request("standing", {})
        except (HandshakeError, ConnectionError, TimeoutError, RequestError, OSError):
            return False
        for fd in descriptors:
            os.close(fd)
        return reply.get("may_send") is True

    # ---------------------------------------------------------------- forks and pickles

    def _reattach(self) -> None:
        """Attach again in the child of a fork, or for the first time after a pickle."""
        with self._lock:
            if self._closed:
                raise ConnectionClosedError(f"the client of {self.address} is closed")
            if not self._sender.retired:
                return  # another thread has attached already
            if self._sender is UNATTACHED:
                self._attach()
                return
            try:
                self._attach()
            except HandshakeTimeoutError:
                raise  # the server is only busy: the next use tries again
            except Exception as error:
                raise ForkedHandleError(
                    f"this client of {self.address} was created before the fork, and attaching "
                    f"again failed: {error}"
                ) from error

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may have held it
        if self._sender is not UNATTACHED:
            # The id names the parent's producer. A child that used it would not be counted.
            self._request = replace(self._request, producer_id=None)
            self._sender.retire()  # even if closed: a slot may be open still
            self._connection.abandon()


def _make_raise_for_result(client: ClientAttachment) -> RaiseForResult:
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


_clients: weakref.WeakSet[ClientAttachment] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
