"""Sessions of token holders over a port: their principals, services and hosts."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from shm_echo.control.address import parse_tcp
from shm_echo.control.protocol.handshake import ClientHandshake
from shm_echo.control.server.control_server import ControlServer
from shm_echo.control.server.tokens import Tokens
from shm_echo.errors import RefusedError, ServiceUnavailableError
from shm_echo.mechestim.errors import BudgetExhaustedError
from shm_echo.mechestim.service.metering.quotas import Quotas
from shm_echo.mechestim.service.server import MechEstimService
from tests.control.harness import descriptor_links
from tests.support.folders import socket_folder
from tests.support.mechestim_server import RawClient, ServerProcess, dialled, handle_of, serving
from tests.support.waiting import WATCHDOG, wait_until

MIB = 1 << 20
ANN = "correct-horse-battery"
BOB = "staple-of-another-sort"
CEILING = 1000


@dataclass
class Ports:
    """A server at a socket file and at a port.

    Attributes:
        server: Its process.
        url: The URL of its port.
    """

    server: ServerProcess
    url: str

    def connected(self) -> socket.socket:
        address = parse_tcp(self.url)
        assert address is not None
        return socket.create_connection((address.host, address.port), WATCHDOG)

    def client(self, token: str = ANN, service: str = "mechestim") -> RawClient:
        """Return a welcomed client."""
        client = RawClient(self.connected(), None)
        try:
            client.shake_hands(ClientHandshake("server", service, token=token))
        except BaseException:
            client.close()
            raise
        return client


@pytest.fixture
def ports(shared: Ports) -> Ports:
    """Return the server, once no session of an earlier test is left."""
    wait_until(lambda: not rows(shared), "the sessions before have ended")
    return shared


@pytest.fixture(scope="module")
def shared() -> Iterator[Ports]:
    with socket_folder() as folder:
        tokens = folder / "tokens"
        tokens.touch(0o600)
        tokens.write_text(f"ann {ANN}\nbob {BOB}\n")
        options = ("--url", "tcp://127.0.0.1:0", "--token-file", str(tokens))
        limits = ("--max-flop-budget", str(CEILING), "--max-frame", "4M", "-vv")
        with serving(folder, *options, *limits) as server:
            yield Ports(server, server.next_line().split()[3])
            assert server.alive, server.log.read_text()


def rows(ports: Ports) -> list[tuple[str, str]]:
    return [(row["principal"], row["isolation"]) for row in ports.server.state()["rows"]]


def test_each_token_has_a_ceiling_that_cannot_be_restored(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", ANN)
    for _ in range(2):
        with dialled(ports.url) as client:
            client.request("add", (client.request("zeros", (400,)), 1.0))
    with dialled(ports.url) as client:
        with pytest.raises(BudgetExhaustedError) as refused:
            client.request("add", (client.request("zeros", (400,)), 1.0))
        assert refused.value.flops_remaining == CEILING - 800
    monkeypatch.setenv("MECHESTIM_TOKEN", BOB)
    with dialled(ports.url) as client:
        client.request("add", (client.request("zeros", (CEILING,)), 1.0))
    found = {one["label"]: one["flops"] for one in ports.server.state()["principals"]}
    assert (found["token ann"], found["token bob"]) == (800, CEILING)


def test_a_token_holder_gets_a_process_and_this_user_a_thread(ports: Ports) -> None:
    with ports.client() as client, dialled(ports.server.url) as ours:
        client.result("ndarray.tolist", handle_of(client.result("ones", 2)))
        ours.request("zeros", (2,))
        us = f"user {os.geteuid()}"
        assert sorted(rows(ports)) == [("token ann", "process"), (us, "threads")]


@pytest.mark.parametrize("wanted", ["ring", "status", "shutdown"])
def test_a_token_holder_is_offered_no_other_service(ports: Ports, wanted: str) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"\(it offers 'mechestim'\)"):
        ports.client(service=wanted)


def test_this_user_is_still_offered_the_status_at_the_socket_file(ports: Ports) -> None:
    assert ports.server.state()["pid"] == ports.server.pid


@pytest.mark.parametrize("token", ["", ANN[:-1], f"{ANN}x", "ann"])
def test_a_client_without_a_token_gets_one_answer_and_no_session(ports: Ports, token: str) -> None:
    before = ports.server.state()["sessions"]
    with pytest.raises(RefusedError) as refused:
        ports.client(token)
    assert (refused.value.code, refused.value.fields) == ("token", {})
    assert ports.server.state()["sessions"] == before


def test_there_is_no_arena_and_asking_for_one_is_an_error(ports: Ports) -> None:
    with ports.client() as client:
        for _ in range(3):
            kind, said = client.error("arena.open")
            assert (kind, said.partition(":")[0]) == (
                "MechEstimServerError",
                "this session has no arena",
            )
        (row,) = ports.server.state()["rows"]
        assert not [link for link in descriptor_links(row["pid"]) if "mechestim-to-" in link]
        assert client.result("ndarray.tolist", handle_of(client.result("ones", 2))) == [1.0, 1.0]


def test_a_message_that_is_too_long_ends_the_session_with_the_reason(ports: Ports) -> None:
    with ports.client() as client:
        client.send(struct.pack("<I", 5 * MIB) + bytes(5 * MIB))
        said = client.closed_reason()
        assert said is not None
        assert said.startswith(f"a frame of {5 * MIB:,} bytes was announced (allowed: 1 to ")


def test_the_most_detailed_log_has_no_token(ports: Ports) -> None:
    for token in (ANN, "wrong-horse-battery"):
        with contextlib.suppress(RefusedError):
            ports.client(token).close()
    with ports.client() as client:
        client.send(b"\xff\xff\xff\xff")
        client.closed_reason()
    log = ports.server.log
    wait_until(lambda: "ann joined service 'mechestim'" in log.read_text(), "it is in the log")
    text = log.read_text()
    for secret in (ANN, BOB, "wrong-horse-battery"):
        assert secret not in text


def test_ten_thousand_connections_without_a_token_leak_nothing(ports: Ports) -> None:
    hello = ClientHandshake("server", "mechestim").hello()
    # Closed by a reset: no connection in TIME_WAIT occupies a port for the next test.
    at_once = struct.pack("ii", 1, 0)
    with ports.client() as neighbour:
        x = handle_of(neighbour.result("arange", 5))
        ports.server.wait_for_spare()
        before, resident = ports.server.descriptors(), ports.server.resident()

        def knock(words: bytes) -> None:
            for _ in range(1250):
                with ports.connected() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                    sock.sendall(words)

        ways = [b"", hello[:9], hello, b"\xff\xff\xff\xff"] * 2
        threads = [threading.Thread(target=knock, args=[words]) for words in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert neighbour.result("ndarray.tolist", x) == list(range(5))
        wait_until(lambda: ports.server.descriptors() <= before, "the descriptors are closed")
        assert len(rows(ports)) == 1
        assert ports.server.resident() < resident + 64 * MIB
    with ports.client() as client:
        client.result("ones", 2)


def test_a_client_that_shows_a_token_and_disconnects_leaks_nothing(ports: Ports) -> None:
    ports.client().close()
    wait_until(lambda: not rows(ports), "its session has ended")
    ports.server.wait_for_spare()
    before = ports.server.descriptors()
    for _ in range(3):
        ports.client().close()
    wait_until(lambda: not rows(ports), "their sessions have ended")
    ports.server.wait_for_spare()
    wait_until(lambda: ports.server.descriptors() <= before, "the descriptors are closed")


# ---------------------------------------------------------------- in a program of one's own


def test_a_service_in_the_program_can_have_a_port_and_run_on_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MECHESTIM_TOKEN", BOB)
    service = MechEstimService(Quotas(max_flops=10), isolation="threads")
    tokens = Tokens({"ann": ANN, "bob": BOB})
    with ControlServer("tcp://127.0.0.1:0", {"mechestim": service}, tokens=tokens) as server:
        with dialled(server.url) as client:
            client.request("add", (1.0, 2.0))
            ((host, principal),) = service.hosts().items()
            assert (host.isolation, principal.label) == ("threads", "token bob")
            assert principal.tallies() == {"add": (1, 1)}
        service.close()
