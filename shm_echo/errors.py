"""The exceptions of shm-echo, with the wording of their messages.

Each class carries the facts of its message as attributes, so that a program can decide without
parsing text. Pickling keeps them, because the error of an actor often crosses a process boundary
before it is reported. All classes derive from `ShmEchoError` and from the built-in exception of the
same kind of failure, so that `except ConnectionError` and `except TimeoutError` catch them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shm_echo.connection_errors import (
    AddressInUseError,
    BindError,
    EchoWireError,
    HandshakeError,
    HandshakeTimeoutError,
    OtherServerError,
    PeerRefusedError,
    PortInUseError,
    ProtocolError,
    ProtocolVersionError,
    RefusedError,
    ServerNotFoundError,
    ServiceUnavailableError,
)
from shm_echo.error_base import ShmEchoError, describe_death, mebibytes
from shm_echo.loader_errors import (
    ItemError,
    LoaderTimeoutError,
    WorkerDiedError,
    WorkerStartError,
)

__all__ = [
    "AddressError",
    "AddressInUseError",
    "BatchesHeldError",
    "BindError",
    "ConnectionClosedError",
    "DescriptorLimitError",
    "EchoWireError",
    "ForkedHandleError",
    "HandshakeError",
    "HandshakeTimeoutError",
    "ItemError",
    "LoaderTimeoutError",
    "NotBuiltError",
    "OtherServerError",
    "PeerRefusedError",
    "PidfdUnavailableError",
    "PortInUseError",
    "ProducerDiedError",
    "ProtocolError",
    "ProtocolVersionError",
    "RefusedError",
    "RequestError",
    "RequestTimeoutError",
    "RingCorruptedError",
    "RingFullError",
    "SendTimeoutError",
    "ServerNotFoundError",
    "ServiceUnavailableError",
    "ShmEchoError",
    "ShmTooSmallError",
    "SpecMismatchError",
    "WorkerDiedError",
    "WorkerStartError",
]


# ---------------------------------------------------------------- the installation


class NotBuiltError(ShmEchoError, ImportError):
    """The ring is used from a checkout, or by a Python, for which its C code is not compiled.

    Attributes:
        folder: the package that lacks the extension modules.
        command: the shell command that builds and installs them.
    """

    _fields = ("command", "folder")

    def __init__(self, folder: str, command: str) -> None:
        super().__init__(
            f"the C code of {folder} is not built for this Python; build it with: {command}"
        )
        self.folder, self.command = folder, command


# ---------------------------------------------------------------- samples and their structure


class SpecMismatchError(ShmEchoError, ValueError):
    """A tree differs from the example in structure, shape or dtype.

    Attributes:
        path: the place of the difference, as Python indexing on the tree (`"['obs']['pos']"`).
    """

    _fields = ("path",)

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path or 'the sample'}: {detail}")
        self.path = path

    @classmethod
    def worded(cls, path: str, message: str) -> SpecMismatchError:
        """Return an error whose message is this one."""
        error = cls(path, "")
        error.args = (message,)
        return error


class SendTimeoutError(ShmEchoError, TimeoutError):
    """A send did not find room in the ring, or on the way to it, in time.

    Attributes:
        sent: the number of samples of this call that were sent; they are the first ones.
        lent: the number of batch buffers that the learner held at that moment.
    """

    _fields = ("sent", "lent")

    def __init__(
        self,
        timeout: float,
        sent: int = 0,
        lent: int = 0,
        buffers: int = 0,
        what: str = "the ring stayed full",
    ) -> None:
        held = f"holds {lent} of {buffers} batches, and " if lent else ""
        super().__init__(
            f"{what} for {timeout:g} s ({sent} samples of this call were sent): "
            f"the learner {held}takes batches more slowly than they arrive, or has stopped"
        )
        self.sent, self.lent = sent, lent


class RingFullError(ShmEchoError, TimeoutError):
    """`Server.submit` met a full ring that no thread will empty.

    Attributes:
        capacity: slots in the ring (`batch_size * num_buffers`).
        lent: the number of batch buffers that the learner holds.
    """

    _fields = ("capacity", "lent")

    def __init__(self, capacity: int, reason: str, lent: int = 0, buffers: int = 0) -> None:
        held = f"; the learner holds {lent} of {buffers} batches" if lent else ""
        super().__init__(
            f"the ring is full ({capacity} samples{held}) and {reason}: take a batch with sample() "
            "first, or sample in another thread"
        )
        self.capacity, self.lent = capacity, lent


class RingCorruptedError(ShmEchoError, RuntimeError):
    """Another program has overwritten or truncated the shared memory of the ring.

    Attributes:
        slot: the slot of the ring that is damaged, counted from 0; None if the damage is elsewhere.
        sent: the number of samples of this call that were sent before; they are the first ones.
    """

    _fields = ("sent", "slot")

    def __init__(self, detail: str, *, slot: int | None = None, sent: int = 0) -> None:
        super().__init__(f"the shared memory of the ring is damaged: {detail}")
        self.slot = slot
        self.sent = sent


class BatchesHeldError(ShmEchoError, RuntimeError):
    """Every batch buffer is still referred to by arrays of earlier leased batches.

    Attributes:
        held: the number of batches that are held.
    """

    _fields = ("held",)

    def __init__(self, held: int, timeout: float) -> None:
        super().__init__(
            f"all {held} batch buffers are held by arrays of earlier batches, and none was "
            f"released within {timeout:g} s: drop or copy them, raise num_buffers above {held}, or "
            "use lease='copy'; server.held() lists them"
        )
        self.held = held


class ProducerDiedError(ShmEchoError, RuntimeError):
    """A producer ended without closing its client, or its connection was lost.

    Attributes:
        pid: the process; None for a producer at the other end of a network connection.
        signal: the signal that ended it, or None where the kernel does not report it.
        peer: the address of such a producer, as "host:port"; None for a process of this host.
    """

    _fields = ("pid", "signal", "peer")

    def __init__(
        self, pid: int | None, signal: int | None, peer: str | None = None, reason: str = ""
    ) -> None:
        if peer is not None:
            text = f"producer {peer} was lost: {reason or 'its connection broke'}"
        else:
            text = f"producer {describe_death(pid or 0, signal)} without closing its client"
        super().__init__(text)
        self.pid, self.signal, self.peer = pid, signal, peer


class ShmTooSmallError(ShmEchoError, OSError):
    """The ring does not fit into the memory that was chosen for it.

    Attributes:
        need: bytes that the ring needs.
        have: bytes that are available there.
        path: the file system or memory group that is too small.
    """

    _fields = ("need", "have", "path")

    def __init__(self, need: int, have: int, path: str, fix: str) -> None:
        sizes = f"needs {need:,} bytes ({mebibytes(need)}) but {path} has {have:,}"
        super().__init__(f"the ring {sizes} ({mebibytes(have)}): {fix}")
        self.need, self.have, self.path = need, have, path


# ---------------------------------------------------------------- connections


class AddressError(ShmEchoError, ValueError):
    """An address is malformed, or the folder of its socket is not safe.

    Attributes:
        address, detail: the address as it was given, and what is wrong with it.
    """

    _fields = ("address", "detail")

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(f"address {address!r}: {detail}")
        self.address, self.detail = address, detail


class ConnectionClosedError(ShmEchoError, ConnectionError):
    """The client was closed, or its server has gone.

    Attributes:
        sent: the samples of the interrupted call that were sent (0 outside `send_batch`).
        unacked: the samples that a TcpClient has sent and that its server has not acknowledged:
            they may be lost. 0 for other clients.
    """

    _fields: tuple[str, ...] = ("sent", "unacked")

    def __init__(self, message: str, sent: int = 0, unacked: int = 0) -> None:
        super().__init__(message)
        self.sent = sent
        self.unacked = unacked


class RequestTimeoutError(ConnectionClosedError, TimeoutError):
    """The server did not answer a request in time, and the connection was closed for it.

    A late answer could pass for that of the next request, so the connection is not used again.

    Attributes:
        op: the name of the request.
    """

    _fields = ("sent", "unacked", "op")

    def __init__(self, address: str, op: str, timeout: float) -> None:
        super().__init__(
            f"{address} did not answer {op!r} within {timeout:g} s: the connection is closed"
        )
        self.op = op


class RequestError(ShmEchoError, RuntimeError):
    """The server answered a request with an error. The connection stays usable.

    Attributes:
        code: the kind of error, as a word for programs.
        fields: the facts of the message.
    """

    _fields = ("code", "fields")

    def __init__(self, code: str, message: str, fields: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.fields = dict(fields)


class DescriptorLimitError(ShmEchoError, OSError):
    """This process may not open another file descriptor.

    Attributes:
        limit: the number of descriptors that it may have open (RLIMIT_NOFILE).
    """

    _fields = ("limit",)

    def __init__(self, purpose: str, limit: int) -> None:
        super().__init__(
            f"no file descriptor left for {purpose}: this process may have {limit} open "
            "(RLIMIT_NOFILE, see 'ulimit -n')"
        )
        self.limit = limit


class PidfdUnavailableError(ShmEchoError, OSError):
    """The kernel gives this process no pidfds, by which the end of another one is noticed."""


class ForkedHandleError(ShmEchoError, RuntimeError):
    """A child process used an object that it inherited by fork and that belongs to its parent."""
