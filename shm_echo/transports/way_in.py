"""Makes the client of a connector: tries the ways to a server until one works.

A way that leads to no server, or to another one, is left for the next. What the server itself
refuses (another example, another run, a wrong token, too many producers) is raised: on another way
it would be the same.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from shm_echo.control.protocol.ring_requests import MAX_WAY
from shm_echo.errors import (
    AddressError,
    ConnectionClosedError,
    HandshakeTimeoutError,
    OtherServerError,
    PeerRefusedError,
    PidfdUnavailableError,
    ProtocolError,
    ProtocolVersionError,
    ServerNotFoundError,
    ServiceUnavailableError,
)
from shm_echo.transports.connect_options import BOTH, SHM_ONLY, TCP_ONLY
from shm_echo.transports.entrances import describe_address
from shm_echo.transports.host_facts import HostFacts, own_addresses, this_host
from shm_echo.transports.ways import (
    Choice,
    Failure,
    Prefer,
    Route,
    ShmRoute,
    TcpRoute,
    choose_ways,
    describe_failures,
    describe_way,
    usable_addresses,
)
from shm_echo.validation import seconds

if TYPE_CHECKING:
    from shm_echo.transports.entrances import TcpEntrance
    from shm_echo.transports.shm_client import ShmClient
    from shm_echo.transports.tcp.client import TcpClient

__all__ = ["Destination", "open_client"]

_log = logging.getLogger("shm_echo")

# Seconds for the name and the TCP connection of one address: a host that is off, or a firewall that
# drops packets, would otherwise take minutes, and the next address may work.
DIAL_TIMEOUT = 2.0
# Seconds that a server which has accepted a connection has at least for its answer.
_HANDSHAKE_TIMEOUT = 5.0
# Seconds, for clients that take no "without limit".
_NO_LIMIT = 1e8
# Seconds between two rounds of attempts, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

# The server is not there, or not yet.
_ABSENT = (ServerNotFoundError, ConnectionClosedError)
# The server is elsewhere: another one is there, or this process cannot get the memory of this one.
_ELSEWHERE = (
    AddressError,
    OtherServerError,
    PeerRefusedError,
    PidfdUnavailableError,
    ProtocolError,
    ProtocolVersionError,
    ServiceUnavailableError,
)


class Destination(Protocol):
    """What a connector knows of its server; `Connector` explains each."""

    @property
    def address(self) -> str | None: ...
    @property
    def run_id(self) -> str | None: ...
    @property
    def tcp(self) -> tuple[TcpEntrance, ...]: ...
    @property
    def host(self) -> HostFacts | None: ...
    @property
    def instance_id(self) -> bytes | None: ...
    def described_spec(self) -> Any: ...


def open_client(
    connector: Destination, example: Any, prefer: Prefer, options: dict[str, Any]
) -> ShmClient | TcpClient:
    """Return a client of a connector's server; `Connector.connect` has the arguments."""
    here = this_host()
    parameters = options.get("publishes") is not None or options.get("role") == "reader"
    choice = choose_ways(
        connector.address, connector.tcp, connector.host, here, prefer=prefer, parameters=parameters
    )
    timeout = seconds("connect_timeout", options.get("connect_timeout", 0.0))
    attempt = _Attempt(connector, example, prefer, choice, here, options, timeout)
    if len(choice.ways) == 1 and not choice.refusals and isinstance(choice.ways[0], ShmRoute):
        return attempt.by_memory(choice.ways[0], timeout)  # which waits for the server itself
    return attempt.run()


