"""The shared-memory transport, server side: producers map the ring and write into it themselves.

A producer connects through the control socket. The welcome describes the spec and the sizes; the
producer requests the memory (the descriptors of the ring and of the broadcast), maps it, and then
requests an owner id. A reader requests the broadcast alone. From then on the connection only shows
each side that the other one is alive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shm_echo.control.protocol.ring_requests import AttachRequest, check_label, run_difference
from shm_echo.control.server.control_server import ControlServer, ServerLimits
from shm_echo.control.server.service import Service, ServiceRefusalError, Session
from shm_echo.copying import reject_copy
from shm_echo.ring.producers import OwnersExhaustedError
from shm_echo.ring.ring import MAX_PRODUCERS
from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress
from shm_echo.transports.connector import Connector
from shm_echo.validation import check_count

if TYPE_CHECKING:
    from shm_echo.ring.ring import RingConfig
    from shm_echo.spec import TreeSpec
    from shm_echo.transports.shm_client import ShmClient

__all__ = ["RingService", "ShmClient", "ShmTransport"]

DEFAULT_MAX_PRODUCERS = 256
_ANY_NUMBER = 1 << 30


def __getattr__(name: str) -> Any:
    if name == "ShmClient":
        from shm_echo.transports.shm_client import ShmClient

        return ShmClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class ShmTransport:
    """Lets producers of this host write straight into the server's ring.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, ShmClient, ShmTransport
        >>> example = {"x": np.float32(0)}
        >>> transport = ShmTransport("transport-example", max_producers=4)
        >>> with Server(example, batch_size=2, transport=transport) as server:
        ...     with ShmClient("transport-example", example) as client:
        ...         client.send_batch({"x": np.array([1, 2], np.float32)})
        ...     server.sample().batch["x"].tolist()
        2
        [1.0, 2.0]

    Args:
        address: the address of the server: a bare name (a socket in a folder that only this user
            can enter, the same for all of the user's processes), or `ipc:///path/to.sock`; None
            makes a name that no other server has.
        backing: the memory of the ring: "posix" (/dev/shm), "memfd" (which no process can
            truncate), or "auto": a memfd where /dev/shm is too small, absent or read-only, or where
            `allow_uids` lets other users into the ring.
        max_producers: the number of producers that may be attached at once, at most 65534.
        services: further services at the address, by name, such as
            `{"mechestim": MechEstimService()}`. The transport does not close them.
        allow_uids: other users that may connect, and the names of the services that each may use,
            such as `{1001: ["mechestim"]}`. The address must then be an `ipc://` path in a folder
            that they can enter. A user with access to the service `ring` can write into the memory
            of all producers.
        run_id: a name of the run, of 1 to 64 characters; clients must give the same one. It keeps
            the clients of another run apart, which use the same address by mistake.
        sigbus_guard: False to leave the signal SIGBUS to the program, which a producer that
            truncates memory of /dev/shm then ends; as SHM_ECHO_SIGBUS=0 does for the process.

    Attributes:
        address: the address, as given or made.
        run_id: as given.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the address is malformed.
    """

    kind = "shm"

    def __init__(
        self,
        address: str | None = None,
        backing: Backing = "auto",
        max_producers: int = DEFAULT_MAX_PRODUCERS,
        services: Mapping[str, Service] | None = None,
        allow_uids: Mapping[int, Collection[str]] | None = None,
        *,
        run_id: str | None = None,
        sigbus_guard: bool = True,
    ) -> None:
        from shm_echo.control.address import parse_address, unique_name

        if backing not in ("auto", "posix", "memfd"):
            raise ValueError(f"backing must be 'auto', 'posix' or 'memfd', not {backing!r}")
        if services is not None and "ring" in services:
            raise ValueError("the service 'ring' is the transport's own")
        check_label("run_id", run_id)
        self.address = unique_name() if address is None else address
        parse_address(self.address)
        self.run_id = run_id
        self.max_producers = check_count("max_producers", max_producers, 1, most=MAX_PRODUCERS)
        self._backing: Backing = backing
        self._services = dict(services or {})
        self._allow_uids = dict(allow_uids or {})
        self.sigbus_guard = bool(sigbus_guard)
        self._control: ControlServer | None = None

    def check_examples(
        self, spec: TreeSpec, config: RingConfig, publishes: TreeSpec | None
    ) -> None:
        """Check that producers can be told what this server expects; `Server` calls it.

        Raises:
            ValueError: the description of the examples does not fit into one message.
        """
        from shm_echo.control.protocol.handshake import check_welcome

        try:
            check_welcome(_describe(spec, config, publishes, self.run_id))
        except ValueError as error:
            leaves = len(spec.leaves) + (len(publishes.leaves) if publishes else 0)
            raise ValueError(
                f"the example{' and the published one have' if publishes else ' has'} {leaves:,} "
                f"leaves, whose description cannot be sent to a producer: {error}. A leaf takes 4 "
                "items, and one more for each axis and each key: stack leaves into arrays"
            ) from None

    @property
    def backing(self) -> Backing:
        """Return the kind of memory of the ring."""
        if self._backing == "auto" and any("ring" in names for names in self._allow_uids.values()):
            return "memfd"  # sealed against users who are trusted with samples, but not with more
        return self._backing

    def start(self, ingress: Ingress) -> None:
        """Serve the ring at the address.

        Raises:
            AddressInUseError: another live process serves at the address.
            AddressError: the socket's folder cannot be used.
            ValueError: `allow_uids` names a service that is not offered.
        """
        services = {"ring": RingService(ingress, self.run_id), **self._services}
        # Clients of this user are limited by the descriptors of the process alone, or a few more
        # readers could keep producers out. Other users may not take all of these.
        limits = None if self._allow_uids else ServerLimits(_ANY_NUMBER, _ANY_NUMBER)
        control = ControlServer(self.address, services, limits, allow_uids=self._allow_uids)
        control.start()
        self._control = control

    def close(self) -> None:
        """Detach all producers, and remove the socket."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def connector(self) -> Connector:
        """Return the way to this transport's server, to be sent to other processes."""
        return Connector(self.address, self.run_id)

    def __getstate__(self) -> dict[str, Any]:
        if self._control is not None:  # before its start a transport is only a description
            reject_copy(
                "a started ShmTransport",
                "it serves its address; send its connector() to the other process instead",
            )
        return vars(self)

    def __repr__(self) -> str:
        return f"ShmTransport({self.address!r}, backing={self._backing!r})"


@dataclass(frozen=True)
class _Reader:
    """The data of a session whose client only reads; that of a producer is its owner id."""

    number: int


def _describe(
    spec: TreeSpec,
    config: RingConfig,
    publishes: TreeSpec | None,
    run_id: str | None,
    instance_id: bytes,
) -> dict[str, Any]:
    """Return the description of a ring that its producers get with their welcome."""
    return {
        "spec": spec.to_wire(),
        "config": {
            "batch_size": config.batch_size,
            "num_buffers": config.num_buffers,
            "max_producers": config.max_producers,
            "detailed": config.detailed,
        },
        "publishes": publishes.to_wire() if publishes else None,
        "run_id": run_id,
        "instance_id": instance_id,
    }


class RingService:
    """The `ring` service of a control server: hands out the ring and watches its producers."""

    name = "ring"

    def __init__(self, ingress: Ingress, run_id: str | None = None) -> None:
        self._ingress = ingress
        self._run_id = run_id

    def open(self, session: Session) -> dict[str, Any]:
        ingress = self._ingress
        publisher = ingress.publisher
        session.watch = False  # a session without an owner id needs no clean-up when it ends
        return _describe(
            ingress.spec, ingress.ring.config, publisher.spec if publisher else None, self._run_id
        )

    def request(
        self, session: Session, op: str, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        if op == "memory":
            if isinstance(session.data, _Reader):
                raise ServiceRefusalError("reader", "a reader gets no memory of the ring")
            self._ingress.producers.mend()  # the newcomer compares the ring's description
            return {}, self._descriptors()
        if op == "standing":
            return self._standing(session), ()
        if op != "attach":
            raise ServiceRefusalError("unknown_op", f"the ring service has no request {op[:64]!r}")
        if session.data is not None:
            raise ServiceRefusalError("attached", "this connection has attached already")
        return self._attach(session, args)

    def _attach(
        self, session: Session, args: dict[str, Any]
    ) -> tuple[dict[str, Any], Sequence[int]]:
        try:
            request = AttachRequest.from_args(args)
        except (TypeError, ValueError) as error:
            raise ServiceRefusalError("bad_request", f"attach: {error}") from None
        difference = run_difference(self._run_id, request.run_id)
        if difference is not None:
            raise ServiceRefusalError("run_id", difference, {"run_id": self._run_id})
        if request.role == "reader":
            return self._attach_reader(session)
        try:
            owner = self._ingress.producers.attach(session.peer.pid, request.producer_id)
        except OwnersExhaustedError as error:
            raise ServiceRefusalError("too_many_producers", str(error)) from None
        session.data = owner
        session.watch = True
        return {"owner": owner}, ()

    def _attach_reader(self, session: Session) -> tuple[dict[str, Any], Sequence[int]]:
        publisher = self._ingress.publisher
        if publisher is None:
            raise ServiceRefusalError(
                "publishes_nothing", "it publishes nothing: give its Server publishes=example"
            )
        session.data = _Reader(self._ingress.readers.attach(session.peer.pid))
        return {}, [publisher.segment.fileno()]

    def _standing(self, session: Session) -> dict[str, Any]:
        """Answer a client whose memory says that the ring is closed, or that it is revoked."""
        producers = self._ingress.producers
        producers.mend()
        return {"may_send": session.data is not None and producers.may_send(session.data)}

    def _descriptors(self) -> list[int]:
        """Return the descriptors of the ring and, if the server publishes, of the broadcast."""
        publisher = self._ingress.publisher
        segments = [self._ingress.ring.segment, *([publisher.segment] if publisher else [])]
        return [segment.fileno() for segment in segments]

    def goodbye(self, session: Session) -> None:
        if not self._reader_left(session):
            self._ingress.producers.close(session.data)

    def hangup(self, session: Session) -> None:
        if not self._reader_left(session):
            self._ingress.producers.hang_up(session.data)

    def died(self, session: Session, pid: int, signal: int | None) -> None:
        if not self._reader_left(session):
            self._ingress.producers.died(session.data, signal)

    def _reader_left(self, session: Session) -> bool:
        """Detach the session's reader. Return False if the session has a producer."""
        if isinstance(session.data, _Reader):
            self._ingress.readers.detach(session.data.number)
        return not isinstance(session.data, int)

    def tick(self, now: float) -> None:
        """Bring the SIGBUS handler back if this program has removed it."""
        self._ingress.ring.segment.mapping.renew_guard()
