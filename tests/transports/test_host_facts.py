"""The facts by which a connector tells places apart, compared with what other programs say."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from shm_echo.transports import host_facts
from shm_echo.transports.host_facts import HostFacts, own_addresses, this_host
from tests.support.namespaces import OTHER_NETWORK, OTHER_PROCESSES, require, run_inside

FACTS = """
from shm_echo.transports.host_facts import own_addresses, this_host
here = this_host()
print(here.boot_id, here.netns, own_addresses(), sep="|")
"""


def test_they_are_those_of_the_kernel() -> None:
    here = this_host()
    with open("/proc/sys/kernel/random/boot_id") as lines:
        assert here.boot_id == lines.read().strip()
    assert here.name == socket.gethostname()
    assert here == this_host()
    assert here.same_network(this_host())


@pytest.mark.parametrize("prefix", [OTHER_NETWORK, OTHER_PROCESSES], ids=["network", "processes"])
def test_another_namespace_of_this_kernel(prefix: tuple[str, ...]) -> None:
    require(prefix)
    said, _ = run_inside(prefix, FACTS)
    boot_id, netns, _ = said.split("|")
    there = HostFacts(boot_id, netns, "other")
    assert this_host().may_share_memory(there)
    assert this_host().same_network(there) == (prefix == OTHER_PROCESSES)


def test_a_kernel_without_cookies_has_the_number_of_the_inode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_facts, "_SO_NETNS_COOKIE", 9999)
    assert this_host().netns == f"inode {os.stat('/proc/self/ns/net').st_ino}"
    monkeypatch.setattr(host_facts, "_NETWORK_NAMESPACE", "/no/such/file")
    monkeypatch.setattr(host_facts, "_BOOT_ID", "/no/such/file")
    unknown = this_host()
    assert (unknown.boot_id, unknown.netns) == ("", "")
    assert not unknown.same_network(unknown)  # nothing is proved
    assert unknown.may_share_memory(HostFacts("boot", "cookie 1", "other"))


@pytest.mark.parametrize(
    ("here", "there", "memory", "network"),
    [
        (("a", "1"), ("a", "1"), True, True),
        (("a", "1"), ("a", "2"), True, False),
        (("a", "1"), ("b", "1"), False, False),
        (("", "1"), ("", "1"), True, False),
        (("a", ""), ("a", ""), True, False),
        (("a", "1"), None, True, False),
    ],
)
def test_what_follows_from_them(here: Any, there: Any, memory: bool, network: bool) -> None:
    other = None if there is None else HostFacts(*there, "other")
    mine = HostFacts(*here, "mine")
    assert mine.may_share_memory(other) == memory
    assert mine.same_network(other) == network


# ---------------------------------------------------------------- addresses

LISTS = """
import json, subprocess
from shm_echo.transports.host_facts import own_addresses
for words in (
    "link set lo up", "link add d0 type veth peer name d1", "link set d0 up",
    "addr add 10.7.0.1/24 dev d0",
    "addr add 10.7.0.9/24 dev d0", "-6 addr add fd07::1/64 dev d0 nodad",
):
    subprocess.run(["ip", *words.split()], check=True)
told = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True).stdout
print(json.dumps([own_addresses(), own_addresses(reachable=True), json.loads(told)]))
"""


def test_the_addresses_are_those_that_ip_tells() -> None:
    require(OTHER_NETWORK, "ip link add d0 type veth peer name d1")
    said, _ = run_inside(OTHER_NETWORK, LISTS)
    own, reachable, told = json.loads(said)
    assert set(own) == {one["local"] for link in told for one in link["addr_info"]}
    assert own[0] == "127.0.0.1"
    assert reachable == ["10.7.0.1", "10.7.0.9", "fd07::1"]


@pytest.fixture
def no_netlink(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", refuse)
        yield


def test_a_kernel_that_does_not_tell_has_none(no_netlink: None) -> None:
    assert own_addresses() == ()


def test_importing_them_loads_no_sockets() -> None:
    said, _ = run_inside([], "import sys, shm_echo.transports.ways; print('socket' in sys.modules)")
    assert said == "False\n"
