"""shm-echo: the trials behind the cells of its column."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from typing import Any

import numpy as np
from trial import NO, YES, ends_within, killing, main, start

from shm_echo import (
    ConnectionClosedError,
    ProducerDiedError,
    SendTimeoutError,
    Server,
    ShmClient,
    ShmTransport,
    SpecMismatchError,
    TcpClient,
    TcpTransport,
)

SMALL = {"obs": np.zeros(4, np.float32)}
LARGE = {"obs": np.zeros(1 << 20, np.float32)}
PATIENCE = 60.0


def serve(example: Any = SMALL, batch_size: int = 4, **options: Any) -> tuple[Server, str]:
    name = f"features-{uuid.uuid4().hex[:12]}"
    server = Server(example, batch_size, ShmTransport(name), **options)
    server.start()
    return server, name


def send(name: str, example: Any, count: int, value: float) -> None:
    with ShmClient(name, example, connect_timeout=PATIENCE) as client:
        for _ in range(count):
            client.send({"obs": np.full_like(example["obs"], value)})


def view() -> str:
    server = Server(SMALL, 1, num_buffers=2, lease=False).start()  # so that a view shows it
    server.submit({"obs": np.zeros(4, np.float32)})
    first = server.sample().batch["obs"]
    for _ in range(3):
        server.submit({"obs": np.ones(4, np.float32)})
        server.sample()
    return YES if first.sum() else NO


def join() -> str:
    server, name = serve()
    start(send, name, SMALL, 4, 1.0)
    server.sample(timeout=PATIENCE)
    start(send, name, SMALL, 4, 2.0)
    return YES if server.sample(timeout=PATIENCE).batch["obs"].sum() == 32 else NO


def misfit() -> str:
    _server, name = serve()
    with ShmClient(name, SMALL) as client:
        try:
            client.send({"obs": np.zeros(4, np.int32)})
        except SpecMismatchError:
            return YES
    return NO


def full() -> str:
    _server, name = serve()
    with ShmClient(name, SMALL) as client:
        try:
            for _ in range(1000):
                client.send(SMALL, timeout=0.2)
        except SendTimeoutError:
            return YES
    return NO


def killed_inside() -> str:
    server, name = serve(LARGE)
    start(send, name, LARGE, 1 << 30, 0.0)
    deaths = killing(lambda number: start(send, name, LARGE, 1 << 30, number + 1.0), 10)
    while deaths.is_alive():
        rows = server.sample(timeout=PATIENCE).batch["obs"]
        if not (rows == rows[:, :1]).all():
            return NO
    return YES


def death() -> str:
    server, name = serve(on_producer_death="raise")
    producer = start(send, name, SMALL, 1 << 30, 0.0)
    server.sample(timeout=PATIENCE)
    producer.kill()
    try:
        for _ in range(1000):
            server.sample(timeout=10)
    except ProducerDiedError as error:
        return YES if error.pid == producer.pid else NO
    return NO


def learn(name: str) -> None:
    with Server(SMALL, 4, ShmTransport(name)):
        time.sleep(600)


def learner_dies() -> str:
    name = f"features-{uuid.uuid4().hex[:12]}"
    learner = start(learn, name)
    client = ShmClient(name, SMALL, connect_timeout=PATIENCE)
    result = NO

    def fill() -> None:
        nonlocal result
        try:
            while True:
                client.send(SMALL)
        except ConnectionClosedError:
            result = YES

    assert not ends_within(2, fill)  # blocked: no batch is taken
    os.kill(learner.pid, signal.SIGKILL)
    return result if ends_within(10, lambda: wait_until(lambda: result == YES)) else NO


def wait_until(condition: Any) -> None:
    while not condition():
        time.sleep(0.01)


def broadcast() -> str:
    server, name = serve(publishes=SMALL)
    server.publish({"obs": np.full(4, 7, np.float32)})
    with ShmClient(name, SMALL) as client:
        return YES if client.latest()[1]["obs"].sum() == 28 else NO


def hosts() -> str:
    server = Server(SMALL, 1, TcpTransport(port=0, host="0.0.0.0")).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; picks the address other hosts would use
        address = probe.getsockname()[0]
    with TcpClient(address, server.port, SMALL) as client:
        client.send({"obs": np.ones(4, np.float32)})
    arrived = server.sample(timeout=PATIENCE).batch["obs"].sum() == 4
    return YES if arrived and not address.startswith("127.") else NO


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
