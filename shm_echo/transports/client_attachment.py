"""The attachment of a client to its server, made when it is constructed and again after a fork.

In the child of a fork, claims and connection belong to the parent: a client that was inherited
attaches again on its first use there.
"""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace

from shm_echo.control.client.client_connection import ClientConnection
from shm_echo.control.protocol.ring_requests import AttachRequest
from shm_echo.errors import ConnectionClosedError, ForkedHandleError, HandshakeTimeoutError
from shm_echo.ring.broadcast import Subscriber
from shm_echo.ring.core import _core_cpython
from shm_echo.ring.ring import Ring
from shm_echo.spec import TreeSpec
from shm_echo.transports.attach import attach, attach_reader
from shm_echo.transports.no_sender import NoSender
from shm_echo.transports.send_results import make_raise_for_result
from shm_echo.transports.slot import Slot

__all__ = ["ClientAttachment"]


class ClientAttachment:
    """The connection of a client, with what it has mapped. `ShmClient` adds the calls of users."""

    _connection: ClientConnection
    _ring: Ring
    _sender: _core_cpython.Sender | NoSender
    _subscriber: Subscriber | None
    _closed = True  # until attached: __del__ also runs after a failed __init__

    def __init__(
        self,
        address: str,
        spec: TreeSpec | None,
        publishes: TreeSpec | None,
        connect_timeout: float,
        server_uid: int | None,
        request: AttachRequest,
    ) -> None:
        self.address = address
        self.role = request.role
        self._spec = spec
        self._publishes = publishes
        self._connect_timeout = connect_timeout
        self._server_uid = server_uid
        self._request = request
        # Re-entrant: a signal handler may close a client whose close() it interrupts.
        self._lock = threading.RLock()
        self._slots: weakref.WeakSet[Slot] = weakref.WeakSet()
        self._attach()
        self._closed = False
        _clients.add(self)

    def _attach(self) -> None:
        arguments = (
            self.address,
            self._spec,
            self._publishes,
            self._connect_timeout,
            self._server_uid,
            self._request,
        )
        if self.role == "reader":
            self._connection, self._subscriber = attach_reader(*arguments)
            self._sender = NoSender(self.address)
            self.server_pid = self._connection.peer.pid
            return
        connection, ring, owner, subscriber = attach(*arguments)
        try:
            self._sender = ring.sender(owner, make_raise_for_result(self), connection.pidfd)
        except BaseException:
            connection.goodbye(timeout=1.0)
            raise
        self._ring, self._spec = ring, ring.spec
        self._owner = owner
        self._subscriber = subscriber
        self._connection = connection
        self.server_pid = connection.peer.pid

    @property
    def inherited(self) -> bool:
        """Return True in the child of a fork, until the first use attaches the client again."""
        return not self._closed and self._sender.retired

    def _reattach(self) -> None:
        """Attach again, in the child of a fork: claims and connection belong to the parent."""
        with self._lock:
            if self._closed:
                raise ConnectionClosedError(f"the client of {self.address} is closed")
            if not self._sender.retired:
                return  # another thread has attached already
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
        # The id names the parent's producer. A child that used it would not be counted.
        self._request = replace(self._request, producer_id=None)
        if not self._closed:
            self._sender.retire()
            for slot in list(self._slots):
                slot.freeze()  # only the parent may write the memory
            self._slots = weakref.WeakSet()
            self._connection.abandon()


_clients: weakref.WeakSet[ClientAttachment] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
