"""Connecting again after a loss, for a TcpClient that was asked to, without losing samples.

The sender of such a client keeps copies of the samples that the server has not acknowledged. They
are sent again before any other sample. On the shm wire the server says how many samples of this
client it has, so each arrives once, as long as that server lives. echo's wire does not say: a
sample whose acknowledgement was lost on its way arrives twice.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from shm_echo.errors import (
    ConnectionClosedError,
    EchoWireError,
    HandshakeError,
    OtherServerError,
    RefusedError,
    SendTimeoutError,
)

if TYPE_CHECKING:
    from shm_echo.ring.core import _core_cpython
    from shm_echo.transports.tcp.client_opening import Entered, Opening

__all__ = ["Restorable", "Restorer"]

_log = logging.getLogger("shm_echo")

# Seconds between two attempts: the first pause, and the longest. A random part of up to a half is
# taken off, so that the clients of a server that restarts do not all come at once.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# Seconds of one write of a sample; then the call looks at its time-out, and at close().
_SLICE = 0.2


class Restorable(Protocol):
    """The part of a client that its Restorer uses."""

    _peer: str
    _opening: Opening
    _sender: Any
    _instance: bytes | None

    def _make_sender(self, entered: Entered) -> _core_cpython.TcpSender: ...

    def _adopt(self, entered: Entered, sender: _core_cpython.TcpSender) -> None: ...


class Restorer:
    """Restores the connection of one client.

    Args:
        client: the client, which is referred to weakly.
    """

    def __init__(self, client: Restorable) -> None:
        self._client = weakref.ref(client)
        # Re-entrant: the handler of a signal that interrupts an attempt may send, too.
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._pending: list[bytes] = []
        self._base = 0  # the number of the first pending sample, as the server `_instance` counts
        self._instance: bytes | None = None
        self._read: Any = None  # the sender whose samples `_pending` has

    def stop(self) -> None:
        """End the attempts: the client is closed."""
        self._stop.set()

    def restore(self, lost: _core_cpython.TcpSender, timeout: float | None) -> float | None:
        """Connect again, unless another thread has, and send again what was not acknowledged.

        Args:
            lost: the sender of the connection that was lost.
            timeout: seconds that it may take; None tries until the client is closed.

        Returns:
            What is left of the time-out.

        Raises:
            SendTimeoutError: the connection was not there again in time.
            ConnectionClosedError: the client was closed meanwhile.
            SpecMismatchError: the server that is there now has another example.
            RefusedError: it refuses this client.
            EchoWireError: another program is there now.
        """
        client = self._client()
        assert client is not None
        limit = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise self._late(client, timeout)
        try:
            while client._sender is lost:
                if self._stop.is_set():
                    raise ConnectionClosedError(f"TcpClient for {client._peer} is closed")
                if self._attempt(client, lost, limit):
                    break
                left = pause * random.uniform(0.5, 1.0)
                if limit is not None and time.monotonic() + left >= limit:
                    raise self._late(client, timeout)
                self._stop.wait(left)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._lock.release()
        return None if limit is None else max(0.0, limit - time.monotonic())

    def _attempt(
        self, client: Restorable, lost: _core_cpython.TcpSender, limit: float | None
    ) -> bool:
        if self._read is not lost:
            self._pending, self._base = lost.unacked_samples(), lost.first + lost.acked
            self._read, self._instance = lost, client._instance
            _log.warning(
                "TcpClient for %s connection lost; connecting again, with %d samples to send again",
                client._peer,
                len(self._pending),
            )
        try:
            within = None if limit is None else max(0.0, limit - time.monotonic())
            entered = client._opening.open(once=True, within=within)
        except (RefusedError, EchoWireError, OtherServerError):
            raise
        except (HandshakeError, ConnectionClosedError) as error:
            _log.debug("TcpClient for %s: %s", client._peer, error)
            return False
        with entered.dialed:
            if client._sender is not lost:  # the handler of a signal has restored it
                return True
            self._skip_arrived(entered)
            sender = client._make_sender(entered)
        try:
            done = self._send_again(sender, limit)
        except BaseException:
            self._keep_rest(sender)
            raise
        if not done:
            self._keep_rest(sender)
            return False
        client._adopt(entered, sender)
        lost.disconnect()
        self._read = None
        self._pending = []
        _log.info("TcpClient for %s connected again", client._peer)
        return True

    def _skip_arrived(self, entered: Entered) -> None:
        """Forget the pending samples that the server has."""
        if entered.wire == "shm" and entered.instance == self._instance:
            del self._pending[: max(0, entered.queued - self._base)]
        self._base, self._instance = entered.queued, entered.instance

    def _send_again(self, sender: _core_cpython.TcpSender, limit: float | None) -> bool:
        """Send the pending samples. False if the connection was lost, or there was no room."""
        for sample in self._pending:
            while True:
                try:
                    sender.resend(sample, _SLICE)
                    break
                except SendTimeoutError:
                    if self._stop.is_set() or (limit is not None and time.monotonic() >= limit):
                        return False
                except ConnectionClosedError:
                    return False
        return True

    def _keep_rest(self, sender: _core_cpython.TcpSender) -> None:
        """Leave a connection, and keep as pending what it did not bring to the server."""
        del self._pending[: sender.acked]
        self._base += sender.acked
        sender.disconnect()

    def _late(self, client: Restorable, timeout: float | None) -> SendTimeoutError:
        return SendTimeoutError(
            timeout or 0.0,
            what=f"TcpClient for {client._peer}: the connection was lost, and not there again,",
        )
