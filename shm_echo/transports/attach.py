"""Attaches a producer to a ring: compare the examples, map the memory, request an owner id.

The owner id comes last, so that a failure of the steps before it happens while the server does not
count a producer yet, and has nothing to clean up when the client disconnects.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from shm_echo.control.client.client_connection import ClientConnection, connect
from shm_echo.control.descriptors import descriptor_limit_error
from shm_echo.errors import ProtocolError, RefusedError, RequestError
from shm_echo.ring.broadcast import Subscriber
from shm_echo.ring.ring import Ring, RingConfig
from shm_echo.ring.segment import sigbus_guard_enabled
from shm_echo.spec import TreeSpec
from shm_echo.spec.rebuild import example_from_wire

__all__ = ["RingAttachment", "attach"]


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
    spec: TreeSpec,
    publishes: TreeSpec | None,
    timeout: float,
    server_uid: int | None = None,
) -> RingAttachment:
    """Attach to the ring of the server at `address`.

    Args:
        address: the address of the server.
        spec: the spec of the samples that will be sent.
        publishes: the spec of the published values; None accepts the server's.
        timeout: seconds to wait for a server that is not up yet.
        server_uid: another user whose server is trusted, beside this user.

    Raises:
        SpecMismatchError: an example differs from the server's.
        HandshakeError: attaching failed; the subclass gives the reason.
        ConnectionClosedError: the server went away during the attach.
        MemoryError: this process may map no more memory.
        ValueError: SHM_ECHO_SIGBUS is neither on nor off.
        DescriptorLimitError: this process may open no more files.
    """
    sigbus_guard_enabled()  # a wrong value of the variable is an error before the server is asked
    connection = connect(address, "ring", timeout=timeout, server_uid=server_uid)
    try:
        config, published = _check_examples(address, connection.info, spec, publishes)
        _, descriptors = _request(connection, address, "memory")
        ring, subscriber = _map_memory(connection, address, spec, config, published, descriptors)
        reply, descriptors = _request(connection, address, "attach")
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


def _request(
    connection: ClientConnection, address: str, op: str
) -> tuple[dict[str, Any], list[int]]:
    try:
        return connection.request(op, {})
    except RequestError as error:
        raise RefusedError(address, error.code, str(error), error.fields) from None


def _check_examples(
    address: str, info: Any, spec: TreeSpec, publishes: TreeSpec | None
) -> tuple[RingConfig, TreeSpec | None]:
    """Compare the examples; return the ring's configuration and the published spec."""
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
    spec.require_equal(theirs)
    if published is None:
        if publishes is not None:
            raise ValueError(f"the server at {address} publishes nothing")
        return config, None
    if publishes is None:
        # Built again at each attach: a restarted server may publish other values.
        try:
            return config, TreeSpec.from_example(example_from_wire(published))
        except ValueError as error:
            raise ValueError(
                f"{error}: give the client publishes=example to read what {address} publishes"
            ) from None
    publishes.require_equal(published)
    return config, publishes


def _map_memory(
    connection: ClientConnection,
    address: str,
    spec: TreeSpec,
    config: RingConfig,
    published: TreeSpec | None,
    descriptors: Sequence[int],
) -> tuple[Ring, Subscriber | None]:
    """Map the memory behind the descriptors, and close them in any case."""
    fds = list(descriptors)
    try:
        if len(fds) != (1 if published is None else 2):
            raise ProtocolError(f"{address} sent no ring")
        ring = Ring.attach(spec, config, fds.pop(0))
        if published is None:
            return ring, None
        return ring, Subscriber(published, fds.pop(0), connection.pidfd, address)
    except ProtocolError:
        raise
    except (ValueError, OSError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.EMFILE, errno.ENFILE):
            raise descriptor_limit_error("the memory of the ring") from None
        if number == errno.ENOMEM:
            raise MemoryError(
                f"this process cannot map the ring of {address}: no memory or address space left "
                "(see 'ulimit -v')"
            ) from None
        raise ProtocolError(f"{address} sent no usable ring: {error}") from None
    finally:
        for fd in fds:
            os.close(fd)
