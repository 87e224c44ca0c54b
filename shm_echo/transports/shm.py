"""The shared-memory transport, server side: producers map the ring and write into it themselves.

A producer comes through the control socket: it is told the spec and the sizes, asks for the memory
(the descriptors of the ring and of the broadcast), and when it has mapped that, for an owner id.
After that the socket says one thing only: that both sides are there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.service import Service, ServiceRefusalError, Session
from shm_echo.ring.producers import OwnersExhaustedError
from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress
from shm_echo.validation import check_count

if TYPE_CHECKING:
    from shm_echo.transports.shm_client import ShmClient

__all__ = ["RingService", "ShmClient", "ShmTransport"]

DEFAULT_MAX_PRODUCERS = 256


def __getattr__(name: str) -> Any:
    if name == "ShmClient":
        from shm_echo.transports.shm_client import ShmClient

        return ShmClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class ShmTransport:
    """Producers of this host write straight into the server's ring.

    Args:
        address: where producers find the server: a bare name (a socket in a folder that only this
            user can enter), or `ipc:///path/to.sock`.
        backing: the memory of the ring: "posix" (/dev/shm), "memfd", or "auto": a memfd where
            /dev/shm is too small.
        max_producers: how many may be attached at once, at most 65534.
        services: what else is offered at the address, by name, such as
            `{"mechestim": MechEstimService()}`. Whoever made them closes them.
        allow_uids: other users that may connect, and the names of what each is offered, such as
            `{1001: ["mechestim"]}`. The address must be an `ipc://` path then, in a folder
            that they can enter. Who is offered the ring can write into it: a producer is trusted
            with the samples of all.

    Raises:
        TypeError, ValueError: an argument that cannot be.
    """

    def __init__(
        self,
        address: str,
        backing: Backing = "auto",
        max_producers: int = DEFAULT_MAX_PRODUCERS,
        services: Mapping[str, Service] | None = None,
        allow_uids: Mapping[int, Collection[str]] | None = None,
    ) -> None:
        from shm_echo.control.address import parse_address

        if backing not in ("auto", "posix", "memfd"):
            raise ValueError(f"backing must be 'auto', 'posix' or 'memfd', not {backing!r}")
        check_count("max_producers", max_producers, 1, most=65534)
        if services is not None and "ring" in services:
            raise ValueError("the service 'ring' is the transport's own")
        parse_address(address)
        self.address = address
        self.max_producers = max_producers
        self._backing: Backing = backing
        self._services = dict(services or {})
        self._allow_uids = dict(allow_uids or {})
        self._control: ControlServer | None = None

    @property
    def backing(self) -> Backing:
        """The memory of the ring."""
        return self._backing

    def start(self, ingress: Ingress) -> None:
        """Serve the ring at the address.

        Raises:
            AddressInUseError: another live process serves there.
            AddressError: the socket's folder cannot be used.
            ValueError: `allow_uids` names a service that is not offered.
        """
        services = {"ring": RingService(ingress), **self._services}
        control = ControlServer(self.address, services, allow_uids=self._allow_uids)
        control.start()
        self._control = control

    def close(self) -> None:
        """Let all producers go, and remove the socket."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def __repr__(self) -> str:
        return f"ShmTransport({self.address!r}, backing={self._backing!r})"


class RingService:
    """The `ring` service of a control server: hands the ring out and watches who has it."""

    name = "ring"

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress

    def open(self, session: Session) -> dict[str, Any]:
        ingress = self._ingress
        config = ingress.ring.config
        publisher = ingress.publisher
        session.watch = False  # it holds nothing until it attaches
        return {
            "spec": ingress.spec.to_wire(),
            "config": {
                "batch_size": config.batch_size,
                "num_buffers": config.num_buffers,
                "max_producers": config.max_producers,
                "detailed": config.detailed,
            },
            "publishes": publisher.spec.to_wire() if publisher else None,
        }

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        if op == "memory":
            return {}, self._descriptors()
        if op != "attach":
            raise ServiceRefusalError("unknown_op", f"the ring service has no request {op[:64]!r}")
        if session.data is not None:
            raise ServiceRefusalError("attached", "this connection has attached already")
        try:
            owner = self._ingress.producers.attach(session.peer.pid)
        except OwnersExhaustedError as error:
            raise ServiceRefusalError("too_many_producers", str(error)) from None
        session.data = owner
        session.watch = True
        return {"owner": owner}, ()

    def _descriptors(self) -> list[int]:
        """Of the ring, and of what is published. Who has no owner id yet writes nothing there, so
        it may go as it likes."""
        publisher = self._ingress.publisher
        segments = [self._ingress.ring.segment, *([publisher.segment] if publisher else [])]
        return [segment.fileno() for segment in segments]

    def goodbye(self, session: Session) -> None:
        if session.data is not None:
            self._ingress.producers.close(session.data)

    def hangup(self, session: Session) -> None:
        if session.data is not None:
            self._ingress.producers.hang_up(session.data)

    def died(self, session: Session, pid: int, signal: int | None) -> None:
        if session.data is not None:
            self._ingress.producers.died(session.data, signal)

    def tick(self, now: float) -> None:
        """Nothing here depends on the clock."""