@dataclass
class _Attempt:
    """One call of `connect`."""

    connector: Destination
    example: Any
    prefer: Prefer
    choice: Choice
    here: HostFacts
    options: dict[str, Any]
    timeout: float | None
    began: float = field(default_factory=time.monotonic)

    def run(self) -> ShmClient | TcpClient:
        pause = _FIRST_PAUSE
        while True:
            client, failures, errors = self._round()
            if client is not None:
                self._report(client, failures)
                return client
            left = self._left()
            if left == 0.0 or all(failure.lasting for failure in failures):
                raise self._error(failures, errors)
            time.sleep(pause if left is None else min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _round(self) -> tuple[ShmClient | TcpClient | None, list[Failure], list[Exception]]:
        """Try each way once."""
        failures, errors = list(self.choice.refusals), list[Exception]()
        for way in self.choice.ways:
            try:
                if isinstance(way, ShmRoute):
                    return self.by_memory(way, 0.0, failures), failures, errors
                client = self._by_tcp(way, failures, errors)
                if client is not None:
                    return client, failures, errors
            except (*_ABSENT, *_ELSEWHERE) as error:
                failures.append(_failure("shm", error))
                errors.append(error)
        return None, failures, errors

    # ---------------------------------------------------------------- the two kinds

    def by_memory(
        self, way: ShmRoute, timeout: float | None, failures: list[Failure] | None = None
    ) -> ShmClient:
        from shm_echo.transports.shm_client import ShmClient

        return ShmClient(
            way.address,
            self.example,
            _NO_LIMIT if timeout is None else timeout,
            run_id=self.connector.run_id,
            instance_id=self.connector.instance_id,
            way=self._describe(way, failures or []),
            **self._options(BOTH | SHM_ONLY),
        )

    def _by_tcp(
        self, way: TcpRoute, failures: list[Failure], errors: list[Exception]
    ) -> TcpClient | None:
        """Try each address that the host stands for."""
        where = describe_address(way.host, way.port)
        try:
            resolved = _resolve(way.host, way.port, DIAL_TIMEOUT)
        except ServerNotFoundError as error:
            failures.append(_failure("tcp", error))
            errors.append(error)
            return None
        usable, own = usable_addresses(way, resolved, own_addresses() if way.elsewhere else ())
        if own:
            text = f"{where} is {own[0]}, an address of this host, and the server is elsewhere"
            failures.append(Failure("tcp", text))
        for address in usable:
            try:
                return self._dial(way, address, failures)
            except (*_ABSENT, *_ELSEWHERE, HandshakeTimeoutError) as error:
                failures.append(_failure("tcp", error))
                errors.append(error)
        return None

    def _dial(self, way: TcpRoute, address: str, failures: list[Failure]) -> TcpClient:
        from shm_echo.transports.tcp.client import TcpClient

        options = self._options(BOTH | TCP_ONLY)
        example = self.example
        if way.entrance.wire == "echo":
            example = self._example_for_echo()
            options.pop("producer_id", None)  # the wire does not carry it
        else:
            options["run_id"] = self.connector.run_id
        if way.entrance.tls:
            options["tls"] = True if options.get("tls") is None else options["tls"]
            # The certificate has the name, and not the address that it stands for.
            options["server_hostname"] = options.get("server_hostname") or way.host
        left = self._left()
        return TcpClient(
            address,
            way.port,
            example,
            connect_timeout=max(_HANDSHAKE_TIMEOUT, _NO_LIMIT if left is None else left),
            dial_timeout=DIAL_TIMEOUT,
            instance_id=self.connector.instance_id,
            way=self._describe(way, failures),
            **options,
        )

    def _example_for_echo(self) -> Any:
        """Return the example, compared with the server's: the wire has sizes and shapes only.

        Raises:
            SpecMismatchError: it is another one.
            ValueError: none was given, and the server's cannot be made from its description.
        """
        from shm_echo.spec import TreeSpec
        from shm_echo.spec.rebuild import example_from_wire

        theirs = self.connector.described_spec()
        if self.example is not None:
            if theirs is not None:
                TreeSpec.from_example(self.example).require_equal(theirs)
            return self.example
        if theirs is None:
            raise ValueError("the wire has no dtypes: give connect() an example")
        try:
            return example_from_wire(theirs)
        except ValueError as error:
            raise ValueError(f"{error}: give connect() an example") from None

    # ---------------------------------------------------------------- the pieces

    def _options(self, known: frozenset[str]) -> dict[str, Any]:
        options = {name: value for name, value in self.options.items() if name in known}
        options.pop("connect_timeout", None)
        return {"wait_until": "stored", **options}

    def _left(self) -> float | None:
        if self.timeout is None:
            return None
        return max(0.0, self.began + self.timeout - time.monotonic())

    def _describe(self, way: Route, failures: list[Failure]) -> str:
        text = describe_way(way, self.prefer, self.connector.address is not None, failures)
        printable = "".join(c if c.isprintable() else " " for c in text)
        return printable if len(printable) <= MAX_WAY else f"{printable[: MAX_WAY - 3]}..."

    def _report(self, client: ShmClient | TcpClient, failures: list[Failure]) -> None:
        """Log which way was taken, if it is not the preferred one, with the reason."""
        if not failures or self.connector.address is None:
            return
        by_tcp = type(client).__name__ == "TcpClient"
        if by_tcp == (self.prefer == "tcp"):
            return
        # On one host, shared memory is a matter of the set-up; from another one it cannot be had.
        avoidable = by_tcp and self.here.may_share_memory(self.connector.host)
        level = logging.WARNING if avoidable else logging.INFO
        _log.log(level, "connected to %s by %s", self.connector, client.way)

    def _error(self, failures: list[Failure], errors: list[Exception]) -> Exception:
        if len(failures) == len(errors) == 1:
            return errors[0]
        for kind in (HandshakeTimeoutError, OtherServerError):
            if errors and all(isinstance(error, kind) for error in errors):
                return errors[0]
        return ServerNotFoundError(str(self.connector), describe_failures(failures))


def _failure(kind: Prefer, error: Exception) -> Failure:
    text = str(error)
    if kind == "shm" and isinstance(error, ServerNotFoundError):
        text = text.removeprefix(f"no server at {error.address}: ").partition(";")[0]
        text = f"{text} ({error.address})"
    return Failure(kind, text, not isinstance(error, _ABSENT))


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """Return the addresses of a host name, in the order of the system's preference.

    Raises:
        ServerNotFoundError: the name is unknown, or its server did not answer in time.
    """
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    where = describe_address(host, port)
    found: list[list[str] | Exception] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append(list(dict.fromkeys(str(address[0]) for *_, address in answers)))
        except Exception as error:  # UnicodeError for odd names, and what a broken codec raises
            found.append(error)

    # The C library offers no time-out for a look-up, which takes up to a minute without a network.
    thread = threading.Thread(target=look_up, name="shm-echo-resolver", daemon=True)
    thread.start()
    thread.join(timeout)
    if not found:
        raise ServerNotFoundError(where, f"its name was not resolved within {timeout:g} s")
    if not isinstance(found[0], list):
        error = found[0]
        raise ServerNotFoundError(where, getattr(error, "strerror", None) or str(error))
    return found[0]
