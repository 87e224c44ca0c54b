"""Hundreds of producers attach and are killed: the server frees all their resources.

Descriptors, owner ids, slots and names in /dev/shm are counted.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import Any

import pytest

from shm_echo import Server, ShmTransport
from shm_echo.errors import RefusedError
from tests.faults.roles import attach, hold_a_slot
from tests.support.leftovers import nothing_new_stays_in_shm, open_descriptors, shm_names
from tests.support.processes import start
from tests.support.samples import Maker, example
from tests.support.waiting import wait_until

MOST = 4


def attach_and_wait(pipe: Any, address: str) -> None:
    with attach(address):
        pipe.send("attached")
        pipe.recv()


def attach_and_kill(server: Server, name: str, waves: int, dice: random.Random) -> None:
    """Fill the server with producers and kill them, again and again."""
    for _ in range(waves):
        patient = dice.random() < 0.5
        with ExitStack() as stack:
            children = [stack.enter_context(start(attach_and_wait, name)) for _ in range(MOST - 1)]
            children.append(stack.enter_context(start(hold_a_slot, name, 1)))
            if patient:
                for child in children:
                    child.hear()
                with pytest.raises(RefusedError, match="max_producers"):
                    attach(name)
            else:
                time.sleep(dice.random() * 0.02)  # the point of it: somewhere in the attach
        wait_until(lambda: not server.producers(), "all ids are free again")
        server.flush()  # of the one that sends a sample and begins another


def test_two_hundred_producers_that_attach_and_are_killed_leave_no_trace(name: str) -> None:
    dice = random.Random(200)
    before = shm_names()
    with Server(example(), 2, ShmTransport(name, max_producers=MOST)) as server:
        attach_and_kill(server, name, 2, dice)
        descriptors = open_descriptors()
        attach_and_kill(server, name, 48, dice)
        wait_until(lambda: open_descriptors() <= descriptors, "all descriptors are closed")
        nothing_new_stays_in_shm(before)
        # All that the ring and its ids can do, they still can.
        with ExitStack() as stack:
            clients = [stack.enter_context(attach(name)) for _ in range(MOST)]
            assert sorted(p.id for p in server.producers()) == [1, 2, 3, 4]
            for n, client in enumerate(clients):
                client.send(Maker(n).sample(0))
            assert sum(len(server.flush().batch["sequence"]) for _ in range(2)) == MOST  # type: ignore[union-attr]
