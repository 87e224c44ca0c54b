"""The shared-memory transport, producer side.

A client compares its example with the server's before it maps the ring, and checks every sample
against the example before it claims a slot. `shm_echo.ring` implements the sends, `attach` the
connection, `client_attachment` the behaviour across a fork.
"""

from __future__ import annotations

import logging
import warnings
from types import TracebackType
from typing import Any, Literal

from shm_echo.control.protocol.ring_requests import AttachRequest
from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
)
from shm_echo.ring.broadcast import Subscriber
from shm_echo.spec import TreeSpec
from shm_echo.transports.client_advice import check_is_no_port
from shm_echo.transports.client_attachment import ClientAttachment
from shm_echo.transports.environment import address_from_environment
from shm_echo.transports.no_sender import NoSender
from shm_echo.transports.slot import Slot
from shm_echo.transports.wait_until import WaitUntil, check_wait_until, wait_until_taken
from shm_echo.validation import check_cast, label_text, seconds

__all__ = ["ShmClient"]

_log = logging.getLogger("shm_echo")


class ShmClient(ClientAttachment):
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
        address: the server's name or `ipc:///path.sock`, as given to its ShmTransport; None reads
            the environment variable SHM_ECHO_ADDRESS, which a launcher sets to `server.address`.
        example: a sample; its structure, shapes and dtypes must be those of the server's example.
            None takes the server's, if it consists of dicts, lists, tuples and None.
        connect_timeout: seconds to wait for a server that is not up yet; 0 fails at once. A server
            that is up has what is left of them to answer, but at least 5 s. The same holds when a
            client that was inherited through a fork attaches again.
        publishes: an example of the published values, which must be like the server's; None
            accepts the server's.
        server_uid: another user whose server is trusted, beside this user; the server must allow
            this user (`ShmTransport(allow_uids=...)`).
        cast: "same_kind" also takes arrays of other dtypes that NumPy's rule of this name casts,
            such as float64 for float32 or int for float, but not float for int. By that rule, an
            integer out of range wraps around and a float becomes infinite. "exact" takes no other
            dtype, but for numbers at 0-d leaves (see `send`).
        run_id: the run that this client belongs to; it must be that of the server's ShmTransport.
        producer_id: a name or number of this producer, for a worker that may be restarted as a new
            process: `min_producers` counts each id once. Without it, a process counts as often as
            it is attached at the same time.
        role: "producer", or "reader" for a client that only reads published values. A reader maps
            nothing of the ring, needs no example and counts as no producer; the server lists it
            in `readers()`. There may be any number of them.
        wait_until: what `wait` waits for unless its call says: "taken" or "stored".
        instance_id: the 16 bytes that name one server; another one at the address is refused. A
            connector gives them.
        way: why this client was chosen, in at most 200 characters; a connector gives it, and
            `Server.producers()` shows it.

    Attributes:
        address: the address, as given or found in the environment.
        role, way: as given.
        server_pid: the process that serves there.

    Raises:
        AddressError: the address is malformed, or the environment names none.
        SpecMismatchError: the example is not the server's; the message names the leaf.
        HandshakeError: the server cannot be attached to; its subclasses give the reason, such as
            ServerNotFoundError, HandshakeTimeoutError (also a TimeoutError) or PeerRefusedError.
        MemoryError: this process may map no more memory.
        DescriptorLimitError: this process may open no more files.
        TypeError: the example has a leaf that is not an array.
        ValueError: an argument is out of range, or no example was given and the server's cannot be
            made from its description.
    """

    def __init__(
        self,
        address: str | None,
        example: Any = None,
        connect_timeout: float = 0.0,
        *,
        publishes: Any = None,
        server_uid: int | None = None,
        cast: Literal["exact", "same_kind"] = "exact",
        run_id: str | None = None,
        producer_id: str | int | None = None,
        role: Literal["producer", "reader"] = "producer",
        wait_until: WaitUntil = "taken",
        instance_id: bytes | None = None,
        way: str | None = None,
    ) -> None:
        self.way = way
        check_is_no_port(address, example)
        self._wait_until = check_wait_until("wait_until", wait_until)
        super().__init__(
            address_from_environment() if address is None else address,
            None if example is None else TreeSpec.from_example(example),
            None if publishes is None else TreeSpec.from_example(publishes),
            connect_timeout,
            server_uid,
            AttachRequest(role, run_id, label_text(producer_id), way),
            instance_id,
            same_kind=check_cast(cast),
        )

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

    def wait(self, timeout: float | None = None, *, until: WaitUntil | None = None) -> None:
        """Wait until every sample that was sent has arrived.

        A batch that does not fill is taken by `sample(partial=True)`, or by a learner that iterates
        until the producers have closed when all of them wait; a warning says so after 5 s.

        Args:
            timeout: seconds to wait; None waits as long as the server lives.
            until: "taken" waits until the learner has taken the batches of all samples, "stored"
                until the ring has the samples, as it has when a send returns; None is the client's
                `wait_until`.

        Raises:
            TimeoutError: `timeout` seconds passed before.
            ConnectionClosedError: this client was closed, or the server has gone, before.
            ValueError: `until` is unknown.
        """
        until = self._wait_until if until is None else check_wait_until("until", until)
        seconds("timeout", timeout)
        if self._sender.retired:
            self._reattach()  # a new producer, which has sent no sample yet
        sender = self._sender
        if isinstance(sender, NoSender):
            sender.wait(timeout)
        elif until == "taken":
            wait_until_taken(sender, self._ring, timeout)
        else:
            self._require_server()  # a send returns when its sample is stored
            self._ring.segment.check_intact()

    def _require_server(self) -> None:
        if self._closed:
            raise ConnectionClosedError(f"the client of {self.address} is closed")
        reason = self._connection.loss_reason()
        if reason is not None:
            raise ConnectionClosedError(f"the connection to {self.address} is closed: {reason}")

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
        role = ", reader" if self.role == "reader" else ""
        way = f", {self.way}" if self.way else ""
        return f"<ShmClient of {self.address}{role}{way}{', closed' if self._closed else ''}>"
