"""Servers are killed while they start: no name stays in /dev/shm, and the next start works."""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from typing import Any

import numpy as np
import posix_ipc
import pytest

from shm_echo import Server, ShmTransport
from tests.faults.roles import send_some, serve
from tests.support.leftovers import shm_names
from tests.support.processes import start
from tests.support.samples import example
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

LARGE = {"x": np.zeros(1 << 22, np.uint8)}  # 4 MiB a sample, 96 MiB a ring


def start_large(pipe: Any, address: str, backing: Any) -> None:
    """Start a server whose ring takes a while to allocate."""
    server = Server(LARGE, 8, ShmTransport(address, backing), num_buffers=3)
    pipe.send("starting")
    server.start()
    pipe.send("started")
    pipe.recv()


def die_before_unlinking(pipe: Any, address: str) -> None:
    """Be killed between the two calls that make a segment and take its name away."""
    unlink = posix_ipc.unlink_shared_memory

    def die(name: str) -> None:
        if f"-{os.getpid()}-" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        unlink(name)  # the sweep removes a name of another process

    posix_ipc.unlink_shared_memory = die
    start_large(pipe, address, "posix")


def names_of(pids: set[int]) -> set[str]:
    """Return the names of these processes, among those of other programs."""
    return {name for name in shm_names() for pid in pids if name.startswith(f"shm-echo-{pid}-")}


@pytest.mark.parametrize("backing", ["posix", "memfd"])
def test_kills_at_random_moments_of_the_start_of_a_large_ring_leave_no_name(
    name: str, backing: Any
) -> None:
    dice = random.Random(backing)
    pids = set()
    unfinished = 0
    for _ in range(20):
        with start(start_large, name, backing) as child:
            pids.add(child.pid)
            child.expect("starting")
            time.sleep(dice.random() * 0.06)  # the point of it: any moment
            child.kill()
            unfinished += child.rest() == []
    with Server(example(), 2, ShmTransport(name), num_buffers=2):  # it starts, and sweeps
        assert not names_of(pids)
    assert unfinished, "every server had started before it was killed: this test tests nothing"


def test_a_name_that_was_left_between_two_calls_is_swept_by_the_next_start(name: str) -> None:
    with start(die_before_unlinking, name) as child:
        child.expect("starting")
        wait_until(child.ended, "it has died")
        # The name is swept only after the process has been waited for.
        assert len(names_of({child.pid})) == 1
        assert child.wait() == -signal.SIGKILL
        with start(serve, name, 4, False, {}) as other:
            other.expect("serving")
            assert not names_of({child.pid, other.pid})


def test_the_names_of_live_servers_are_not_swept(name: str) -> None:
    own = posix_ipc.SharedMemory(
        f"/shm-echo-{os.getpid()}-{_start_time()}-{secrets.token_hex(8)}", os.O_CREAT
    )
    try:
        with Server(example(), 2, ShmTransport(name), num_buffers=2):
            assert own.name.removeprefix("/") in shm_names()
    finally:
        own.close_fd()
        own.unlink()


def _start_time() -> str:
    with open("/proc/self/stat") as stat:
        return stat.read().rpartition(")")[2].split()[19]


def test_fifty_servers_in_a_row_are_killed_and_replaced_under_one_name(name: str) -> None:
    dice = random.Random(50)
    pids = set()
    for n in range(50):
        with start(serve, name, 4, False, {}) as server:
            pids.add(server.pid)
            if n % 2:
                time.sleep(dice.random() * 0.03)  # the point of it: any moment
            else:
                server.expect("serving")
    with (
        Server(example(), 2, ShmTransport(name), num_buffers=2) as last,
        start(send_some, name, 1, 2) as child,
    ):
        assert not names_of(pids)
        sample = last.sample(timeout=WATCHDOG)
        assert sample is not None
        assert sample.batch["sequence"].tolist() == [0, 1]
        child.say("close")
        assert child.wait() == 0
