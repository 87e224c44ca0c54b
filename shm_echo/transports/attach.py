"""How a producer gets into a ring: agree on the examples, map the memory, ask for an owner id.

In this order, so that whatever goes wrong goes wrong before the server counts a producer: until it
has given out an owner id, a client that leaves, however it does, leaves nothing behind.
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
from shm_echo.spec import TreeSpec
from shm_echo.spec.rebuild import example_from_wire

__all__ = ["Attached", "attach"]


class Attached(NamedTuple):
    """A place in a ring.

    Attributes:
        connection: open as long as the place is taken.
        ring: the mapped ring.
        owner: the id under which slots are claimed.
        subscriber: reads what the server publishes; None where it publishes nothing.
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
) -> Attached:
    """Take a place in the ring of the server at `address`.

    Args:
        address: of the server.
        spec: of the samples that will be sent.
        publishes: what the server is expected to publish; None takes whatever it does.
        timeout: seconds to wait for a server that is not up yet.
        server_uid: another user whose server is trusted, beside this one's.

    Raises:
        SpecMismatchError: an example is not the server's.
        HandshakeError: the server cannot be attached to; the subclasses say why.
        ConnectionClosedError: it went away meanwhile.
        MemoryError, DescriptorLimitError: this process may map no more, or open no more files.
    """
    connection = connect(address, "ring", timeout=timeout, server_uid=server_uid)
    try:
        config, published = _agree(address, connection.info, spec, publishes)
        _, descriptors = _ask(connection, address, "memory")
        ring, subscriber = _map(connection, address, spec, config, published, descriptors)
        reply, descriptors = _ask(connection, address, "attach")
        for fd in descriptors:
            os.close(fd)
        owner = reply.get("owner")
        if descriptors or type(owner) is not int or not 1 <= owner <= config.max_producers:
            raise ProtocolError(f"{address} sent no owner id that its ring has")
        return Attached(connection, ring, owner, subscriber)
    except BaseException:
        # Nothing was claimed: give back the owner id that may have been given out.
        connection.goodbye(timeout=1.0)
        raise


def _ask(connection: ClientConnection, address: str, op: str) -> tuple[dict[str, Any], list[int]]:
    try:
        return connection.request(op, {})
    except RequestError as error:
        raise RefusedError(address, error.code, str(error), error.fields) from None


def _agree(
    address: str, info: Any, spec: TreeSpec, publishes: TreeSpec | None
) -> tuple[RingConfig, TreeSpec | None]:
    """The ring's configuration and what is published, once all examples are known to agree."""
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
        raise ProtocolError(f"{address} described a ring of no size")
    spec.require_equal(theirs)
    if published is None:
        if publishes is not None:
            raise ValueError(f"the server at {address} publishes nothing")
        return config, None
    if publishes is None:
        # A spec of its own at each attach: whatever the server publishes is taken.
        try:
            return config, TreeSpec.from_example(example_from_wire(published))
        except ValueError as error:
            raise ValueError(
                f"{error}: give the client publishes=example to read what {address} publishes"
            ) from None
    publishes.require_equal(published)
    return config, publishes


def _map(
    connection: ClientConnection,
    address: str,
    spec: TreeSpec,
    config: RingConfig,
    published: TreeSpec | None,
    descriptors: Sequence[int],
) -> tuple[Ring, Subscriber | None]:
    """The memory behind the descriptors, which are taken over."""
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
