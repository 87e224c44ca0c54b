"""The TCP transport, producer side: echo's `TcpClient`, with the calls of `ShmClient`.

`client_base` has the connection, `csrc/python/tcp_sender.c` the sends.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from types import TracebackType
from typing import Any, Literal

from shm_echo.errors import ForkedHandleError, SendTimeoutError
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp.client_base import ClientBase
from shm_echo.transports.tcp.client_connect import Target
from shm_echo.transports.tcp.private_slot import PrivateSlot
from shm_echo.transports.unattached import UNATTACHED
from shm_echo.transports.wait_until import WaitUntil, check_wait_until
from shm_echo.validation import check_count, seconds

__all__ = ["TcpClient"]

_log = logging.getLogger("shm_echo")

# Seconds between two looks of `_closed.wait`.
_LOOK_EVERY = 0.01
# Seconds that a client waits for acknowledgements when the garbage collector finds it open.
_LAST_WAIT = 1.0


class TcpClient(ClientBase):
    """A producer on any machine: sends samples over TCP into the ring of a server.

    The server is one of this package, or of `echo`. `send`, `send_batch`, `reserve`, `wait` and
    `close` may be called from several threads at once. In the child of a fork an inherited client
    raises ForkedHandleError; one that was pickled connects at its first use.

    A send returns when the sample is on its way: at most `max_inflight_msgs` samples may be there
    whose arrival the server has not acknowledged. `wait` waits for all of them, and so does
    `close`. A send that ends early (its time-out, an exception of a signal handler) may have
    written a part of the sample. It counts as sent then, and the next call writes the rest.

    Args:
        host: the server's name or address, IPv4 or IPv6.
        port: the server's port.
        data_sample: a sample; its structure, shapes and item sizes must be those of the server's
            example.
        max_inflight_msgs: samples that may be sent and not acknowledged.
        connect_timeout: seconds to connect, for the name and the handshake too; a server that is
            not up yet is waited for. One attempt has at least a second.
        dial_timeout: seconds for the name and the connection in a single attempt; then
            `connect_timeout` is for the handshake alone. None makes attempts until
            `connect_timeout` has passed.
        cast: "same_kind" also takes arrays of other dtypes, by NumPy's rule of this name;
            "exact" takes no other dtype, but for numbers at 0-d leaves (see `ShmClient.send`).
        wait_until: what `wait` waits for unless its call says.
        dead_after: seconds after which a server whose host is silent counts as gone.

    Raises:
        ServerNotFoundError: the host is unknown, or no process listens at the port.
        HandshakeTimeoutError: the server accepted and did not speak in time.
        EchoWireError: the peer is no echo server, or speaks another version; a ValueError too.
        ProtocolError: the peer closed the connection during the handshake.
        SpecMismatchError: the example is not the server's; a ValueError too.
        DescriptorLimitError: this process may open no more descriptors.
        TypeError: the example has a leaf that is not an array, or an argument has the wrong type.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        host: str,
        port: int,
        data_sample: Any,
        max_inflight_msgs: int = 32,
        *,
        connect_timeout: float = 5.0,
        dial_timeout: float | None = None,
        cast: Literal["exact", "same_kind"] = "exact",
        wait_until: WaitUntil = "stored",
        dead_after: float = 30.0,
    ) -> None:
        if cast not in ("exact", "same_kind"):
            raise ValueError(f"cast must be 'exact' or 'same_kind', not {cast!r}")
        self._wait_until = check_wait_until("wait_until", wait_until)
        if wait_until == "taken":
            raise ValueError(_no_taken(host, port))
        spec = TreeSpec.from_example(data_sample)
        if not spec.nbytes:
            raise ValueError(
                "the example has 0 bytes: a stream of such samples is empty, and the server could "
                "not count them"
            )
        super().__init__(
            _target(host, port, connect_timeout, dial_timeout, dead_after),
            spec,
            check_count("max_inflight_msgs", max_inflight_msgs, 1),
            same_kind=cast == "same_kind",
            keep=False,
        )

    # ---------------------------------------------------------------- sending

    def send(self, data: Any, timeout: float | None = None) -> None:
        """Send one sample, waiting for room.

        Args:
            data: a tree like the example; numbers at 0-d leaves as for `ShmClient.send`.
            timeout: seconds to wait for room; None waits as long as the connection lives.

        Raises:
            SpecMismatchError: the sample differs from the example; nothing was sent.
            SendTimeoutError: there was no room in time; nothing was sent.
            ConnectionClosedError: this client is closed, or the connection was lost. Its `unacked`
                is the number of samples that were sent and may be lost.
        """
        try:
            self._sender.send(data, timeout)
        except ForkedHandleError:
            self._ensure_connected()
            self._sender.send(data, timeout)

    def send_batch(self, data: Any, timeout: float | None = None) -> int:
        """Send N samples, in order, waiting for room, and return N.

        The attribute `sent` of an exception is the number of samples sent before it, which are the
        first ones.

        Args:
            data: a tree like the example, each leaf with one more leading axis of length N.
            timeout: seconds for the whole call; None waits as long as the connection lives.

        Raises:
            SpecMismatchError: a leaf differs from the example, or has another N than the first
                leaf; nothing was sent.
            SendTimeoutError: there was no room in time.
            ConnectionClosedError: this client is closed, or the connection was lost.
        """
        try:
            return self._sender.send_batch(data, timeout)
        except ForkedHandleError:
            self._ensure_connected()
            return self._sender.send_batch(data, timeout)

    def reserve(self, timeout: float | None = None) -> PrivateSlot:
        """Return the memory of one sample, which is sent at the end of a `with` statement.

        An exception in the statement drops the sample. The arrays are private memory of this
        client: nothing is saved over `send`, but the same actor runs with both transports.

        Args:
            timeout: seconds to wait for room; None waits as long as the connection lives.

        Raises:
            SendTimeoutError: there was no room in time.
            ConnectionClosedError: this client is closed, or the connection was lost.
        """
        try:
            self._sender.wait_room(timeout)
        except ForkedHandleError:
            self._ensure_connected()
            self._sender.wait_room(timeout)
        sender = self._sender
        return PrivateSlot(self._spec, self.send, lambda: not sender.retired)

    def wait(self, timeout: float | None = None, *, until: WaitUntil | None = None) -> None:
        """Wait until the server has acknowledged every sample that was sent.

        Args:
            timeout: seconds to wait; None waits as long as the connection lives.
            until: "stored" waits for the acknowledgements; "taken" is not known on echo's wire.
                None is the client's `wait_until`.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client was closed, or the connection was lost, before.
            ValueError: `until` is unknown, or the server does not say when samples are taken.
        """
        until = self._wait_until if until is None else check_wait_until("until", until)
        if until == "taken":
            raise ValueError(_no_taken(self._target.host, self._target.port))
        seconds("timeout", timeout)
        if self._sender is UNATTACHED:
            self._ensure_connected()
        try:
            self._sender.wait(timeout)
        except SendTimeoutError:
            raise TimeoutError(
                f"TcpClient for {self._peer}: {self._in_flight_count} samples are not acknowledged "
                f"after {timeout:g} s: the ring is full, or the server has stopped"
            ) from None

    # ---------------------------------------------------------------- the end

    @property
    def closed(self) -> bool:
        """Return True if `close` was called, or the connection was lost."""
        return self._ended or (self._sender is not UNATTACHED and self._sender.look())

    @property
    def _in_flight_count(self) -> int:
        """The samples that are not acknowledged, under the name that it has in echo."""
        if self._sender is UNATTACHED:
            return 0
        self._sender.look()
        return self._sender.sent - self._sender.acked

    @property
    def _closed(self) -> _ClosedEvent:
        """What echo's client has under this name: an event that says when `closed` is true."""
        return _ClosedEvent(self)

    def close(self, timeout: float | None = 5.0) -> None:
        """Wait for the acknowledgements of all samples, and close the connection.

        Blocked calls of other threads raise. Later calls do nothing.

        Args:
            timeout: seconds to wait; a warning in the log says how many samples were not
                acknowledged by then. None waits as long as the connection lives.
        """
        seconds("timeout", timeout)
        self._end(timeout)

    def _end(self, timeout: float | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        sender = self._sender
        if sender.retired:
            return
        unacked = sender.sent - sender.acked
        try:
            unacked = sender.finish(timeout)
        finally:  # after an interrupt, too
            sender.disconnect()
        if unacked and not self._loss_told:
            _log.warning(
                "TcpClient for %s closed with %d samples that the server has not acknowledged%s",
                self._peer,
                unacked,
                ": the connection was lost" if sender.lost else "",
            )

    def _end_at_once(self) -> None:
        with self._lock:
            was_open, self._ended = not self._ended, True
        if was_open and not self._sender.retired:
            self._sender.disconnect()

    def __enter__(self) -> TcpClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._end_at_once()

    def __del__(self) -> None:
        if not self._ended and not self._sender.retired:
            try:
                warnings.warn(
                    f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self
                )
            finally:  # where warnings are errors, too
                self._end(_LAST_WAIT)

    def __repr__(self) -> str:
        return f"<TcpClient of {self._peer}{', closed' if self._ended else ''}>"


class _ClosedEvent:
    """As much of a `threading.Event` as echo's client has under the name `_closed`."""

    def __init__(self, client: TcpClient) -> None:
        self._client = client

    def is_set(self) -> bool:
        return self._client.closed

    def wait(self, timeout: float | None = None) -> bool:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)
        return self.is_set()


def _no_taken(host: str, port: int) -> str:
    return (
        f'TcpClient for {host}:{port}: "taken" is not known on echo\'s wire, where a server '
        'acknowledges what it has stored and says nothing of its learner: wait until="stored", or '
        'give the TcpTransport wire="shm"'
    )


def _target(
    host: str, port: int, connect_timeout: float, dial_timeout: float | None, dead_after: float
) -> Target:
    """Check the arguments that say where and how to connect."""
    if not isinstance(host, str):
        raise TypeError(f"host must be text, not {type(host).__name__}")
    if not host:
        raise ValueError("host must be a name or an address, not ''")
    port = check_count("port", port, 0, most=65535)
    if port == 0:
        raise ValueError("port must be the number at which the server listens, not 0")
    limit = seconds("connect_timeout", connect_timeout)
    dead = seconds("dead_after", dead_after)
    if limit is None or dead is None or not dead:
        raise ValueError("connect_timeout and dead_after must be numbers of seconds, not None or 0")
    return Target(host, port, limit, seconds("dial_timeout", dial_timeout), dead)
