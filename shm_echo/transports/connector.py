"""A connector: all that a process needs to become a client of one server, as a small plain value.

It holds no handle, so it can be pickled, sent to other processes and kept. It imports neither NumPy
nor the ring until it connects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shm_echo.control.address import parse_address
from shm_echo.control.protocol.ring_requests import check_label

if TYPE_CHECKING:
    from shm_echo.transports.shm_client import ShmClient

__all__ = ["Connector"]


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
        address: the server's address, as `Server.address` gives it.
        run_id: the run that the server was made for, if it names one.

    Raises:
        AddressError: the address is malformed.
        TypeError: an argument has the wrong type.
        ValueError: `run_id` is empty, too long or not printable.
    """

    address: str
    run_id: str | None = None

    def __post_init__(self) -> None:
        parse_address(self.address)
        check_label("run_id", self.run_id)

    def connect(self, example: Any = None, **options: Any) -> ShmClient:
        """Return a client of the server.

        Args:
            example: a sample, as for `ShmClient`; None takes the structure, shapes and dtypes of
                the server's example, if it consists of dicts, lists, tuples and None.
            options: further arguments of `ShmClient`, such as `connect_timeout`. `wait_until` is
                "stored" unless it is given.

        Raises:
            TypeError: an option is unknown.
            SpecMismatchError: the example is not the server's; the message names the leaf.
            HandshakeError: the server cannot be attached to; its subclasses give the reason.
        """
        from shm_echo.transports.shm_client import ShmClient

        taken = sorted(options.keys() & {"address", "run_id"})
        if taken:
            raise TypeError(f"connect() got {taken[0]!r}, which the connector has already")
        options.setdefault("wait_until", "stored")
        return ShmClient(self.address, example, run_id=self.run_id, **options)
