"""A producer's connection breaks while its process lives: its claims end, new ones fail.

The server keeps its claims until the process ends, because it may still be writing.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest

from shm_echo import ConnectionClosedError, ProducerDiedError, Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.processes import start
from tests.support.samples import Audit, Maker, example
from tests.support.threads import Worker
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

MAKER = Maker(1)


def cut(client: ShmClient) -> None:
    """Break the connection of a client, below everything that could say goodbye."""
    with socket.socket(fileno=os.dup(client._connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def lose_the_connection(pipe: Any, address: str) -> None:
    client = attach(address)
    client.send(MAKER.sample(0))
    slot = client.reserve()
    held = client.reserve()
    cut(client)
    pipe.send("cut")
    pipe.recv()
    with pytest.raises(ConnectionClosedError, match="has detached this client"):
        client.send(MAKER.sample(9))
    with pytest.raises(ConnectionClosedError, match="has detached this client") as cut_off:
        client.send_batch(MAKER.batch(9, 3))
    MAKER.write(slot, 1)
    slot.commit()
    pipe.send(("committed", cut_off.value.sent, held.is_open))
    pipe.recv()


def test_a_producer_that_lost_its_connection_finishes_its_claims_and_starts_no_new_ones(
    name: str,
) -> None:
    audit = Audit()
    with Server(
        example(), 4, ShmTransport(name), num_buffers=2, on_producer_death="raise"
    ) as server:
        with start(lose_the_connection, name) as child:
            child.expect("cut")
            wait_until(lambda: server.producers()[0].state == "hung up", "the server notices")
            assert server.producers()[0].held == 2
            child.say("go on")
            child.expect(("committed", 0, True))
            with pytest.raises(TimeoutError):  # the process lives, so its slot is kept
                server.sample(timeout=0.2)
            assert [(p.pid, p.held) for p in server.producers()] == [(child.pid, 1)]
            child.kill()
            with pytest.raises(ProducerDiedError) as death:
                server.sample(timeout=WATCHDOG)
            assert (death.value.pid, death.value.signal) == (child.pid, signal.SIGKILL)
        assert server.producers() == []
        with attach(name) as client:
            client.send_batch(Maker(2).batch(0, 2))  # the slot that is free again, and the last
        sample = server.sample(timeout=0)
        assert sample is not None
        audit.take(sample.batch)
    audit.check({(1, 0): 2, (2, 0): 2})


def test_a_send_that_waits_for_room_raises_when_the_connection_breaks(name: str) -> None:
    with Server(example(), 1, ShmTransport(name), num_buffers=2) as server, attach(name) as client:
        client.send_batch(MAKER.batch(0, 2))
        sends = [
            Worker(client.send, MAKER.sample(2)),
            Worker(client.send_batch, MAKER.batch(2, 5)),
            Worker(client.reserve),
            Worker(client.wait),
        ]
        for send in sends:
            send.wait_until_asleep()
        cut(client)
        for send in sends:
            with pytest.raises(ConnectionClosedError, match="its connection broke"):
                send.result()
        assert server.producers()[0].state == "hung up"
        assert server.sample(timeout=0) is not None  # what was sent before is there
