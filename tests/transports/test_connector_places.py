"""Which way a connector takes from other places: another network, other processes, another user."""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shm_echo import Server, ShmTransport, TcpTransport
from tests.control.server.test_refused_peers import AS_NOBODY, needs_root
from tests.support.namespaces import OTHER_NETWORK, OTHER_PROCESSES, require, run_inside
from tests.support.numbered import EXAMPLE, numbers_of

ACTOR = """
import pickle, sys
from shm_echo import ShmClient, TcpClient
from tests.support.numbered import EXAMPLE, numbered
connector = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    with connector.connect(EXAMPLE) as client:
        client.send(numbered(7))
        client.wait()
        print(client.way)
except ConnectionError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    transports = [ShmTransport(f"ipc://{folder}/s"), TcpTransport(port=0)]
    with Server(EXAMPLE, 1, transports) as server:
        yield server


def packed(server: Server) -> str:
    return pickle.dumps(server.connector()).hex()


def take(server: Server) -> list[int]:
    sample = server.sample(timeout=10)
    assert sample is not None
    return numbers_of(sample.batch)


def test_another_network_namespace_keeps_shared_memory(server: Server) -> None:
    require(OTHER_NETWORK)
    said, _ = run_inside(OTHER_NETWORK, ACTOR, packed(server))
    assert said == "shm, since the socket of the server is on this host\n"
    assert take(server) == [7]


def test_a_loopback_port_is_not_tried_from_another_network_namespace(folder: Path) -> None:
    require(OTHER_NETWORK, "ip link set lo up")
    bring_up = "import subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
    with Server(EXAMPLE, 1, TcpTransport(port=0)) as server:
        said, _ = run_inside(OTHER_NETWORK, bring_up + ACTOR, packed(server))
    assert re.fullmatch(
        r"ServerNotFoundError no server at tcp 127.0.0.1:\d+: by tcp: the server listens on "
        r"127.0.0.1 of \S+ only; pass host= or advertise=\n",
        said,
    )


def test_without_a_socket_all_reasons_are_named(server: Server, folder: Path) -> None:
    require(OTHER_NETWORK)
    connector = dataclasses.replace(server.connector(), address=f"ipc://{folder}/none")
    said, _ = run_inside(OTHER_NETWORK, ACTOR, pickle.dumps(connector).hex())
    assert said.startswith("ServerNotFoundError no server at ipc://")
    assert "by shared memory: there is no socket" in said
    assert "by tcp: the server listens on 127.0.0.1 of " in said


def test_other_process_numbers_mean_tcp_with_one_line_in_the_log(server: Server) -> None:
    require(OTHER_PROCESSES)
    said, logged = run_inside(OTHER_PROCESSES, ACTOR, packed(server))
    assert re.match("tcp, since .* lives in another pid namespace", said)
    assert logged.count("\n") == 1
    assert re.match("connected to .* by tcp, since .* lives in another pid namespace", logged)
    assert take(server) == [7]


# Imports all that connecting needs: the other user may not be able to read the packages.
BOTH_WAYS = """
import encodings.idna
from shm_echo import Server, ShmTransport, TcpTransport
from tests.support.numbered import EXAMPLE
with Server(EXAMPLE, 1, [ShmTransport(), TcpTransport(port=0)]) as own:
    for way in ("shm", "tcp"):
        with own.connector().connect(EXAMPLE, prefer=way) as client:
            client.send(EXAMPLE)
            client.wait()
        own.sample()
"""


@needs_root
def test_another_user_means_tcp(server: Server, folder: Path) -> None:
    folder.chmod(0o755)
    said, logged = run_inside([], BOTH_WAYS + AS_NOBODY + ACTOR, packed(server))
    assert re.match("tcp, since .* may not be opened by this process", said)
    assert logged.count("\n") == 1
    assert take(server) == [7]


# ---------------------------------------------------------------- two hosts with a cable

# The second host has a server of its own, at the same port. The name of the first host is that of
# the second one, too, and leads there.
TWO_HOSTS = """
import os, pickle, subprocess, sys, time
holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
try:
    enter = ["nsenter", "--target", str(holder.pid), "--net"]
    while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.01)
    def run(*command):
        subprocess.run(command, check=True)
    run(*"ip link add cable0 type veth peer name cable1 netns".split(), str(holder.pid))
    for prefix, end, address in (([], "cable0", "10.77.0.1"), (enter, "cable1", "10.77.0.2")):
        run(*prefix, *f"ip addr add {address}/24 dev {end}".split())
        for device in ("lo", end):
            run(*prefix, *f"ip link set {device} up".split())
    from shm_echo import Server, TcpTransport
    from tests.support.numbered import EXAMPLE
    decoy = '''
import sys
from shm_echo import Server, TcpTransport
from tests.support.numbered import EXAMPLE
with Server(EXAMPLE, 1, TcpTransport(int(sys.argv[1]), host="0.0.0.0")) as server:
    print("up", flush=True)
    sys.stdin.readline()
    print(server.info().store_size, len(server.producers()))
'''
    with Server(EXAMPLE, 1, TcpTransport(port=0, host="0.0.0.0")) as server:
        other = subprocess.Popen(
            [*enter, sys.executable, "-c", decoy, str(server.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert other.stdout.readline() == "up\\n"
        packed = pickle.dumps(server.connector()).hex()
        run(*enter, sys.executable, "-c", sys.argv[1], packed)
        print(server.sample(timeout=20).batch["n"].tolist())
        print("decoy:", other.communicate("\\n")[0])
finally:
    holder.kill()
    holder.wait()
"""


def test_a_server_of_this_host_is_not_taken_for_that_of_another() -> None:
    require(OTHER_NETWORK, "ip link add probe0 type veth peer name probe1")
    said, _ = run_inside(OTHER_NETWORK, TWO_HOSTS, ACTOR)
    assert said.split("\n")[:3] == [
        "tcp, since the server has no ShmTransport",
        "[7]",
        "decoy: 0 0",
    ]
