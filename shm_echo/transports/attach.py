"""Attaches a client to a server: compare the examples, map the memory, request an owner id.

The owner id comes last, so that a failure of the steps before it happens while the server does not
count a producer yet, and has nothing to clean up when the client disconnects. A reader maps the
broadcast alone, and has no owner id.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.control.protocol.ring_requests import AttachRequest, run_difference
from shm_echo.errors import (
    HandshakeTimeoutError,
    OtherServerError,
    ProtocolError,
    RefusedError,
    RequestError,
    RequestTimeoutError,
    ServerNotFoundError,
)
from shm_echo.ring.broadcast import Subscriber
from shm_echo.ring.ring import Ring, RingConfig
from shm_echo.ring.segment import sigbus_guard_enabled
from shm_echo.spec import TreeSpec
from shm_echo.spec.rebuild import example_from_wire
from shm_echo.transports.client_advice import advice_for_name

__all__ = ["ReaderAttachment", "RingAttachment", "attach", "attach_reader"]

_NO_DETAILS = AttachRequest()


class RingAttachment(NamedTuple):
    """The attachment of one producer to a ring.

    Attributes:
        connection: the control connection, open while the producer is attached.
        ring: the mapped ring.
        owner: the id under which the producer claims slots.
        subscriber: reads the published values; None if the server does not publish.
    """

    connection: ClientConnection
    ring: Ring
    owner: int
    subscriber: Subscriber | None


def attach(
    address: str,
    spec: TreeSpec | None,
    publishes: TreeSpec | None,
    timeout: float,
    server_uid: int | None = None,
    request: AttachRequest = _NO_DETAILS,
    instance_id: bytes | None = None,
) -> RingAttachment:
    """Attach to the ring of the server at `address`.

    Args:
        address: the address of the server.
        spec: the spec of the samples that will be sent; None takes the server's.
        publishes: the spec of the published values; None accepts the server's.
        timeout: seconds to wait for a server that is not up yet, and for its answers, for which it
            has 5 s at least.
        server_uid: another user whose server is trusted, beside this user.
        request: what the client says about itself.
        instance_id: the server that must answer; None takes any.

    Raises:
        OtherServerError: another server answered.
        SpecMismatchError: an example differs from the server's.
        ValueError: no example was given, and the server's cannot be made from its description.
        HandshakeError: attaching failed; the subclass gives the reason.
        ConnectionClosedError: the server went away during the attach.
        MemoryError: this process may map no more memory.
        ValueError: SHM_ECHO_SIGBUS is neither on nor off.
        DescriptorLimitError: this process may open no more files.
    """
    sigbus_guard_enabled()  # a wrong value of the variable is an error before the server is asked
    connection = _connect(address, timeout, server_uid)
    try:
        _check_server(address, connection.info, request, instance_id)
        config, spec, published = _check_examples(address, connection.info, spec, publishes)
        _, descriptors = _request(connection, address, "memory")
        ring, subscriber = _map_memory(connection, address, spec, config, published, descriptors)
        reply, descriptors = _request(connection, address, "attach", request.to_args())
        for fd in descriptors:
            os.close(fd)
        owner = reply.get("owner")
        if descriptors or type(owner) is not int or not 1 <= owner <= config.max_producers:
            raise ProtocolError(f"{address} sent no owner id that its ring has")
        return RingAttachment(connection, ring, owner, subscriber)
    except BaseException:
        # No slot was claimed. The goodbye returns the owner id, if the server has assigned one.
        connection.goodbye(timeout=1.0)
        raise


class ReaderAttachment(NamedTuple):
    """The attachment of one reader to a server.

    Attributes:
        connection: the control connection, open while the reader is attached.
        subscriber: reads the published values.
    """

    connection: ClientConnection
    subscriber: Subscriber


def attach_reader(
    address: str,
    spec: TreeSpec | None,
    publishes: TreeSpec | None,
    timeout: float,
    server_uid: int | None,
    request: AttachRequest,
    instance_id: bytes | None = None,
) -> ReaderAttachment:
    """Attach to what the server at `address` publishes, and not to its ring.

    Args:
        address: the address of the server.
        spec: the spec that the server's samples must have; None takes any.
        publishes: the spec of the published values; None accepts the server's.
        timeout: as for `attach`.
        server_uid: another user whose server is trusted, beside this user.
        request: what the client says about itself; its role is "reader".
        instance_id: the server that must answer; None takes any.

    Raises:
        OtherServerError: another server answered.
        RefusedError: the server publishes nothing, or serves another run.
        SpecMismatchError: an example differs from the server's.
        HandshakeError: attaching failed; the subclass gives the reason.
        ConnectionClosedError: the server went away during the attach.
        MemoryError: this process may map no more memory.
        DescriptorLimitError: this process may open no more files.
    """
    connection = _connect(address, timeout, server_uid)
    try:
        info = connection.info
        _check_server(address, info, request, instance_id)
        try:
            theirs, published = info["spec"], info["publishes"]
        except (KeyError, TypeError):
            raise ProtocolError(f"{address} described no ring") from None
        if spec is not None:
            spec.require_equal(theirs)
        if published is not None:  # otherwise the server refuses
            publishes = _check_published(address, published, publishes)
        _, descriptors = _request(connection, address, "attach", request.to_args())
        with _own_descriptors(address, descriptors, "broadcast") as fds:
            if publishes is None or len(fds) != 1:
                raise ProtocolError(f"{address} sent no broadcast")
            subscriber = Subscriber(publishes, fds.pop(), connection.pidfd, address)
        return ReaderAttachment(connection, subscriber)
    except BaseException:
        connection.goodbye(timeout=1.0)
        raise


def _connect(address: str, timeout: float, server_uid: int | None) -> ClientConnection:
    try:
        return connect(address, "ring", timeout=timeout, server_uid=server_uid)
    except ServerNotFoundError as error:
        advice = advice_for_name(address)
        if not advice:
            raise
        detail = str(error).removeprefix(f"no server at {error.address}: ")
        raise ServerNotFoundError(error.address, detail + advice) from None


def _request(
    connection: ClientConnection, address: str, op: str, args: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[int]]:
    began = time.monotonic()
    left = max(0.0, connection.answer_by - began)
    try:
        return connection.request(op, args or {}, timeout=left)
    except RequestTimeoutError:
        raise HandshakeTimeoutError(
            address, left, connection.peer.pid, f"no reply to {op!r} came"
        ) from None
    except RequestError as error:
        raise RefusedError(address, error.code, str(error), error.fields) from None


def _check_server(
    address: str, info: Any, request: AttachRequest, instance_id: bytes | None
) -> None:
    """Check that the server is the one that is meant, and that it serves the client's run.

    The server would refuse another run itself, but that may also have other examples.
    """
    if instance_id is not None and info.get("instance_id") != instance_id:
        raise OtherServerError(address)
    theirs = info.get("run_id")
    if theirs is not None and type(theirs) is not str:
        raise ProtocolError(f"{address} described no ring")
    difference = run_difference(theirs, request.run_id)
    if difference is not None:
        raise RefusedError(address, "run_id", difference, {"run_id": theirs})


def _check_examples(
    address: str, info: Any, spec: TreeSpec | None, publishes: TreeSpec | None
) -> tuple[RingConfig, TreeSpec, TreeSpec | None]:
    """Compare the examples; return the ring's configuration, its spec and the published spec."""
    try:
        sizes = info["config"]
        config = RingConfig(
            *(sizes[k] for k in ("batch_size", "num_buffers", "max_producers", "detailed"))
        )
        theirs, published = info["spec"], info["publishes"]
    except (KeyError, TypeError):
        raise ProtocolError(f"{address} described no ring") from None
    counts = (config.batch_size, config.num_buffers, config.max_producers)
    if not all(type(n) is int and 0 < n < 2**31 for n in counts):
        raise ProtocolError(f"{address} described a ring without a valid size")
    if spec is None:
        spec = _spec_from_wire(theirs, f"an example to send to {address}")
    spec.require_equal(theirs)
    if published is not None:
        return config, spec, _check_published(address, published, publishes)
    if publishes is not None:
        raise ValueError(f"the server at {address} publishes nothing")
    return config, spec, None


