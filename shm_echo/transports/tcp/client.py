"""The TCP transport, producer side: echo's `TcpClient`, with the calls of `ShmClient`.

`client_base` has the connection, `csrc/python/tcp_sender.c` the sends.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.control.protocol.ring_requests import AttachRequest
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    SendTimeoutError,
)
from shm_echo.spec import TreeSpec
from shm_echo.transports.tcp.client_base import ClientBase
from shm_echo.transports.tcp.client_opening import Wishes, refuse_on_echo
from shm_echo.transports.tcp.client_target import check_instance, check_target, check_tls
from shm_echo.transports.tcp.client_token import find_token
from shm_echo.transports.tcp.closed_event import ClosedEvent
from shm_echo.transports.tcp.private_slot import PrivateSlot
from shm_echo.transports.unattached import UNATTACHED
from shm_echo.transports.wait_until import WaitUntil, check_wait_until
from shm_echo.validation import check_cast, check_count, label_text, seconds

if TYPE_CHECKING:
    import ssl

__all__ = ["TcpClient"]

_log = logging.getLogger("shm_echo")

# Seconds that a client waits for acknowledgements when the garbage collector finds it open.
_LAST_WAIT = 1.0


class TcpClient(ClientBase):
    """A producer on any machine: sends samples over TCP into the ring of a server.

    The server is one of this package or of `echo`: its first bytes say which wire it speaks.
    Threads may share a client. In the child of a fork an inherited client raises
    ForkedHandleError; one that was pickled connects at its first use.

    A send returns when the sample is on its way. At most `max_inflight_msgs` samples are there
    that the server has not acknowledged; `wait` and `close` wait for all of them. A send that ends
    early (by its time-out, or by an exception of a signal handler) may have written a part of the
    sample: then it counts as sent, and the next call writes the rest.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, TcpClient, TcpTransport
        >>> example = {"x": np.zeros(2, np.float32)}
        >>> with Server(example, 2, TcpTransport(port=0)) as server:
        ...     with TcpClient("127.0.0.1", server.port, example) as client:  # on another machine
        ...         for i in range(2):
        ...             client.send({"x": np.full(2, i, np.float32)})
        ...     server.sample().batch["x"].tolist()
        [[0.0, 0.0], [1.0, 1.0]]

    Args:
        host: the server's name or address, IPv4 or IPv6.
        port: the server's port.
        data_sample: a sample; its structure, shapes and dtypes must be those of the server's
            example (on echo's wire: the shapes and item sizes of its leaves). On the shm wire None
            takes the server's, if it consists of dicts, lists, tuples and None.
        max_inflight_msgs: samples that may be sent and not acknowledged; None is 32, as in echo,
            and for `send_batch` as many as have 64 KiB, if they are more.
        connect_timeout: seconds for the name, the connection and the handshake. A server that is
            not up yet is waited for. An attempt has a second at least.
        dial_timeout: seconds for the name and the connection, in a single attempt;
            `connect_timeout` is for the handshake alone then. None makes attempts until
            `connect_timeout` has passed.
        reconnect: connect again after a loss, for as long as a call may wait, and send again what
            was not acknowledged, of which the client keeps copies (`max_inflight_msgs` samples). On
            the shm wire each sample arrives once, as long as the server lives; on echo's, samples
            may arrive twice.
        token: the token of a server that wants one, or the `pathlib.Path` of a file with it; None
            takes it from the environment variable SHM_ECHO_TOKEN or the file that
            SHM_ECHO_TOKEN_FILE names.
        tls: True, or the context for a server with TLS.
        server_hostname: the name that the server's certificate is to have, if it is not `host`.
        publishes: an example of the published values, which must be like the server's; None
            accepts the server's.
        run_id: the run that this client belongs to; it must be that of the TcpTransport.
        producer_id: a name or number of this producer, as for `ShmClient`.
        role: "producer", or "reader" for a client that only reads published values and needs no
            example.
        wait_until: what `wait` waits for unless its call says: "stored" or "taken".
        cast: "same_kind" also takes arrays of other dtypes, "exact" does not, as for `ShmClient`.
        dead_after: seconds after which a host that answers nothing counts as gone.
        instance_id: the 16 bytes of the server that must answer on the shm wire, from a connector.
        way: why a connector chose this client; shown in its repr and in `producers()`.

    Attributes:
        host, port, role, way: as given.
        address: host and port as text.
        wire: "echo" or "shm": what the server speaks; None before the first connection.

    Raises:
        ServerNotFoundError: the host is unknown, or no process listens at the port.
        HandshakeTimeoutError: the server accepted and did not answer in time.
        EchoWireError: another program answered, or another version of echo; a ValueError too.
        SpecMismatchError: an example is not the server's; a ValueError too.
        RefusedError: the token, the run or the server's proof of the token is wrong.
        HandshakeError: it failed for another reason, such as a certificate that is not trusted.
        DescriptorLimitError: this process may open no more descriptors.
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the server speaks echo's wire, which does not
            have what was asked for.
    """

    def __init__(
        self,
        host: str,
        port: int,
        data_sample: Any = None,
        max_inflight_msgs: int | None = None,
        *,
        connect_timeout: float = 5.0,
        dial_timeout: float | None = None,
        reconnect: bool = False,
        token: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        publishes: Any = None,
        run_id: str | None = None,
        producer_id: str | int | None = None,
        role: Literal["producer", "reader"] = "producer",
        wait_until: WaitUntil = "stored",
        cast: Literal["exact", "same_kind"] = "exact",
        dead_after: float = 30.0,
        instance_id: bytes | None = None,
        way: str | None = None,
    ) -> None:
        self._wait_until = check_wait_until("wait_until", wait_until)
        wishes = Wishes(
            check_target(host, port, connect_timeout, dial_timeout, dead_after),
            None if data_sample is None else _sample_spec(data_sample),
            None if publishes is None else TreeSpec.from_example(publishes),
            AttachRequest(role, run_id, label_text(producer_id), way),
            wait_until == "taken",
            check_instance(instance_id),
            None if token is None else find_token(token),
            check_tls(tls),
            server_hostname,
        )
        self.host, self.port, self.address = host, wishes.target.port, str(wishes.target)
        self.role, self.way = role, way
        window = max_inflight_msgs
        if window is not None:
            window = check_count("max_inflight_msgs", window, 1)
        super().__init__(wishes, window, same_kind=check_cast(cast), reconnect=bool(reconnect))

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
        sender = self._sender
        try:
            sender.send(data, timeout)
        except (ForkedHandleError, ConnectionClosedError) as error:
            self._again("send", sender, error, timeout, data)

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
        sender, sent = self._sender, 0
        while True:
            try:
                return sender.send_batch(data, timeout, sent)
            except (ForkedHandleError, ConnectionClosedError) as error:
                sent = getattr(error, "sent", 0)
                try:
                    timeout = self._recover(sender, error, timeout)
                except SendTimeoutError as late:
                    late.sent = sent
                    raise
                sender = self._sender

    def reserve(self, timeout: float | None = None) -> PrivateSlot:
        """Return the memory of one sample, which is sent at the end of a `with` statement.

        An exception in the statement drops the sample. The memory is the client's own: it saves no
        copy, but the same actor runs with both transports.

        Args:
            timeout: seconds to wait for room; None waits as long as the connection lives.

        Raises:
            SendTimeoutError: there was no room in time.
            ConnectionClosedError: this client is closed, or the connection was lost.
        """
        sender = self._sender
        try:
            sender.wait_room(timeout)
        except (ForkedHandleError, ConnectionClosedError) as error:
            self._again("wait_room", sender, error, timeout)
        assert self._spec is not None
        return PrivateSlot(self._spec, self.send, lambda: not self._sender.retired)

    def wait(self, timeout: float | None = None, *, until: WaitUntil | None = None) -> None:
        """Wait until every sample that was sent has arrived.

        Args:
            timeout: seconds to wait; None waits as long as the connection lives.
            until: "stored" waits until the server has acknowledged all samples: they are in its
                ring, or in the queue before it. "taken" waits until the learner has taken their
                batches, which echo's wire does not say. None is the client's `wait_until`.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client was closed, or the connection was lost, before.
            ValueError: `until` is unknown, or the server's wire does not have it.
        """
        until = self._wait_until if until is None else check_wait_until("until", until)
        limit = seconds("timeout", timeout)
        began = time.monotonic()
        if self._sender is UNATTACHED:
            self._ensure_connected()
        if until == "taken" and self.wire == "echo":
            refuse_on_echo(self._peer, 'until="taken"')
        try:
            self._wait_acked(limit)
        except SendTimeoutError:
            raise TimeoutError(
                f"TcpClient for {self._peer}: {self._in_flight_count} samples are not acknowledged "
                f"after {limit:g} s: the ring is full, or the server has stopped"
            ) from None
        if until == "taken":
            self._wait_taken(None if limit is None else began + limit)

    # ---------------------------------------------------------------- receiving

    def latest(self, timeout: float = 5.0, *, writable: bool = False) -> tuple[int, Any] | None:
        """Return the newest published (version, value), or None before the first.

        All arrays are of one version, and read-only, in a tree of the caller's own. A value is
        transferred once: until the next version, later calls return the same arrays.

        Args:
            timeout: seconds to wait for the server's answer.
            writable: return a private, writable copy, transferred anew at each call.

        Raises:
            TimeoutError: the server did not send it in time.
            ConnectionClosedError: this client is closed, or the server has gone.
            RuntimeError: the server publishes nothing, or speaks echo's wire.
        """
        return self._ask(lambda control: control.latest(timeout, writable))

    def wait_for(self, version: int, timeout: float | None = None) -> int:
        """Block until the server has published `version` or a newer one; return the newest.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client is closed, or the server has gone.
            RuntimeError: the server publishes nothing, or speaks echo's wire.
        """
        return self._ask(lambda control: control.wait_for(version, timeout))

    # ---------------------------------------------------------------- the end

    @property
    def closed(self) -> bool:
        """Return True if `close` was called, or the connection is lost and not made again."""
        return self._ended or (not self._reconnect and self._has_lost())

    def _has_lost(self) -> bool:
        return self._sender is not UNATTACHED and bool(self._sender.look())

    @property
    def _in_flight_count(self) -> int:
        """The samples that are not acknowledged, under the name that it has in echo."""
        if self._sender is UNATTACHED:
            return 0
        self._sender.look()
        return int(self._sender.sent - self._sender.acked)

    @property
    def _closed(self) -> ClosedEvent:
        """An event that says when `closed` is true, under the name that it has in echo."""
        return ClosedEvent(self)

    def close(self, timeout: float | None = 5.0) -> None:
        """Wait for the acknowledgements of all samples, and close the connection.

        Blocked calls of other threads raise. Later calls do nothing.

        Args:
            timeout: seconds to wait; a warning in the log says how many samples were not
                acknowledged by then. None waits as long as the connection lives.
        """
        self._end(seconds("timeout", timeout))

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
        role = ", reader" if self.role == "reader" else ""
        way = f", {self.way}" if self.way else ""
        return f"<TcpClient of {self.address}{role}{way}{', closed' if self._ended else ''}>"


def _sample_spec(data_sample: Any) -> TreeSpec:
    spec = TreeSpec.from_example(data_sample)
    if not spec.nbytes:
        raise ValueError(
            "the example has 0 bytes: a stream of such samples is empty, and the server could not "
            "count them"
        )
    return spec
