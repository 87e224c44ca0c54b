"""Streams of every shape: slow learners, slow producers, many of them, the smallest ring.

No death, no fault: every sample comes once, whole, and in the order of its producer.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shm_echo import Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.fleet import Fleet, kept_open
from tests.support.learner import auditing
from tests.support.processes import METHODS, start
from tests.support.samples import Maker, example
from tests.support.threads import Worker

pytestmark = pytest.mark.usefixtures("shm_unchanged")

COUNT = 1000


def produce(pipe: Any, address: str, producer: int, count: int, pause: float) -> None:
    """Send samples in every way there is, with pauses."""
    maker, dice = Maker(producer), random.Random(producer)
    with attach(address) as client:
        pipe.send("attached")
        pipe.recv()
        sent = 0
        while sent < count:
            how = dice.randrange(3)
            if how == 0:
                client.send(maker.sample(sent))
                sent += 1
            elif how == 1:
                sent += client.send_batch(maker.batch(sent, min(dice.randrange(9), count - sent)))
            else:
                with client.reserve() as slot:
                    maker.write(slot, sent)
                sent += 1
            if pause:
                time.sleep(dice.random() * pause)


SHAPES: dict[str, dict[str, Any]] = {
    "a learner and producers at full speed": {},
    "a learner slower than its producers": {"learner": 0.002},
    "producers slower than their learner": {"producer": 0.002},
    "a ring of two batches of one sample": {"batch_size": 1, "num_buffers": 2},
    "a ring of two batches of one sample, slow learner": {
        "batch_size": 1,
        "num_buffers": 2,
        "learner": 0.0005,
    },
    "batches larger than all that is sent": {"batch_size": 1000, "num_buffers": 2},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_sample_comes_once_and_in_order(name: str, shape: dict[str, Any]) -> None:
    batch_size, num_buffers = shape.get("batch_size", 7), shape.get("num_buffers", 3)
    pause = shape.get("learner", 0)
    with (
        Server(example(), batch_size, ShmTransport(name), num_buffers=num_buffers) as server,
        auditing(server, (lambda: time.sleep(pause)) if pause else None) as audit,
        kept_open(name),
        ExitStack() as stack,
    ):
        args = (COUNT, shape.get("producer", 0))
        children = [stack.enter_context(start(produce, name, n, *args)) for n in range(3)]
        for child in children:
            child.expect("attached")
        for child in children:
            child.say("go")
        for child in children:
            assert child.wait() == 0
    audit.check({(n, 0): COUNT for n in range(3)})


def test_sixty_four_producers_at_once(name: str) -> None:
    with (
        Server(example(), 32, ShmTransport(name), num_buffers=3) as server,
        auditing(server) as audit,
        kept_open(name),
        ExitStack() as stack,
    ):
        children = [stack.enter_context(start(produce, name, n, 40, 0)) for n in range(64)]
        for child in children:
            child.expect("attached")
        assert len(server.producers()) == 65
        for child in children:
            child.say("go")
        for child in children:
            assert child.wait() == 0
    audit.check({(n, 0): 40 for n in range(64)})


def test_threads_that_share_a_client_each_keep_their_order(name: str) -> None:
    def send(client: ShmClient, maker: Maker) -> None:
        sent = 0
        while sent < COUNT:
            client.send(maker.sample(sent))
            sent += 1 + client.send_batch(maker.batch(sent + 1, min(5, COUNT - sent - 1)))

    with (
        Server(example(), 5, ShmTransport(name), num_buffers=2) as server,
        auditing(server) as audit,
        attach(name) as client,
    ):
        workers = [Worker(send, client, Maker(n)) for n in range(6)]
        for worker in workers:
            worker.result()
        assert [p.samples for p in server.producers()] == [6 * COUNT]
    audit.check({(n, 0): COUNT for n in range(6)})


def test_clients_of_one_process_are_separate_producers(name: str) -> None:
    with (
        Server(example(), 4, ShmTransport(name), num_buffers=2) as server,
        auditing(server) as audit,
        attach(name) as one,
        attach(name) as other,
    ):
        workers = [
            Worker(client.send_batch, Maker(n).batch(0, COUNT))
            for n, client in enumerate((one, other))
        ]
        for worker in workers:
            assert worker.result() == COUNT
        first, second = server.producers()
        assert first.pid == second.pid == os.getpid()
        assert (first.samples, second.samples) == (COUNT, COUNT)
        assert first.id != second.id
    audit.check({(n, 0): COUNT for n in range(2)})


@pytest.mark.parametrize("method", METHODS)
def test_actors_of_every_start_method_stream_side_by_side(
    name: str, tmp_path: Path, method: str
) -> None:
    with (
        Server(example(64), 8, ShmTransport(name)) as server,
        auditing(server) as audit,
        kept_open(name, 64),
        Fleet(name, tmp_path, method=method, size=2, how="send_batch", words=64) as fleet,
    ):
        for number in range(2):
            fleet.streaming(number)
        fleet.stop()
    audit.check(fleet.sent())
    assert set(audit.sequences()) == {(0, 0), (1, 0)}
