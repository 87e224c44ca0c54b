"""The child processes of the tests of interrupts: block in a call, report its end, continue.

SIGINT is given Python's own handler first: a program that was started in the background has it
ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.faults.roles import attach
from tests.support.samples import Maker, example

__all__ = [
    "BLOCKING",
    "CAPACITY",
    "TOTAL",
    "client",
    "close_in_handler",
    "close_server_in_handler",
    "close_twice",
    "heedless",
    "learner",
]

CAPACITY = 4  # of the ring of these tests
TOTAL = 12  # samples that each client sends in the end
MAKER = Maker(1)


def _in_the_slot(client: ShmClient) -> None:
    with client.reserve() as slot:
        slot["sequence"][...] = 99
        while True:
            signal.pause()


# What blocks, and how many samples must be there before it does.
BLOCKING: dict[str, tuple[Callable[[ShmClient], object], int]] = {
    "send": (lambda client: client.send(MAKER.sample(CAPACITY)), CAPACITY),
    "send_batch": (lambda client: client.send_batch(MAKER.batch(0, TOTAL)), 0),
    "reserve": (lambda client: client.reserve(), CAPACITY),
    "wait": (lambda client: client.wait(), 1),
    "wait_for": (lambda client: client.wait_for(1), 1),
    "the body of reserve": (_in_the_slot, 1),
}


def client(pipe: Any, address: str, action: str) -> None:
    """Block until interrupted, report it, and send the rest on request."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    block, sent = BLOCKING[action]
    with attach(address) as attached:
        if sent:
            attached.send_batch(MAKER.batch(0, sent))
        try:
            pipe.send("blocking")  # from here on it may be interrupted
            block(attached)
        except KeyboardInterrupt as interrupt:
            sent += getattr(interrupt, "sent", 0)
        pipe.send(("interrupted", sent))
        pipe.recv()
        attached.send_batch(MAKER.batch(sent, TOTAL - sent))


def heedless(pipe: Any, address: str) -> None:
    """Block with a signal handler that does not raise, and report each run of it."""
    signal.signal(signal.SIGUSR1, lambda number, frame: pipe.send("blocking"))
    with attach(address) as attached:
        attached.send_batch(MAKER.batch(0, CAPACITY))
        pipe.send("blocking")
        attached.send(MAKER.sample(CAPACITY))
        pipe.send("sent")


def close_in_handler(pipe: Any, address: str, action: str) -> None:
    """Block, with a signal handler that closes the client."""
    block, sent = BLOCKING[action]
    with attach(address) as attached:
        signal.signal(signal.SIGTERM, lambda number, frame: attached.close())
        if sent:
            attached.send_batch(MAKER.batch(0, sent))
        pipe.send("blocking")
        try:
            block(attached)
        except ConnectionClosedError as error:
            pipe.send(("closed", error.sent))


def close_twice(pipe: Any, address: str) -> None:
    """Close a client whose server does not answer, with a signal handler that closes it too."""
    attached = attach(address)
    signal.signal(signal.SIGTERM, lambda number, frame: attached.close())
    pipe.send("attached")
    pipe.recv()
    pipe.send("blocking")
    attached.close()
    pipe.send("closed")
    pipe.recv()  # so that a signal that comes late finds it


def learner(pipe: Any, address: str, action: str) -> None:
    """Block in taking a batch until interrupted, report it, and take batches on request."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Server(example(), 2, ShmTransport(address), num_buffers=2) as server:
        if action == "another thread's turn":
            _let_another_thread_sample(server)
        pipe.send("serving")
        pipe.recv()
        try:
            pipe.send("blocking")  # from here on it may be interrupted
            if action == "dataset_iter":
                next(server.dataset_iter())
            else:
                server.sample(partial=action == "flush")
        except KeyboardInterrupt:
            pipe.send("interrupted")
        pipe.recv()
        for sample in server.dataset_iter(until="producers_closed"):
            pipe.send(sample.batch["sequence"].tolist())
    pipe.send("end")


def _let_another_thread_sample(server: Server) -> None:
    other = threading.Thread(target=server.sample)
    other.start()
    while server._consumer.sampler is not other:
        os.sched_yield()


def close_server_in_handler(pipe: Any, address: str) -> None:
    """Block in sample(), with a signal handler that closes the server."""
    with Server(example(), 2, ShmTransport(address), num_buffers=2) as server:
        signal.signal(signal.SIGTERM, lambda number, frame: server.close())
        pipe.send("blocking")
        pipe.send(server.sample())
