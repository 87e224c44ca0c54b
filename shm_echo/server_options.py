"""The arguments of a `Server`: checked once, kept unchanged, and the parts that start from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shm_echo.ring.broadcast import broadcast_bytes
from shm_echo.ring.ring import MAX_PRODUCERS, Lease, RingConfig, ring_bytes
from shm_echo.ring.segment import sigbus_guard_enabled
from shm_echo.spec import TreeSpec
from shm_echo.transports.base import IngressOptions, Transport
from shm_echo.transports.combined import check_transport, own_producers
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
        ingress: what concerns transports with threads and queues of their own.
        own_producers: owner ids of the ring that the transports' threads take.
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
    ingress: IngressOptions
    own_producers: int
    debug: bool
    sigbus_guard: bool

    @classmethod
    def check(
        cls,
        example: Any,
        batch_size: int,
        transport: Transport | Sequence[Transport] | None,
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
        checked = check_transport(transport)
        own = own_producers(checked, num_drainers)
        max_producers = _max_producers(checked, own)
        config = RingConfig(batch_size, num_buffers, max_producers, bool(detailed_metrics))
        published = None if publishes is None else TreeSpec.from_example(publishes)
        _check_limits(spec, config, published, checked)
        return cls(
            spec,
            config,
            checked,
            lease,
            bool(writable),
            published,
            on_producer_death,
            seconds("lease_timeout", lease_timeout),
            bool(pin_host_memory),
            IngressOptions(num_drainers, producer_queue_size, os.urandom(16)),
            own,
            environment_switch("SHM_ECHO_DEBUG"),
            sigbus_guard_enabled() and bool(getattr(checked, "sigbus_guard", True)),
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


def _max_producers(transport: Transport | None, own: int) -> int:
    """Return the number of owner ids of the ring: those of `own` threads, and the producers'."""
    most = check_count(
        "max_producers of the transport",
        getattr(transport, "max_producers", 256),
        0 if own else 1,
        most=MAX_PRODUCERS,
    )
    threads = f"; {own} are those of its threads" if own else ""
    return check_count("owner ids of the transport" + threads, most + own, 1, most=MAX_PRODUCERS)


def _is_copy(lease: object) -> bool:
    return isinstance(lease, str) and lease == "copy"


def transport_member(transport: Transport | None, member: str) -> Any:
    """Return a member of a server's transport that not every transport has.

    Raises:
        RuntimeError: there is no transport, or it has no such member.
    """
    if transport is None:
        if member in ("port", "ports"):  # in the words of `echo`
            raise RuntimeError("no transport configured; pass TcpTransport to __init__")
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
        if not getattr(transport, "carries_values", True):
            raise ValueError(
                f"publishes= needs a transport that brings values to the producers, and "
                f"{transport!r} does not: echo's wire carries samples and acknowledgements only; "
                "give a TcpTransport wire='shm'"
            )
    check_examples = getattr(transport, "check_examples", None)
    if check_examples is not None:
        check_examples(spec, config, published)
