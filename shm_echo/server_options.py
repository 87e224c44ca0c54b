"""The arguments of a `Server`: checked once, kept unchanged, and the parts that start from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from shm_echo.ring.broadcast import broadcast_bytes
from shm_echo.ring.ring import MAX_PRODUCERS, Lease, RingConfig, ring_bytes
from shm_echo.ring.segment import sigbus_guard_enabled
from shm_echo.spec import TreeSpec
from shm_echo.transports.base import Transport
from shm_echo.validation import check_count, environment_switch, seconds

__all__ = ["OnProducerDeath", "ServerOptions", "producers_that_end", "transport_member"]

OnProducerDeath = Literal["warn", "raise", "raise_if_last"]
_DEATH_POLICIES = ("warn", "raise", "raise_if_last")


@dataclass(frozen=True)
class ServerOptions:
    """The checked arguments of a `Server`, whose docstring explains each.

    Attributes:
        spec: the structure, shapes and dtypes of a sample.
        config: the sizes of the ring.
        transport: the way by which producers reach the server, or None.
        lease: True to lend batches, False to reuse their memory at the next `sample()`, "copy" to
            lend all but the last free one.
        writable: True to hand out writable arrays.
        publishes: the structure of published values, or None.
        on_death: the effect of a producer that dies.
        lease_timeout: seconds to wait for held batches; None waits without limit.
        pin_host_memory: True to page-lock the ring for copies to a GPU.
        num_drainers: for transports that have drainer threads.
        producer_queue_size: for transports that have queues.
        debug: True if SHM_ECHO_DEBUG is on.
        sigbus_guard: True to survive that another process truncates the memory.
    """

    spec: TreeSpec
    config: RingConfig
    transport: Transport | None
    lease: Lease
    writable: bool
    publishes: TreeSpec | None
    on_death: OnProducerDeath
    lease_timeout: float | None
    pin_host_memory: bool
    num_drainers: int
    producer_queue_size: int
    debug: bool
    sigbus_guard: bool

    @classmethod
    def check(
        cls,
        example: Any,
        batch_size: int,
        transport: Transport | None,
        num_buffers: int,
        num_drainers: int,
        producer_queue_size: int,
        *,
        detailed_metrics: bool,
        lease: Lease,
        writable: bool,
        publishes: Any,
        on_producer_death: OnProducerDeath,
        lease_timeout: float | None,
        pin_host_memory: bool,
    ) -> ServerOptions:
        """Check the arguments of `Server` and return them.

        Raises:
            TypeError: an argument of the wrong type, or a leaf that holds Python objects.
            ValueError: an argument out of range, or an example above a limit.
            ValueError: SHM_ECHO_DEBUG or SHM_ECHO_SIGBUS is neither on nor off.
        """
        spec = TreeSpec.from_example(example)
        # By identity: 1 and 0 equal True and False, and arrays have no truth value.
        if lease is not True and lease is not False and not _is_copy(lease):
            raise ValueError(f"lease must be True, False or 'copy', not {lease!r}")
        batch_size = check_count("batch_size", batch_size, 1)
        least, when = (3, " with lease=True") if lease is True else (2, "")
        num_buffers = check_count("num_buffers", num_buffers, least, when)
        num_drainers = check_count("num_drainers", num_drainers, 1)
        producer_queue_size = check_count("producer_queue_size", producer_queue_size, 1)
        if on_producer_death not in _DEATH_POLICIES:
            raise ValueError(
                f"on_producer_death must be one of {', '.join(map(repr, _DEATH_POLICIES))}, "
                f"not {on_producer_death!r}"
            )
        if transport is not None and not isinstance(transport, Transport):
            advice = f"; ShmTransport({transport!r}) serves at it" if type(transport) is str else ""
            raise TypeError(f"transport must be a Transport or None, not {transport!r}{advice}")
        max_producers = check_count(
            "max_producers of the transport",
            getattr(transport, "max_producers", 256),
            1,
            most=MAX_PRODUCERS,
        )
        config = RingConfig(batch_size, num_buffers, max_producers, bool(detailed_metrics))
        published = None if publishes is None else TreeSpec.from_example(publishes)
        _check_limits(spec, config, published, transport)
        return cls(
            spec,
            config,
            transport,
            lease,
            bool(writable),
            published,
            on_producer_death,
            seconds("lease_timeout", lease_timeout),
            bool(pin_host_memory),
            num_drainers,
            producer_queue_size,
            environment_switch("SHM_ECHO_DEBUG"),
            sigbus_guard_enabled() and bool(getattr(transport, "sigbus_guard", True)),
        )


def producers_that_end(until: str | None, min_producers: int) -> int | None:
    """Return how many producers must have attached before a stream can end; None if it can't.

    Raises:
        ValueError: an argument has another value than those that a server's iterators take.
        TypeError: `min_producers` is no int.
    """
    if until not in (None, "producers_closed"):
        raise ValueError(f"until must be None or 'producers_closed', not {until!r}")
    min_producers = check_count("min_producers", min_producers, 1)
    return None if until is None else min_producers


def _is_copy(lease: object) -> bool:
    return isinstance(lease, str) and lease == "copy"


def transport_member(transport: Transport | None, member: str) -> Any:
    """Return a member of a server's transport that not every transport has.

    Raises:
        RuntimeError: there is no transport, or it has no such member.
    """
    if transport is None:
        raise RuntimeError(
            f"this server has no transport, so it has no {member}: give it one, such as "
            "ShmTransport()"
        )
    try:
        return getattr(transport, member)
    except AttributeError:
        raise RuntimeError(f"{transport!r} has no {member}") from None


def _check_limits(
    spec: TreeSpec, config: RingConfig, published: TreeSpec | None, transport: Transport | None
) -> None:
    """Check the limits that `start`, or every producer, would meet otherwise.

    Raises:
        ValueError: the ring or the broadcast would be too large, or the transport cannot describe
            the examples to its producers.
    """
    ring_bytes(spec, config)
    if published is not None:
        broadcast_bytes(published)
    check_examples = getattr(transport, "check_examples", None)
    if check_examples is not None:
        check_examples(spec, config, published)
