"""A connector: all that a process needs to become a client of one server, as a small plain value.

It holds no handle and no token, so it can be pickled, sent to other processes and machines and
kept. It imports neither NumPy nor the ring until it connects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shm_echo.control.address import parse_address
from shm_echo.control.protocol.ring_requests import check_label

if TYPE_CHECKING:
    from shm_echo.spec import TreeSpec
    from shm_echo.transports.entrances import TcpEntrance
    from shm_echo.transports.host_facts import HostFacts
    from shm_echo.transports.shm_client import ShmClient
    from shm_echo.transports.tcp.client import TcpClient
    from shm_echo.transports.ways import Prefer

__all__ = ["Connector", "merge_connectors"]

_INSTANCE_BYTES = 16


@dataclass(frozen=True)
class Connector:
    """The way to one server, made by `Server.connector()`.

    Example:
        >>> import pickle
        >>> import numpy as np
        >>> from shm_echo import Server, ShmTransport
        >>> server = Server({"x": np.float32(0)}, batch_size=1, transport=ShmTransport())
        >>> connector = pickle.loads(pickle.dumps(server.connector()))  # usually to another process
        >>> with server, connector.connect() as client:
        ...     client.send({"x": np.float32(3)})
        ...     client.wait()
        ...     server.sample().batch["x"].tolist()
        [3.0]

    Args:
        address: the address of the server's Unix socket, as `Server.address` gives it; None if it
            has no ShmTransport.
        run_id: the run that the server was made for, if it names one.
        tcp: its TCP ports.
        host: the place where it lives, for comparison with the client's.
        instance_id: 16 random bytes of this one server; another one that answers at an address is
            left alone. None takes any.
        spec: the description of the server's example, for ports with echo's wire, which carries
            sizes and shapes only.

    Raises:
        AddressError: the address is malformed.
        TypeError: an argument has the wrong type.
        ValueError: `run_id` is empty, too long or not printable; or there is no way in at all.
    """

    address: str | None
    run_id: str | None = None
    tcp: tuple[TcpEntrance, ...] = ()
    host: HostFacts | None = None
    instance_id: bytes | None = None
    spec: bytes | None = None

    def __post_init__(self) -> None:
        if self.address is not None:
            parse_address(self.address)
        elif not self.tcp:
            raise ValueError("a connector needs an address or a TCP port")
        check_label("run_id", self.run_id)
        wrong = self.instance_id is not None and (
            type(self.instance_id) is not bytes or len(self.instance_id) != _INSTANCE_BYTES
        )
        if wrong:
            raise ValueError(f"instance_id must be {_INSTANCE_BYTES} bytes, not {self.instance_id!r}")

    def connect(
        self, example: Any = None, *, prefer: Prefer = "shm", **options: Any
    ) -> ShmClient | TcpClient:
        """Return a client of the server, through shared memory where that is possible.

        The client is a `ShmClient` if the server's Unix socket can be reached here and hands out
        its memory, else a `TcpClient`. Both have the same calls. The client's `way` says why.

        Args:
            example: a sample, as for `ShmClient`; None takes the structure, shapes and dtypes of
                the server's example, if it consists of dicts, lists, tuples and None.
            prefer: the kind of way to try first: "shm" or "tcp".
            options: further arguments of `ShmClient` and `TcpClient`. Those that only one of them
                has (`server_uid`; `max_inflight_msgs`, `reconnect`, `token`, `tls`,
                `server_hostname`, `dead_after`) have no effect on the other. `connect_timeout`
                (0 unless given) is for a server that is not up yet: in it all ways are tried again.
                `wait_until` is "stored" unless given.

        Raises:
            TypeError: an option is unknown, or has the wrong type.
            ValueError: an option is out of range.
            SpecMismatchError: the example is not the server's; the message names the leaf.
            ServerNotFoundError: no way leads to the server; the message has the reason for each.
            HandshakeError: the server refuses the client, or does not answer; its subclasses give
                the reason.
        """
        from shm_echo.transports.connect_options import check_options
        from shm_echo.transports.way_in import open_client

        check_options(prefer, options)
        return open_client(self, example, prefer, options)

    def described_spec(self) -> Any:
        """Return the wire form of the server's example; None if the connector has none."""
        if self.spec is None:
            return None
        import msgpack

        return msgpack.unpackb(self.spec, strict_map_key=False)

    def of_server(self, instance_id: bytes, spec: TreeSpec) -> Connector:
        """Return this connector for one server, whose example the echo wire does not describe."""
        described = None
        if any(entrance.wire == "echo" for entrance in self.tcp):
            import msgpack

            described = msgpack.packb(spec.to_wire())
        return replace(self, instance_id=instance_id, spec=described)

    def __str__(self) -> str:
        ways = [] if self.address is None else [self.address]
        ways += [f"tcp {entrance}" for entrance in self.tcp]
        return " or ".join(ways)

    def __repr__(self) -> str:
        parts = [repr(str(self))]
        if self.run_id is not None:
            parts.append(f"run_id={self.run_id!r}")
        if self.host is not None:
            parts.append(f"host={self.host.name!r}")
        return f"<Connector to {', '.join(parts)}>"


def merge_connectors(connectors: Sequence[Connector]) -> Connector:
    """Return the connector of a server that has several transports.

    Raises:
        ValueError: the transports name different runs.
    """
    runs = {connector.run_id for connector in connectors}
    if len(runs) > 1:
        named = ", ".join(sorted(map(repr, runs)))
        raise ValueError(f"the transports of one server must name the same run, not {named}")
    addresses = [one.address for one in connectors if one.address is not None]
    return Connector(
        addresses[0] if addresses else None,
        runs.pop() if runs else None,
        tuple(entrance for one in connectors for entrance in one.tcp),
        next((one.host for one in connectors if one.host is not None), None),
    )
