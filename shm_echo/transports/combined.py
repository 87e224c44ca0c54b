"""Several transports of one server: they start together or not at all, and end together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress, Transport

if TYPE_CHECKING:
    from shm_echo.ring.ring import RingConfig
    from shm_echo.spec import TreeSpec
    from shm_echo.transports.connector import Connector

__all__ = ["CombinedTransport", "check_transport", "own_producers"]


def check_transport(transport: Any) -> Transport | None:
    """Return the transport of a server, from what its argument `transport` may be.

    Args:
        transport: a transport, a list or tuple of them, or None.

    Raises:
        TypeError: it is none of these.
        ValueError: the list is empty, or names one transport twice.
    """
    if transport is None or _is_transport(transport):
        one: Transport | None = transport
        return one
    if not isinstance(transport, (list, tuple)):
        raise TypeError(
            f"transport must be a Transport, a list of them or None, not {transport!r}"
            f"{_advice(transport)}"
        )
    if not transport:
        raise ValueError("transport is an empty list: give None for a server without a transport")
    for part in transport:
        if not _is_transport(part):
            raise TypeError(f"transport must be a list of Transports; it has {part!r}")
    if len({id(part) for part in transport}) < len(transport):
        raise ValueError("transport names one Transport twice: each may be started once")
    return transport[0] if len(transport) == 1 else CombinedTransport(transport)


def _advice(value: Any) -> str:
    """Return how to serve at what was given for a transport."""
    if type(value) is int:
        return f"; TcpTransport({value}) listens at this port"
    if type(value) is not str:
        return ""
    if value.startswith("tcp://"):
        return "; TcpTransport(port, host=...) listens at a port"
    return f"; ShmTransport({value!r}) serves at it"


def _is_transport(value: object) -> bool:
    return isinstance(value, Transport) and not isinstance(value, type)


def own_producers(transport: Transport | None, num_drainers: int) -> int:
    """Return the number of owner ids that the threads of a transport need; most have none."""
    count = getattr(transport, "own_producers", None)
    return 0 if count is None else int(count(num_drainers))


class CombinedTransport:
    """Several transports behind the interface of one.

    Args:
        parts: the transports; `address`, `port` and `connector` are those of the first that has
            one.
    """

    def __init__(self, parts: Sequence[Transport]) -> None:
        self.parts = tuple(parts)
        self._started: list[Transport] = []

    @property
    def backing(self) -> Backing:
        """Return the kind of memory of the ring: of the first transport whose producers map it."""
        kinds = [part.backing for part in self.parts]
        return next((kind for kind in kinds if kind != "private"), "private")

    @property
    def max_producers(self) -> int:
        """The number of producers that may be attached at once through all transports."""
        return sum(int(getattr(part, "max_producers", 256)) for part in self.parts)

    @property
    def sigbus_guard(self) -> bool:
        """Return True unless a transport leaves SIGBUS to the program."""
        return all(getattr(part, "sigbus_guard", True) for part in self.parts)

    @property
    def carries_values(self) -> bool:
        """Return True if producers of one of the transports can read what the server publishes."""
        return any(getattr(part, "carries_values", True) for part in self.parts)

    def own_producers(self, num_drainers: int) -> int:
        """Return the number of owner ids that the transports' threads need."""
        return sum(own_producers(part, num_drainers) for part in self.parts)

    def check_examples(
        self, spec: TreeSpec, config: RingConfig, publishes: TreeSpec | None
    ) -> None:
        """Check that each transport can describe the examples to its producers.

        Raises:
            ValueError: one cannot.
        """
        for part in self.parts:
            check = getattr(part, "check_examples", None)
            if check is not None:
                check(spec, config, publishes)

    def start(self, ingress: Ingress) -> None:
        """Start the transports; if one fails, close those before it.

        Those of the network come last: an actor of this host that finds the port open must find
        the socket of the shared memory too.
        """
        with contextlib.ExitStack() as undo:
            for part in sorted(self.parts, key=lambda part: _has(part, "port")):
                part.start(ingress.for_transport(part))
                undo.callback(part.close)
            self._started = list(self.parts)
            undo.pop_all()

    def close(self) -> None:
        """Close the transports, each even if the end of another fails."""
        started, self._started = self._started, []
        with contextlib.ExitStack() as steps:
            for part in started:
                steps.callback(part.close)

    @property
    def address(self) -> str:
        """Return the address of the first transport that has one.

        Raises:
            RuntimeError: none has one.
        """
        return str(self._first("address"))

    @property
    def port(self) -> int:
        """Return the port of the first transport that has one.

        Raises:
            RuntimeError: none has one, or it was not started.
        """
        return int(self._first("port"))

    @property
    def ports(self) -> list[int]:
        """Return the ports of all transports that have one, in their order.

        Raises:
            RuntimeError: none has one, or they were not started.
        """
        self._first("port")
        with_port: list[Any] = [part for part in self.parts if _has(part, "port")]
        return [int(part.port) for part in with_port]

    def connector(self) -> Connector:
        """Return the ways to this server, through all transports that have one.

        Raises:
            RuntimeError: none has one, or one was not started and gets its port then.
            ValueError: the transports name different runs.
        """
        from shm_echo.transports.connector import Connector, merge_connectors

        self._first("connector")
        found = [getattr(one, "connector")() for one in self.parts if _has(one, "connector")]  # noqa: B009
        ours = [one for one in found if isinstance(one, Connector)]
        return merge_connectors(ours) if ours else found[0]

    def _first(self, member: str) -> Any:
        """Return a member of the first transport that has it."""
        for part in self.parts:
            if _has(part, member):
                return getattr(part, member)
        raise RuntimeError(f"none of {self!r} has {member}")

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self.parts))}]"


def _has(part: Transport, member: str) -> bool:
    """Return True if a transport has a member, even one whose value is not there before a start."""
    return hasattr(type(part), member) or member in getattr(part, "__dict__", {})
