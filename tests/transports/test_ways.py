"""The ways that a connector tries, as a table: which, in which order, and why not the others."""

from __future__ import annotations

from typing import Any

import pytest

from shm_echo.transports.entrances import TcpEntrance
from shm_echo.transports.host_facts import HostFacts
from shm_echo.transports.ways import (
    Failure,
    Prefer,
    Route,
    ShmRoute,
    TcpRoute,
    check_prefer,
    choose_ways,
    describe_failures,
    describe_way,
    usable_addresses,
)

SERVER = HostFacts("boot 1", "cookie 1", "gpu1")
SAME = HostFacts("boot 1", "cookie 1", "gpu1")
CONTAINER = HostFacts("boot 1", "cookie 2", "c0ffee")  # another network namespace of the same host
OTHER = HostFacts("boot 2", "cookie 1", "cpu7")
UNKNOWN = HostFacts("", "", "sandbox")

LOOPBACK = TcpEntrance("127.0.0.1", loopback=("127.0.0.1", 5000))
WILDCARD = TcpEntrance("0.0.0.0", (("gpu1", 5000), ("10.0.0.1", 5000)), ("127.0.0.1", 5000))
ONE_ADDRESS = TcpEntrance("10.0.0.1", (("10.0.0.1", 5000),))
TUNNEL = TcpEntrance("127.0.0.1", (("127.0.0.1", 6000),), ("127.0.0.1", 5000), advertised=True)
NO_ADDRESS = TcpEntrance("0.0.0.0", (), ("127.0.0.1", 5000))
WITH_TLS = TcpEntrance("0.0.0.0", (("gpu1", 5000),), ("127.0.0.1", 5000), "shm", tls=True)
SHM_WIRE = TcpEntrance("10.0.0.1", (("10.0.0.1", 7000),), wire="shm")

ELSEWHERE = "shm: the server runs on another machine, gpu1"
ONLY_LOOPBACK = "tcp: the server listens on 127.0.0.1 of gpu1 only; pass host= or advertise="
NONE_KNOWN = "tcp: no address of gpu1 for other hosts is known; pass advertise="

# The server's Unix socket, its ports, the client's host; then the ways and the refusals.
ROWS: dict[str, tuple[str | None, list[TcpEntrance], HostFacts, list[str], list[str]]] = {
    "one host, memory only": ("run1", [], SAME, ["run1"], []),
    "a container, memory only": ("run1", [], CONTAINER, ["run1"], []),
    "unknown host, memory only": ("run1", [], UNKNOWN, ["run1"], []),
    "other host, memory only": ("run1", [], OTHER, [], [ELSEWHERE]),
    "one host, loopback": (None, [LOOPBACK], SAME, ["127.0.0.1:5000"], []),
    "a container, loopback": (None, [LOOPBACK], CONTAINER, [], [ONLY_LOOPBACK]),
    "other host, loopback": (None, [LOOPBACK], OTHER, [], [ONLY_LOOPBACK]),
    "unknown host, loopback": (None, [LOOPBACK], UNKNOWN, [], [ONLY_LOOPBACK]),
    "one host, both": ("run1", [LOOPBACK], SAME, ["run1", "127.0.0.1:5000"], []),
    "a container, both": ("run1", [LOOPBACK], CONTAINER, ["run1"], [ONLY_LOOPBACK]),
    "other host, both": ("run1", [LOOPBACK], OTHER, [], [ELSEWHERE, ONLY_LOOPBACK]),
    "one host, wildcard": (
        "run1",
        [WILDCARD],
        SAME,
        ["run1", "127.0.0.1:5000", "gpu1:5000", "10.0.0.1:5000"],
        [],
    ),
    "a container, wildcard": (
        "run1",
        [WILDCARD],
        CONTAINER,
        ["run1", "gpu1:5000 elsewhere", "10.0.0.1:5000 elsewhere"],
        [],
    ),
    "other host, wildcard": (
        "run1",
        [WILDCARD],
        OTHER,
        ["gpu1:5000 elsewhere", "10.0.0.1:5000 elsewhere"],
        [ELSEWHERE],
    ),
    "other host, wildcard without addresses": (None, [NO_ADDRESS], OTHER, [], [NONE_KNOWN]),
    "other host, one address": (None, [ONE_ADDRESS], OTHER, ["10.0.0.1:5000 elsewhere"], []),
    "one host, one address": (None, [ONE_ADDRESS], SAME, ["10.0.0.1:5000"], []),
    "other host, a tunnel": (None, [TUNNEL], OTHER, ["127.0.0.1:6000"], []),
    "a container, a tunnel": (None, [TUNNEL], CONTAINER, ["127.0.0.1:6000"], []),
    "one host, a tunnel": (None, [TUNNEL], SAME, ["127.0.0.1:5000", "127.0.0.1:6000"], []),
    "one host, TLS": (
        None,
        [WITH_TLS],
        SAME,
        ["gpu1:5000", "127.0.0.1:5000"],
        [],
    ),
    "other host, two wires": (
        None,
        [ONE_ADDRESS, SHM_WIRE],
        OTHER,
        ["10.0.0.1:7000 elsewhere", "10.0.0.1:5000 elsewhere"],
        [],
    ),
    "other host, a closed and an open port": (
        None,
        [LOOPBACK, SHM_WIRE],
        OTHER,
        ["10.0.0.1:7000 elsewhere"],
        [ONLY_LOOPBACK],
    ),
}


