"""The TCP transport, server side: samples of other machines, and of echo's own clients.

Sockets are opened here, when the server starts. The C ingress then accepts, reads and acknowledges
without Python (`native_ingress`). On the shm wire a `ShmAcceptor` accepts instead, since its
connections begin with a conversation, and gives the descriptors to the ingress.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from shm_echo.control.protocol.ring_requests import check_label
from shm_echo.copying import reject_copy
from shm_echo.ring.segment import Backing
from shm_echo.transports.base import Ingress
from shm_echo.transports.entrances import check_advertise
from shm_echo.transports.own_servers import own_servers
from shm_echo.transports.tcp.listener import host_and_port, is_loopback, open_listeners
from shm_echo.transports.tcp.native_config import NativeOptions, set_for_accepted
from shm_echo.transports.tcp.native_ingress import NativeIngress
from shm_echo.validation import check_count, seconds

if TYPE_CHECKING:
    import ssl

    from shm_echo.control.server.tokens import Tokens
    from shm_echo.ring.ring import RingConfig
    from shm_echo.spec import TreeSpec
    from shm_echo.transports.connector import Connector
    from shm_echo.transports.tcp.shm_acceptor import ShmAcceptor

__all__ = ["TcpTransport", "Wire"]

Wire = Literal["echo", "shm"]

_log = logging.getLogger("shm_echo")

_MAX_THREADS = 64
# A thread reads one megabyte in a fraction of a millisecond: eight serve any network of today.
_DEFAULT_THREADS = 8
_LEAST_DEAD_AFTER, _MOST_DEAD_AFTER = 2.0, 86_400.0
_MAX_UINT32 = 2**32 - 1


class TcpTransport:
    """Lets producers of any machine send samples over TCP, also those of the package `echo`.

    Example:
        >>> import numpy as np
        >>> from shm_echo import Server, TcpClient, TcpTransport
        >>> example = {"x": np.float32(0)}
        >>> with Server(example, batch_size=2, transport=TcpTransport(port=0)) as server:
        ...     with TcpClient("127.0.0.1", server.port, example) as client:
        ...         client.send({"x": np.float32(1)})
        ...         client.send({"x": np.float32(2)})
        ...     server.sample().batch["x"].tolist()
        [1.0, 2.0]

    Args:
        port: the port to listen at; 0 takes one that is free, see `Server.port`.
        num_threads: threads that read connections; None for one per core, at most 8.
        host: the address or host name to listen at. The default lets only processes of this machine
            in; "0.0.0.0" every machine that reaches this one by IPv4, "::" by IPv6 too.
        wire: "echo" is the protocol of the package `echo`, to the byte. "shm" also tells the
            clients the dtypes, takes tokens and TLS, sends values back (`Server.publish`) and
            resends after a reconnection without duplicates. None means "shm" with `token` or
            `tls`, else "echo". Our TcpClient speaks both.
        token: the secret that clients must know: a text, the path (a `pathlib.Path`) of a file
            with tokens, or texts by the names of their holders.
        tls: a server-side context that encrypts the connections.
        advertise: the addresses for other machines, for `Server.connector()`: one or several texts
            "HOST", "HOST:PORT" or "[V6]:PORT", tried in this order; None for those of `host`.
        run_id: a name of the run, of 1 to 64 characters; clients of the shm wire must give the same
            one.
        ingress_bytes: a bound, in bytes, on all samples that wait in queues.
        dead_after: seconds after which a peer whose host has vanished counts as lost; None waits
            without limit.

    Attributes:
        host: as given.
        wire: the protocol in use.
        tokens: the tokens that clients may have, or None.
        tls: as given.
        advertise: as given, as a tuple.
        run_id: as given.
        max_producers: 0: connections take no owner ids of the ring, and have no limit but that of
            the process's descriptors.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or needs the other wire.
    """

    kind = "tcp"
    max_producers = 0

    def __init__(
        self,
        port: int,
        num_threads: int | None = None,
        *,
        host: str = "127.0.0.1",
        wire: Wire | None = None,
        token: str | os.PathLike[str] | Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        advertise: str | Sequence[str] | None = None,
        run_id: str | None = None,
        ingress_bytes: int = 256 * 2**20,
        dead_after: float | None = 30.0,
    ) -> None:
        self._asked_port = check_count("port", port, 0, most=65535)
        self.num_threads = (
            min(_DEFAULT_THREADS, len(os.sched_getaffinity(0)))
            if num_threads is None
            else check_count("num_threads", num_threads, 1, most=_MAX_THREADS)
        )
        self.host = _check_host(host)
        self.wire: Wire = _check_wire(wire, token=token, tls=tls, run_id=run_id)
        self.tokens = _check_token(token)
        self.tls = tls
        self.advertise = _check_advertise(advertise)
        self.run_id = run_id
        self.ingress_bytes = check_count("ingress_bytes", ingress_bytes, 1, most=2**63 - 1)
        self.dead_after = _check_dead_after(dead_after)
        self._native: NativeIngress | None = None
        self._acceptor: ShmAcceptor | None = None
        self._ports: list[int] = []

    # ---------------------------------------------------------------- what a server asks for

    @property
    def backing(self) -> Backing:
        """Return the kind of memory of the ring: only this process touches it."""
        return "private"

    def own_producers(self, num_drainers: int) -> int:
        """Return the number of owner ids that the threads of this transport need."""
        return self.num_threads + num_drainers

    def check_examples(
        self, spec: TreeSpec, config: RingConfig, publishes: TreeSpec | None
    ) -> None:
        """Check that samples of this example can be sent over the wire; `Server` calls it.

        Raises:
            ValueError: a sample has no bytes, or more than the queues hold, or a leaf has a length
                that the wire cannot tell.
        """
        if spec.nbytes == 0:
            raise ValueError(
                "the example has leaves of 0 bytes only: a stream of such samples over TCP has no "
                "bytes in which one could arrive"
            )
        if spec.nbytes > self.ingress_bytes:
            raise ValueError(
                f"a sample has {spec.nbytes:,} bytes, and ingress_bytes={self.ingress_bytes:,} "
                "bounds the memory of all queued ones: raise it"
            )
        for leaf in spec.leaves:
            too_large = max((leaf.dtype.itemsize, *leaf.shape)) > _MAX_UINT32
            if too_large:
                raise ValueError(
                    f"{leaf.path or 'the example'}: {leaf} has a length or an item size above "
                    f"{_MAX_UINT32:,}, the largest that the wire can tell"
                )

    @property
    def carries_values(self) -> bool:
        """Return True if producers can read what the server publishes."""
        return self.wire == "shm"

    # ---------------------------------------------------------------- life

    def start(self, ingress: Ingress) -> None:
        """Listen at the port, and let producers in.

        Raises:
            PortInUseError: another socket listens at the port.
            BindError: the host or the port cannot be used.
            RuntimeError: it was started before.
        """
        if self._native is not None:
            raise RuntimeError("failed to start transport: it was started already")
        options = NativeOptions(self.wire, self.num_threads, self.ingress_bytes, self.dead_after)
        with contextlib.ExitStack() as undo:
            listeners = open_listeners(self.host, self._asked_port)
            for sock in listeners:
                undo.callback(sock.close)
            ports = list(dict.fromkeys(sock.getsockname()[1] for sock in listeners))
            native = NativeIngress(options, ingress)
            undo.callback(native.close)
            self._announce(listeners)
            self._acceptor = self._let_in(listeners, native, ingress)
            self._native, self._ports = native, ports
            for port in ports:
                own_servers.add_port(port, ingress.instance_id)
            undo.pop_all()

    def _let_in(
        self, listeners: Sequence[socket.socket], native: NativeIngress, ingress: Ingress
    ) -> ShmAcceptor | None:
        """Accept connections: in C, or through an acceptor, which keeps the listeners."""
        if self.wire == "shm":
            from shm_echo.transports.tcp.shm_acceptor import (
                open_acceptor,
            )  # with all of the shm wire

            for sock in listeners:
                set_for_accepted(sock, self.dead_after, with_tls=self.tls is not None)
            return open_acceptor(
                listeners, native, ingress, tokens=self.tokens, tls=self.tls, run_id=self.run_id
            )
        for sock in listeners:
            native.listen(sock)
        for sock in listeners:
            sock.close()  # the ingress has a duplicate of its own
        return None

    def _announce(self, listeners: Sequence[socket.socket]) -> None:
        """Log where the transport listens, if that is narrower or wider than one may think."""
        at = ", ".join(host_and_port(*sock.getsockname()[:2]) for sock in listeners)
        if all(map(is_loopback, listeners)):
            _log.info("listening on %s only; host='0.0.0.0' lets other machines in", at)
        elif self.tokens is None and not self._wants_certificate():
            _log.warning(
                "listening on %s without a token: every machine that reaches it can send samples "
                "(token= asks clients for one)",
                at,
            )

    def _wants_certificate(self) -> bool:
        """Return True if clients must have a certificate, which names them as a token does."""
        return self.tls is not None and self.tls.verify_mode.name == "CERT_REQUIRED"

    def close(self) -> None:
        """Close the port and all connections."""
        for port in self._ports:
            own_servers.discard_port(port)
        native, self._native = self._native, None
        acceptor, self._acceptor = self._acceptor, None
        try:
            if acceptor is not None:
                acceptor.close()
        finally:  # after an interrupt, too: its threads write into the ring, which goes next
            dropped = native.close() if native is not None else 0
            if dropped:
                _log.warning(
                    "%r dropped %d samples that were acknowledged and not yet in the ring",
                    self,
                    dropped,
                )

    # ---------------------------------------------------------------- where it is

    @property
    def ports(self) -> list[int]:
        """Return the port, in a list.

        Raises:
            RuntimeError: it was not started, or is closed.
        """
        if self._native is None:
            raise RuntimeError("transport not started; call start() first")
        return list(self._ports)

    @property
    def port(self) -> int:
        """Return the port in use.

        Raises:
            RuntimeError: it was not started, or is closed.
        """
        return self.ports[0]

    @property
    def address(self) -> str:
        """Return the address, "tcp://HOST:PORT".

        Raises:
            RuntimeError: the port is chosen at the start, and it was not started.
        """
        port = self._asked_port or self.port
        return f"tcp://{host_and_port(self.host, port)}"

    def connector(self) -> Connector:
        """Return the way to this port, to be sent to other processes and machines.

        Raises:
            RuntimeError: the port is chosen at the start, and it was not started.
        """
        from shm_echo.transports.tcp.tcp_connector import connector_of_port

        if self._native is None and not self._asked_port:
            raise RuntimeError("call start() first: port 0 becomes a number at the start")
        return connector_of_port(
            self.host,
            self._asked_port or self.port,
            self.advertise or None,
            wire=self.wire,
            tls=self.tls is not None,
            run_id=self.run_id,
        )

    def __getstate__(self) -> dict[str, Any]:
        if self._native is not None:  # before its start a transport is only a description
            reject_copy("a started TcpTransport", "it serves its port; send the address instead")
        return vars(self)

    def __repr__(self) -> str:
        port = self._ports[0] if self._native is not None else self._asked_port
        return f"TcpTransport({port}, host={self.host!r}, wire={self.wire!r})"


def _check_host(host: Any) -> str:
    if type(host) is not str:
        raise TypeError(f"host must be text, not {type(host).__name__}")
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not text or not text.isprintable() or "/" in text or " " in text:
        raise ValueError(
            f"host must be an address or a host name, not {host!r}; '0.0.0.0' stands for all "
            "addresses of this machine"
        )
    return text


def _check_wire(wire: Any, *, token: Any, tls: Any, run_id: Any) -> Wire:
    if wire not in (None, "echo", "shm"):
        raise ValueError(f"wire must be 'echo', 'shm' or None, not {wire!r}")
    check_label("run_id", run_id)
    secured = token is not None or tls is not None
    if wire == "echo":
        for name, value in {"token": token, "tls": tls, "run_id": run_id}.items():
            if value is not None:
                raise ValueError(
                    f"{name} needs wire='shm': the clients of echo's wire send nothing but samples"
                )
        return "echo"
    if tls is not None:
        # With `ssl`, which imports much that a server without TLS does not need.
        from shm_echo.transports.tcp.tls_context import check_server_context

        check_server_context(tls)
    return "shm" if secured or run_id is not None or wire == "shm" else "echo"


def _check_token(token: Any) -> Tokens | None:
    """Return the tokens that clients may have; no message shows one."""
    if token is None:
        return None
    from shm_echo.control.server.tokens import Tokens  # imports cryptography
    from shm_echo.transports.tcp.client_token import ClientToken

    if type(token) is str:
        ClientToken(token, "token=")  # its words: this token has no holder's name
        return Tokens({"token": token})
    if isinstance(token, Mapping):
        return Tokens(token)
    if isinstance(token, os.PathLike):
        return Tokens.read(os.fspath(token))
    raise TypeError(
        "token must be text, a path, tokens by the names of their holders, or None, not "
        f"{type(token).__name__}"
    )


def _check_advertise(advertise: Any) -> tuple[str, ...]:
    check_advertise(advertise)
    return (advertise,) if isinstance(advertise, str) else tuple(advertise or ())


def _check_dead_after(dead_after: Any) -> float | None:
    value = seconds("dead_after", dead_after)
    if value is not None and not _LEAST_DEAD_AFTER <= value <= _MOST_DEAD_AFTER:
        raise ValueError(
            f"dead_after must be None or {_LEAST_DEAD_AFTER:g} to {_MOST_DEAD_AFTER:,.0f} seconds, "
            f"not {dead_after!r}"
        )
    return value