def _check_published(address: str, published: Any, publishes: TreeSpec | None) -> TreeSpec:
    """Compare the examples of the published values; return their spec."""
    if publishes is None:
        # Built again at each attach: a restarted server may publish other values.
        publishes = _spec_from_wire(
            published, f"publishes=example to read what {address} publishes"
        )
    publishes.require_equal(published)
    return publishes


def _spec_from_wire(wire: object, advice: str) -> TreeSpec:
    try:
        return TreeSpec.from_example(example_from_wire(wire))
    except ProtocolError:
        raise
    except ValueError as error:
        raise ValueError(f"{error}: give the client {advice}") from None


def _map_memory(
    connection: ClientConnection,
    address: str,
    spec: TreeSpec,
    config: RingConfig,
    published: TreeSpec | None,
    descriptors: Sequence[int],
) -> tuple[Ring, Subscriber | None]:
    """Map the memory behind the descriptors, and close them in any case."""
    with _own_descriptors(address, descriptors, "ring") as fds:
        if len(fds) != (1 if published is None else 2):
            raise ProtocolError(f"{address} sent no ring")
        ring = Ring.attach(spec, config, fds.pop(0))
        if published is None:
            return ring, None
        return ring, Subscriber(published, fds.pop(0), connection.pidfd, address)


@contextlib.contextmanager
def _own_descriptors(address: str, descriptors: Sequence[int], memory: str) -> Iterator[list[int]]:
    """Give a list of the descriptors, close what stays in it, and translate errors of mapping."""
    fds = list(descriptors)
    try:
        yield fds
    except ProtocolError:
        raise
    except (ValueError, OSError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit_error(f"the memory of the {memory}") from None
        if number == errno.ENOMEM:
            raise MemoryError(
                f"this process cannot map the {memory} of {address}: no memory or address space "
                "left (see 'ulimit -v')"
            ) from None
        raise ProtocolError(f"{address} sent no usable {memory}: {error}") from None
    finally:
        for fd in fds:
            os.close(fd)
