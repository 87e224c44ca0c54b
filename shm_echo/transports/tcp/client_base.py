"""The connection of a TcpClient: how it is made, lost and left. `client` adds the calls of users.

In the child of a fork the connection is the parent's, and every use raises: two processes must not
write into one stream. A client that was unpickled connects at its first use.
"""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import Any, NoReturn

import numpy as np
import optree

from shm_echo.control.fork_safety import FORK_LOCK, register_at_fork
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    SendTimeoutError,
    SpecMismatchError,
)
from shm_echo.ring.core import Result, _core_cpython
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp import client_connect, echo_wire
from shm_echo.transports.unattached import UNATTACHED, PickledUnattached

__all__ = ["ClientBase"]


class ClientBase(PickledUnattached):
    """A connection to a server, with the sender that writes into it.

    Args:
        target: the server, and the time-outs of connecting to it.
        spec: the spec of the samples.
        window: samples that may be sent and not acknowledged.
        same_kind: send arrays of other dtypes, too, as NumPy's casting rule of this name allows.
        keep: keep copies of the samples that are not acknowledged.
    """

    # Without a default here: see ClientAttachment.
    _sender: _core_cpython.TcpSender
    # Until connected: __del__ also runs after a failed __init__.
    _ended = True

    def __init__(
        self,
        target: client_connect.Target,
        spec: TreeSpec,
        window: int,
        *,
        same_kind: bool,
        keep: bool,
    ) -> None:
        self._target = target
        self._peer = str(target)
        self._spec = spec
        self._window = window
        self._same_kind = same_kind
        self._keep = keep
        self._register()
        self._connect()
        self._ended = False

    def _register(self) -> None:
        # Re-entrant: a signal handler may close a client whose close() it interrupts.
        self._lock = threading.RLock()
        self._sender = UNATTACHED
        self._loss_told = False

    def _connect(self) -> None:
        with client_connect.connect(self._target) as dialed:
            reader = echo_wire.HelloReader(self._peer)
            while reader.missing:
                reader.feed(client_connect.read_exactly(dialed, reader.missing, self._peer))
            echo_wire.require_equal(self._spec, reader.leaves)
            self._adopt(dialed, wide_acks=False, first=0)

    def _adopt(self, dialed: client_connect.Dialed, *, wide_acks: bool, first: int) -> None:
        """Make the sender of a connection whose handshake is done."""
        spec = self._spec
        order = spec.optree_order
        # The wire of shm-echo has the leaves in their canonical order.
        changed = not wide_acks and order != tuple(range(len(order)))
        with FORK_LOCK:
            sender = _core_cpython.TcpSender(
                dialed.sock.fileno(),
                tuple((leaf.dtype, leaf.shape) for leaf in spec.leaves),
                spec.plan,
                spec.fast_flatten,
                spec.unflatten,
                partial(_check, spec, same_kind=self._same_kind),
                _make_raise_for_result(self),
                order if changed else None,
                self._window,
                wide_acks,
                first,
                self._keep,
                self._same_kind,
            )
            dialed.sock.detach()  # it is the sender's
            self._sender = sender
            register_at_fork(self)

    def _ensure_connected(self) -> None:
        """Connect a client that has come out of a pickle."""
        with self._lock:
            if self._ended:
                raise ConnectionClosedError(f"TcpClient for {self._peer} is closed")
            if self._sender is UNATTACHED:
                self._connect()

    # ---------------------------------------------------------------- errors

    def _raise_for_result(self, result: int, sent: int, timeout: float | None) -> NoReturn:
        sender = self._sender
        unacked = sender.sent - sender.acked
        if result == Result.TIMEOUT:
            raise SendTimeoutError(
                timeout or 0.0,
                sent,
                what=f"TcpClient for {self._peer}: {unacked} of {self._window} samples in flight "
                "stayed unacknowledged",
            )
        if result == Result.STOPPED and sender.retired:
            raise ForkedHandleError(
                f"this TcpClient for {self._peer} was created before the fork, and its connection "
                "is the parent's: make another one in the child"
            )
        if result == Result.STOPPED:
            raise ConnectionClosedError(f"TcpClient for {self._peer} is closed", sent, unacked)
        self._loss_told = True
        reason = os.strerror(sender.error) if sender.error else "the server closed it"
        lost = f"; {unacked} samples that were sent are not acknowledged" if unacked else ""
        raise ConnectionClosedError(
            f"TcpClient for {self._peer} connection lost: {reason}{lost}", sent, unacked
        )

    # ---------------------------------------------------------------- forks and pickles

    def after_fork_in_child(self) -> None:
        """Close this process's copy of the connection, which is the parent's."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        self._sender.retire()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_loss_told"]
        return state


def _check(spec: TreeSpec, tree: Any, stacked: bool, *, same_kind: bool) -> list[Any]:
    try:
        if stacked:
            return spec.check_stacked(tree, same_kind=same_kind)[1]
        return spec.check(tree, same_kind=same_kind)
    except SpecMismatchError as error:
        size = _payload_size(tree)
        if stacked or size is None or size == spec.nbytes:
            raise
        raise SpecMismatchError.worded(
            error.path, f"Payload size {size} != expected {spec.nbytes}: {error}"
        ) from None


def _payload_size(tree: Any) -> int | None:
    """Return the bytes of all leaves of a tree; None if it has one that is no array or number."""
    try:
        leaves = optree.tree_leaves(tree)
    except (RecursionError, TypeError, ValueError):
        return None
    sizes = 0
    for leaf in leaves:
        if isinstance(leaf, (bool, int, float, complex)):
            leaf = np.asarray(leaf)
        if not isinstance(leaf, (np.ndarray, np.generic)):
            return None
        sizes += leaf.nbytes
    return sizes


def _make_raise_for_result(client: ClientBase) -> Any:
    """Make the function with which the sender raises the error for a result.

    It refers to the client weakly: otherwise client and sender would keep each other, and the
    connection open, until the garbage collector runs.
    """
    reference = weakref.ref(client)
    peer = client._peer

    def raise_for_result(result: int, sent: int, timeout: float | None) -> None:
        owner = reference()
        if owner is None:
            raise ConnectionClosedError(f"TcpClient for {peer} is closed", sent)
        owner._raise_for_result(result, sent, timeout)

    return raise_for_result
