"""The ways to a server that a connector tries: which, in which order, and why not the others.

Nothing here opens a socket. `way_in` tries the ways.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shm_echo.transports.entrances import TcpEntrance, describe_address
from shm_echo.transports.host_facts import HostFacts

__all__ = [
    "Choice",
    "Failure",
    "Prefer",
    "Route",
    "ShmRoute",
    "TcpRoute",
    "check_prefer",
    "choose_ways",
    "describe_failures",
    "describe_way",
    "usable_addresses",
]

Prefer = Literal["shm", "tcp"]


@dataclass(frozen=True)
class ShmRoute:
    """The server's Unix socket, which hands out the memory of the ring."""

    address: str

    def __str__(self) -> str:
        return f"shared memory at {self.address}"


@dataclass(frozen=True)
class TcpRoute:
    """One address of one of the server's TCP ports.

    Attributes:
        host, port: where to connect.
        entrance: the port that it belongs to.
        elsewhere: True if the address cannot be one of this process's own: the server lives in
            another network namespace.
    """

    host: str
    port: int
    entrance: TcpEntrance
    elsewhere: bool

    def __str__(self) -> str:
        return f"tcp at {describe_address(self.host, self.port)}"


Route = ShmRoute | TcpRoute


class Failure(NamedTuple):
    """Why one way is not used.

    Attributes:
        kind: the kind of way.
        text: the reason.
        lasting: False if the way may work a moment later, as the server may not be up yet.
    """

    kind: Prefer
    text: str
    lasting: bool = True


@dataclass(frozen=True)
class Choice:
    """What to try.

    Attributes:
        ways: in this order.
        refusals: why each of the other ways is not tried.
    """

    ways: tuple[Route, ...]
    refusals: tuple[Failure, ...] = ()


def check_prefer(prefer: object) -> None:
    """Raise ValueError unless `prefer` is "shm" or "tcp"."""
    if prefer not in ("shm", "tcp"):
        raise ValueError(f"prefer must be 'shm' or 'tcp', not {prefer!r}")


def choose_ways(
    shm: str | None,
    entrances: Sequence[TcpEntrance],
    server: HostFacts | None,
    here: HostFacts,
    *,
    prefer: Prefer = "shm",
    parameters: bool = False,
) -> Choice:
    """Choose the ways to a server.

    Whether the server is on this host is not decided here: the boot id only rules it out, and what
    answers at the Unix socket decides.

    Args:
        shm: the address of its Unix socket, if it has one.
        entrances: its TCP ports.
        server: where it lives; None if that is not known.
        here: where this process lives.
        prefer: the kind of way to try first.
        parameters: True if the client reads published values, which the echo wire does not carry.
    """
    refusals: list[Failure] = []
    memory: list[Route] = []
    if shm is not None:
        if here.may_share_memory(server):
            memory.append(ShmRoute(shm))
        else:
            assert server is not None
            text = f"the server runs on another machine, {server.name}"
            refusals.append(Failure("shm", text))
    tcp: list[Route] = []
    # The listeners of the shm wire first: there the server proves that it is the one.
    for entrance in sorted(entrances, key=lambda entrance: entrance.wire == "echo"):
        if parameters and entrance.wire == "echo":
            text = f"the wire at {entrance} is echo's, which carries no published values"
            refusals.append(Failure("tcp", text))
            continue
        ways, refusal = _tcp_ways(entrance, server, here)
        tcp += ways
        refusals += [Failure("tcp", text) for text in refusal]
    ordered = [*tcp, *memory] if prefer == "tcp" else [*memory, *tcp]
    return Choice(tuple(ordered), tuple(refusals))


def _tcp_ways(
    entrance: TcpEntrance, server: HostFacts | None, here: HostFacts
) -> tuple[list[Route], list[str]]:
    same = here.same_network(server)
    addresses = list(entrance.addresses)
    if entrance.loopback is not None and same:
        # Certificates are for names and addresses that others use, so it comes last with TLS.
        addresses.insert(len(addresses) if entrance.tls else 0, entrance.loopback)
    elsewhere = not same and not entrance.advertised
    ways: list[Route] = [TcpRoute(host, port, entrance, elsewhere) for host, port in addresses]
    if ways or entrance.loopback is None:
        return ways, []
    of_host = f" of {server.name}" if server is not None else ""
    if entrance.wildcard:
        return [], [f"no address{of_host} for other hosts is known; pass advertise="]
    bound = entrance.loopback[0]
    return [], [f"the server listens on {bound}{of_host} only; pass host= or advertise="]


def usable_addresses(
    way: TcpRoute, resolved: Sequence[str], own: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Split the addresses that a way's host stands for.

    Args:
        way: the way.
        resolved: the addresses, as text.
        own: the addresses of this network namespace.

    Returns:
        Those to connect to, and those that mean this process's own host although the server is
        elsewhere: another server may listen there.
    """
    if not way.elsewhere:
        return list(resolved), []
    mine = {one for one in resolved if one in own or _is_loopback(one)}
    return [one for one in resolved if one not in mine], [one for one in resolved if one in mine]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def describe_way(
    way: Route, prefer: Prefer, has_memory: bool, failures: Sequence[Failure] = ()
) -> str:
    """Return why a client uses a way, for its repr and `Server.producers()`.

    Args:
        way: the way.
        prefer: the kind of way that was preferred.
        has_memory: True if the server has a Unix socket.
        failures: why other ways are not used.
    """
    if isinstance(way, ShmRoute):
        reasons = _texts(failures, "tcp") if prefer == "tcp" else ""
        return f"shm, since {reasons or 'the socket of the server is on this host'}"
    if not has_memory:
        return "tcp, since the server has no ShmTransport"
    return f"tcp, since {_texts(failures, 'shm') or 'it is preferred'}"


def describe_failures(failures: Sequence[Failure]) -> str:
    """Return all reasons, for the error of a client that finds no way."""
    parts = (("shared memory", _texts(failures, "shm")), ("tcp", _texts(failures, "tcp")))
    return "; ".join(f"by {kind}: {texts}" for kind, texts in parts if texts)


def _texts(failures: Sequence[Failure], kind: Prefer) -> str:
    return ", ".join(dict.fromkeys(one.text for one in failures if one.kind == kind))
