"""Packets that are lost, and hosts that vanish: in a network namespace of this user's own."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[3]

# 20 Mbit/s, and a queue of one packet of the loopback device: it drops most bursts. netem drops
# single packets, but not every kernel has it.
LOSSES = {
    "tbf": "tc qdisc add dev lo root tbf rate 20mbit burst 70kb limit 70kb",
    "netem": "tc qdisc add dev lo root netem loss 2% delay 1ms",
}
TUN = "ip tuntap add dev probe0 mode tun; ip link del probe0"


@functools.cache
def refusal(commands: str) -> str:
    """Return why a namespace with these commands is not to be had here, or an empty text."""
    for program in ("unshare", "ip", "tc"):
        if shutil.which(program) is None:
            return f"there is no program {program!r}"
    done = subprocess.run(
        ["unshare", "-Urn", "sh", "-e", "-c", commands], capture_output=True, text=True
    )
    return done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""


def run_apart(script: str, commands: str = "ip link set lo up", needs: str = "") -> str:
    """Run a Python program in a network namespace of its own, and return what it prints."""
    reason = refusal(f"{commands}\n{needs}")
    if reason:
        pytest.skip(f"no network namespace with '{commands}; {needs}': {reason}")
    command = ["unshare", "-Urn", "sh", "-e", "-c", f'{commands}; exec "$@"', "sh"]
    command += [sys.executable, "-X", "faulthandler", "-W", "error", "-c", PRELUDE + script]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PRELUDE = """
import logging, subprocess, sys
import echo
import numpy as np
import shm_echo
from shm_echo import ConnectionClosedError
from tests.support.echo_specs import random_sample
from tests.support.tcp_ends import ARRAYS, Collector, arrays, connected, serving
from tests.support.threads import Worker
from tests.support.waiting import wait_until
"""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("library", ["echo", "shm_echo"])
def test_a_network_that_loses_packets_loses_no_samples(library: str, loss: str) -> None:
    out = run_apart(
        f"""
library = {library}
example = {{"x": np.zeros(50_000, np.uint8), "n": np.zeros((), np.int64)}}
samples = [random_sample(example, seed) for seed in range(20)]
for number, sample in enumerate(samples):
    sample["n"][...] = number

def stream(which):
    with connected(library, server.port, example) as client:
        for sample in samples[which::2]:
            client.send(sample)
        Worker(client.wait).result()

with serving(shm_echo, example, 1) as server:
    workers = [Worker(stream, which) for which in (0, 1)]
    came = []
    for _ in samples:
        batch = server.sample(90).batch
        number = int(batch["n"][0])
        assert (batch["x"][0] == samples[number]["x"]).all()
        came.append(number)
    for worker in workers:
        worker.result()
assert [n for n in came if n % 2 == 0] == list(range(0, 20, 2))
assert [n for n in came if n % 2] == list(range(1, 20, 2))
shown = subprocess.run(["tc", "-s", "qdisc", "show", "dev", "lo"], capture_output=True, text=True)
print(shown.stdout)
""",
        f"ip link set lo up; {LOSSES[loss]}",
    )
    assert "dropped 0," not in out, "no packet was lost: this test tests nothing"


@pytest.mark.parametrize("wire", ["echo", "shm"])
def test_lost_packets_of_both_directions_lose_no_samples(wire: str) -> None:
    """Single packets through a TUN device: of a few bytes and of many, of samples and of acks."""
    out = run_apart(
        f"""
from tests.support.tun_forwarder import FAR, NEAR, TunForwarder

small, large = {{"n": np.int64(0)}}, {{"n": np.int64(0), "x": np.zeros(40_000, np.uint8)}}
forwarder = TunForwarder(loss=0.05)

def send(client, example, count):
    for number in range(count):
        sample = random_sample(example, number)
        sample["n"][...] = number
        client.send(sample)
    client.wait()
    client.close()

for example, count in ((small, 500), (large, 30)):
    transport = shm_echo.TcpTransport(0, host=NEAR, wire="{wire}")
    with shm_echo.Server(example, 1, transport) as server:
        # Each attempt to connect may lose its packets, too.
        client = shm_echo.TcpClient(FAR, server.port, example, connect_timeout=90)
        worker = Worker(send, client, example, count)
        for number in range(count):
            batch = server.sample(90).batch
            assert batch["n"][0] == number
            if "x" in example:
                assert (batch["x"][0] == random_sample(example, number)["x"]).all()
        worker.result()
print(forwarder.dropped, "of", forwarder.dropped + forwarder.forwarded)
""",
        needs=TUN,
    )
    assert int(out.split()[0]) > 0, "no packet was lost: this test tests nothing"


def test_both_ends_notice_a_host_that_vanishes() -> None:
    """The network goes down without a packet: only probes and time can tell."""
    out = run_apart(
        """
warnings = []
class Keep(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())
logging.getLogger("shm_echo").addHandler(Keep(logging.WARNING))

transport = shm_echo.TcpTransport(0, dead_after=2.0)
with shm_echo.Server(ARRAYS, 2, transport, num_buffers=2) as server:
    port = server.port
    def client():
        return shm_echo.TcpClient("127.0.0.1", port, ARRAYS, dead_after=2.0, max_inflight_msgs=64)
    idle, waiting, sending = client(), client(), client()
    for number, one in enumerate((idle, waiting, sending, sending)):
        one.send(arrays(number))
        one.wait()
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    waiting.send(arrays(7))

    def send():
        while True:
            sending.send(arrays(8))

    workers = [Worker(waiting.wait), Worker(send)]
    wait_until(lambda: not server.producers(), "the server has noticed")
    for worker in workers:
        try:
            worker.result()
        except ConnectionClosedError as error:
            print("noticed")
    wait_until(lambda: idle.closed, "the idle client has noticed")
    print("idle noticed")
    for one in (idle, waiting, sending):
        one.close(timeout=0)
    wait_until(lambda: sum("127.0.0.1" in text for text in warnings) == 3, "they are logged")
    assert Collector(server).until(4) == [0, 1, 2, 3]
""",
        needs="ip link set lo down",
    )
    assert out.split("\n")[:3] == ["noticed", "noticed", "idle noticed"]


def test_a_learner_that_does_not_sample_for_long_is_no_vanished_host() -> None:
    out = run_apart(
        """
import time
transport = shm_echo.TcpTransport(0, dead_after=2.0)
with shm_echo.Server(ARRAYS, 2, transport, num_buffers=2, producer_queue_size=2) as server:
    with connected(shm_echo, server.port, ARRAYS, dead_after=2.0, max_inflight_msgs=32) as client:
        sent = 0
        worker = Worker(lambda: [client.send(arrays(number)) for number in range(60)])
        worker.wait_until_asleep()
        time.sleep(5)  # the point of it: longer than dead_after
        collector = Collector(server)
        collector.until(60)
        worker.result()
        client.wait()
    assert collector.until_idle() == list(range(60))
    print("fine")
"""
    )
    assert out == "fine\n"
