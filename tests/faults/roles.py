"""The programs of child processes in the tests of this folder, controlled through pipes.

The arguments begin with the pipe and the server's address. A program sends a message when it
reaches the point that its test waits for.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from shm_echo import ConnectionClosedError, Server, ShmClient, ShmTransport
from tests.support.samples import Maker, example
from tests.support.waiting import WATCHDOG

__all__ = [
    "BLOCKING",
    "be_cut_off",
    "hold_a_slot",
    "leave",
    "leave_as_grandchild",
    "send_some",
    "serve",
]


def attach(address: str) -> ShmClient:
    """Return a client of the samples' example."""
    return ShmClient(address, example(), connect_timeout=WATCHDOG)


def send_some(pipe: Any, address: str, producer: int, count: int) -> None:
    """Send `count` samples, report it, and close on request."""
    maker = Maker(producer)
    with attach(address) as client:
        for n in range(count):
            client.send(maker.sample(n))
        pipe.send("sent")
        pipe.recv()


def hold_a_slot(pipe: Any, address: str, producer: int) -> None:
    """Send a sample, begin another one in place, report it, and commit it on request."""
    maker = Maker(producer)
    with attach(address) as client:
        client.send(maker.sample(0))
        with client.reserve() as slot:
            slot["payload"][:8] = maker.sample(1)["payload"][:8]
            pipe.send("holding")
            pipe.recv()
            maker.write(slot, 1)
        pipe.send("committed")
        pipe.recv()


def leave(pipe: Any, address: str, how: str) -> None:
    """Send one sample and, on request, end the process without closing.

    Args:
        pipe: hears "sent".
        address: of the server.
        how: "_exit", or the name of a signal to be ended by.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    client = attach(address)
    client.send(Maker(0).sample(0))
    pipe.send("sent")
    pipe.recv()
    if how == "_exit":
        os._exit(0)
    number = signal.Signals[how]
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()


def leave_as_grandchild(pipe: Any, address: str, how: str, orphaned: bool) -> None:
    """Have a child of this process `leave`; report its pid before.

    Args:
        pipe: passed on.
        address, how: as for `leave`.
        orphaned: end before it does; else stay, and do not wait for it until the request.
    """
    pid = os.fork()
    if pid == 0:
        leave(pipe, address, how)
    pipe.send(pid)
    if not orphaned:
        signal.pause()
    os._exit(0)


def _stream(client: ShmClient) -> None:
    while True:
        client.send(Maker(0).sample(0))


# Calls that do not return while the ring is full, no thread samples and no value is published.
BLOCKING: dict[str, Callable[[ShmClient], object]] = {
    "send": lambda client: client.send(Maker(0).sample(0)),
    "send_batch": lambda client: client.send_batch(Maker(0).batch(0, 100)),
    "reserve": lambda client: client.reserve(),
    "wait": lambda client: client.wait(),
    "wait_for": lambda client: client.wait_for(10**9),
    "stream": _stream,
}


def be_cut_off(pipe: Any, address: str, action: str) -> None:
    """Attach, block in an action (or stream) on request, and report its end.

    Every client sends one sample first, so that there is something to `wait` for.
    """
    with attach(address) as client:
        client.send(Maker(0).sample(0))
        pipe.send("attached")
        pipe.recv()
        try:
            BLOCKING[action](client)
        except ConnectionClosedError as error:
            pipe.send(("ConnectionClosedError", str(error), error.sent))
    pipe.send("closed")


def serve(
    pipe: Any,
    address: str,
    capacity: int,
    sampling: bool,
    forked: dict[str, Connection[Any, Any]],
) -> None:
    """Serve, with producers forked from the server, and report all producers on request.

    Args:
        pipe: answers anything with `producers()`.
        address: where to serve.
        capacity: samples in the ring.
        sampling: take batches all the time.
        forked: an action of BLOCKING for each producer to fork, and its pipe; "idle" for a child
            that has nothing to do with the ring and outlives its parent.
    """
    transport = ShmTransport(address)
    with Server(
        example(), capacity // 2, transport, num_buffers=2, publishes={"w": np.zeros(3)}
    ) as server:
        server.publish({"w": np.arange(3.0)})
        for action, other in forked.items():
            if os.fork() == 0:
                pipe.close()
                if action == "idle":
                    other.send("idle")
                    other.recv()
                else:
                    be_cut_off(other, address, action)
                os._exit(0)
        pipe.send("serving")
        while True:
            if sampling:
                server.sample()
            if pipe.poll(0 if sampling else None):
                pipe.recv()
                pipe.send([(p.pid, p.blocked_seconds) for p in server.producers()])