def text_of(way: Route) -> str:
    if isinstance(way, ShmRoute):
        return way.address
    return f"{way.host}:{way.port}{' elsewhere' if way.elsewhere else ''}"


def refused(failures: tuple[Failure, ...]) -> list[str]:
    assert all(failure.lasting for failure in failures)
    return [f"{failure.kind}: {failure.text}" for failure in failures]


@pytest.mark.parametrize("row", ROWS)
def test_the_ways_and_the_refusals(row: str) -> None:
    shm, entrances, here, ways, refusals = ROWS[row]
    choice = choose_ways(shm, entrances, SERVER, here)
    assert [text_of(way) for way in choice.ways] == ways
    assert refused(choice.refusals) == refusals


@pytest.mark.parametrize("row", ROWS)
def test_a_preference_changes_the_order_and_nothing_else(row: str) -> None:
    shm, entrances, here, _, _ = ROWS[row]
    usual = choose_ways(shm, entrances, SERVER, here)
    tcp_first = choose_ways(shm, entrances, SERVER, here, prefer="tcp")
    kinds = [isinstance(way, ShmRoute) for way in tcp_first.ways]
    assert kinds == sorted(kinds)
    assert set(tcp_first.ways) == set(usual.ways)
    assert tcp_first.refusals == usual.refusals


def test_echos_wire_is_left_out_by_a_client_that_reads_values() -> None:
    choice = choose_ways("run1", [ONE_ADDRESS, SHM_WIRE], SERVER, OTHER, parameters=True)
    assert [text_of(way) for way in choice.ways] == ["10.0.0.1:7000 elsewhere"]
    assert refused(choice.refusals) == [
        ELSEWHERE,
        "tcp: the wire at 10.0.0.1:5000 is echo's, which carries no published values",
    ]


def test_a_server_whose_place_is_unknown_is_looked_for_everywhere() -> None:
    choice = choose_ways("run1", [ONE_ADDRESS], None, SAME)
    assert [text_of(way) for way in choice.ways] == ["run1", "10.0.0.1:5000 elsewhere"]
    assert choose_ways(None, [LOOPBACK], None, SAME).refusals[0].text == (
        "the server listens on 127.0.0.1 only; pass host= or advertise="
    )


@pytest.mark.parametrize("prefer", ["", None, "SHM", "unix", 1])
def test_a_preference_is_one_of_two_words(prefer: Any) -> None:
    with pytest.raises(ValueError, match=r"^prefer must be 'shm' or 'tcp', not "):
        check_prefer(prefer)


# ---------------------------------------------------------------- which addresses

OWN = ["127.0.0.1", "10.0.0.7", "172.17.0.1", "::1"]


@pytest.mark.parametrize(
    ("elsewhere", "resolved", "usable", "own"),
    [
        (False, ["127.0.0.1", "10.0.0.7"], ["127.0.0.1", "10.0.0.7"], []),
        (True, ["10.0.0.1"], ["10.0.0.1"], []),
        (True, ["127.0.1.1", "10.0.0.1"], ["10.0.0.1"], ["127.0.1.1"]),
        (True, ["172.17.0.1"], [], ["172.17.0.1"]),
        (True, ["::1", "fd00::9"], ["fd00::9"], ["::1"]),
        (True, ["fe80::1%eth0"], ["fe80::1%eth0"], []),
    ],
)
def test_an_address_of_this_host_does_not_lead_to_a_server_elsewhere(
    elsewhere: bool, resolved: list[str], usable: list[str], own: list[str]
) -> None:
    way = TcpRoute("gpu1", 5000, WILDCARD, elsewhere)
    assert usable_addresses(way, resolved, OWN) == (usable, own)


# ---------------------------------------------------------------- the reasons

SHM = ShmRoute("run1")
TCP = TcpRoute("gpu1", 5000, WILDCARD, True)
NO_SOCKET = Failure("shm", "there is no socket (run1)", lasting=False)
REFUSED = Failure("tcp", "no server at gpu1:5000: Connection refused", lasting=False)

REASONS: list[tuple[Route, Prefer, bool, list[Failure], str]] = [
    (SHM, "shm", True, [], "shm, since the socket of the server is on this host"),
    (SHM, "tcp", True, [REFUSED], "shm, since no server at gpu1:5000: Connection refused"),
    (TCP, "shm", True, [NO_SOCKET], "tcp, since there is no socket (run1)"),
    (TCP, "shm", True, [NO_SOCKET, REFUSED], "tcp, since there is no socket (run1)"),
    (TCP, "tcp", True, [], "tcp, since it is preferred"),
    (TCP, "shm", False, [REFUSED], "tcp, since the server has no ShmTransport"),
]


@pytest.mark.parametrize(("way", "prefer", "has_memory", "failures", "text"), REASONS)
def test_the_reason_for_a_way(
    way: Route, prefer: Prefer, has_memory: bool, failures: list[Failure], text: str
) -> None:
    assert describe_way(way, prefer, has_memory, failures) == text


def test_all_reasons_for_no_way() -> None:
    assert describe_failures([NO_SOCKET, REFUSED, NO_SOCKET]) == (
        "by shared memory: there is no socket (run1); by tcp: no server at gpu1:5000: "
        "Connection refused"
    )
