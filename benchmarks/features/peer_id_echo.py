"""id-echo: the trials behind the cells of its column."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import time
from typing import Any

import numpy as np
from echo import Server, TcpClient, TcpTransport
from trial import NO, SPAWN, YES, ends_within, killing, main, start

SMALL = {"obs": np.zeros(4, np.float32)}
LARGE = {"obs": np.zeros(1 << 20, np.float32)}
PATIENCE = 60.0


def serve(example: Any = SMALL, batch_size: int = 4, **options: Any) -> Server:
    server = Server(example, batch_size, TcpTransport(port=0), **options)
    server.start()
    return server


def send(port: int, example: Any, count: int, value: float) -> None:
    client = TcpClient("127.0.0.1", port, example)
    for _ in range(count):
        client.send({"obs": np.full_like(example["obs"], value)})
    client.wait()
    client.close()


def view() -> str:
    server = serve(batch_size=1, num_buffers=2)
    server.submit({"obs": np.zeros(4, np.float32)})
    first = server.sample().batch["obs"]
    for _ in range(3):
        server.submit({"obs": np.ones(4, np.float32)})
        server.sample()
    return YES if first.sum() else NO


def join() -> str:
    server = serve()
    start(send, server.port, SMALL, 4, 1.0)
    server.sample()
    start(send, server.port, SMALL, 4, 2.0)
    return YES if server.sample().batch["obs"].sum() == 32 else NO


def misfit() -> str:
    server = serve()
    client = TcpClient("127.0.0.1", server.port, SMALL)
    try:
        client.send({"obs": np.zeros(5, np.float32)})
        return NO
    except ValueError:
        pass
    for _ in range(4):
        client.send({"obs": np.ones(4, np.int32)})  # as many bytes, of another type
    batch = server.sample().batch["obs"]
    return "size only" if batch.dtype == np.float32 and batch.sum() < 1e-40 else YES


def full() -> str:
    server = serve()
    client = TcpClient("127.0.0.1", server.port, SMALL)
    waits = not ends_within(5, lambda: [client.send(SMALL) for _ in range(10_000)])
    timed = "timeout" in inspect.signature(client.send).parameters
    return YES if waits and timed else "no time-out" if waits else NO


def killed_inside() -> str:
    server = serve(LARGE)
    start(send, server.port, LARGE, 1 << 30, 0.0)
    deaths = killing(lambda n: start(send, server.port, LARGE, 1 << 30, n + 1.0), 10)
    while deaths.is_alive():
        rows = server.sample().batch["obs"]
        if not (rows == rows[:, :1]).all():
            return NO
    return YES


def death() -> str:
    """Show that the learner sees no error from a closed producer, nor from a killed one."""
    server = serve()
    producer = start(send, server.port, SMALL, 1 << 30, 0.0)
    server.sample()
    producer.kill()
    producer.join()
    learned: list[Any] = []

    def drain() -> None:
        try:
            while True:
                server.sample()
        except Exception as error:
            learned.append(error)

    ends_within(10, drain)
    return YES if learned else NO


def learn(port: Any) -> None:
    server = serve()
    port.send(server.port)
    time.sleep(600)


def learner_dies() -> str:
    ours, theirs = SPAWN.Pipe()
    learner = start(learn, theirs)
    client = TcpClient("127.0.0.1", ours.recv(), SMALL)
    errors: list[Exception] = []

    def fill() -> None:
        try:
            while True:
                client.send(SMALL)
        except Exception as error:
            errors.append(error)

    assert not ends_within(5, fill)  # blocked: no batch is taken
    os.kill(learner.pid, signal.SIGKILL)
    time.sleep(15)
    return YES if errors else NO


def broadcast() -> str:
    """Show that no method of the client receives data."""
    names = {name for name in dir(TcpClient) if not name.startswith("_")}
    return NO if names == {"send", "wait", "close"} else "look again"


def hosts() -> str:
    server = serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; picks the address other hosts would use
        address = probe.getsockname()[0]
    TcpClient(address, server.port, SMALL).send(SMALL)
    return YES if not address.startswith("127.") else "look again"


if __name__ == "__main__":
    main(
        {
            "view": view,
            "join": join,
            "misfit": misfit,
            "full": full,
            "killed_inside": killed_inside,
            "death": death,
            "learner_dies": learner_dies,
            "broadcast": broadcast,
            "hosts": hosts,
        }
    )
