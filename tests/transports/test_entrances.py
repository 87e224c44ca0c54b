"""The addresses of a port for other hosts, from the one that it is bound to."""

from __future__ import annotations

from typing import Any

import pytest

from shm_echo.transports.entrances import TcpEntrance, check_advertise, tcp_entrance

OWN = ("10.0.0.1", "172.17.0.1", "fd00::1")


def entrance(host: str, advertise: Any = None, **facts: Any) -> TcpEntrance:
    return tcp_entrance(host, 5000, advertise, host_name="gpu1", own=OWN, **facts)


@pytest.mark.parametrize(
    ("host", "resolved", "hosts", "loopback"),
    [
        ("127.0.0.1", [], [], "127.0.0.1"),
        ("127.0.0.9", [], [], "127.0.0.9"),
        ("::1", [], [], "::1"),
        ("localhost", ["127.0.0.1", "::1"], [], "localhost"),
        ("localhost", [], [], "localhost"),
        ("gpu1", ["127.0.1.1"], [], "gpu1"),  # as Debian's /etc/hosts says of the own name
        ("gpu1", ["10.0.0.1"], ["gpu1"], None),
        ("gpu1", [], ["gpu1"], None),
        ("10.0.0.1", [], ["10.0.0.1"], None),
        ("fd00::1", [], ["fd00::1"], None),
        ("0.0.0.0", [], ["gpu1", "10.0.0.1", "172.17.0.1"], "127.0.0.1"),
        ("::", [], ["gpu1", "10.0.0.1", "172.17.0.1", "fd00::1"], "::1"),
    ],
)
def test_the_addresses_for_others_and_the_one_for_the_same_namespace(
    host: str, resolved: list[str], hosts: list[str], loopback: str | None
) -> None:
    found = entrance(host, resolved=resolved)
    assert found.addresses == tuple((name, 5000) for name in hosts)
    assert found.loopback == (None if loopback is None else (loopback, 5000))
    assert not found.advertised


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.localdomain", ""])
def test_a_name_that_each_host_gives_itself_is_no_address(name: str) -> None:
    found = tcp_entrance("0.0.0.0", 5000, host_name=name, own=["10.0.0.1"])
    assert found.addresses == (("10.0.0.1", 5000),)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "10.0.0.1"])
def test_what_is_advertised_replaces_the_addresses(host: str) -> None:
    found = entrance(host, ["lb.example:443", "gpu1.example"], wire="shm", tls=True)
    assert found.addresses == (("lb.example", 443), ("gpu1.example", 5000))
    assert found.advertised
    assert (found.wire, found.tls) == ("shm", True)
    assert (found.loopback is None) == (host == "10.0.0.1")


def test_an_entrance_is_shown_by_its_first_address() -> None:
    assert str(entrance("::1")) == "[::1]:5000"
    assert str(entrance("0.0.0.0")) == "gpu1:5000"
    assert str(tcp_entrance("0.0.0.0", 7, host_name="", own=())) == "127.0.0.1:7"


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (None, ()),
        ("gpu1", (("gpu1", None),)),
        ("gpu1:80", (("gpu1", 80),)),
        (["gpu1", "10.0.0.1:65535"], (("gpu1", None), ("10.0.0.1", 65535))),
        (("fd00::1",), (("fd00::1", None),)),
        ("[fd00::1]", (("fd00::1", None),)),
        ("[fd00::1]:80", (("fd00::1", 80),)),
        ("127.0.0.1:6000", (("127.0.0.1", 6000),)),  # the end of a tunnel
    ],
)
def test_the_forms_of_advertise(given: Any, parsed: Any) -> None:
    assert check_advertise(given) == parsed


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("", ValueError, "advertise must be HOST, HOST:PORT"),
        ("tcp://gpu1:80", ValueError, "advertise must be HOST, HOST:PORT"),
        ("two words", ValueError, "advertise must be HOST, HOST:PORT"),
        ("gpu1:", ValueError, "port '' of 'gpu1:' is not a number from 1 to 65535"),
        ("gpu1:0", ValueError, "port '0'"),
        ("gpu1:65536", ValueError, "port '65536'"),
        ("gpu1:x", ValueError, "port 'x'"),
        (":80", ValueError, "advertise must be HOST, HOST:PORT"),
        ("[gpu1]:80", ValueError, "advertise must be HOST, HOST:PORT"),
        ("0.0.0.0", ValueError, "no client can connect to '0.0.0.0'"),
        ("[::]:80", ValueError, "no client can connect to"),
        ([], ValueError, "advertise is an empty list"),
        (7, TypeError, "advertise must be text, a list of texts or None, not 7"),
        (["gpu1", 7], TypeError, "advertise must be text"),
        (b"gpu1", TypeError, "advertise must be text"),
    ],
)
def test_a_wrong_advertise_is_refused(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        check_advertise(given)
    assert words in str(caught.value)
