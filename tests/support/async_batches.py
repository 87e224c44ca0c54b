"""Helpers of the tests of batches for coroutines and event loops."""

from __future__ import annotations

import asyncio
import threading
from multiprocessing.connection import Connection
from typing import Any

from shm_echo import (
    Server,
    ShmClient,
)
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.waiting import WATCHDOG

__all__ = [
    "BATCH",
    "attach_and_wait",
    "helpers",
    "numbers_from",
    "send_all",
    "send_on_demand",
    "submit",
    "waiting",
    "write",
]

BATCH = 4


def helpers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "shm-echo waker"]


def submit(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.submit(numbered(number), timeout=WATCHDOG)


async def waiting(server: Server, **options: Any) -> asyncio.Task[Any]:
    """Return a task that waits in `sample_async`, asleep by now."""
    task = asyncio.create_task(server.sample_async(**options))
    while helpers() == [] and not task.done():
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0.001)
    return task


def send_on_demand(pipe: Connection, name: str, first: int) -> None:
    """Send batches of numbers from `first` on, each at one word of the parent; 0 ends."""
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
        pipe.send("attached")
        while pipe.recv():
            client.send_batch(stacked(range(first, first + BATCH)))
            first += BATCH


def send_all(pipe: Connection, name: str, first: int, count: int) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG) as client:
        for n in range(first, first + count):
            client.send(numbered(n))


def attach_and_wait(pipe: Connection, name: str) -> None:
    with ShmClient(name, EXAMPLE, connect_timeout=WATCHDOG):
        pipe.send("attached")
        pipe.recv()


def write(slot: Any, number: int) -> None:
    for key, value in numbered(number).items():
        slot[key][...] = value


async def numbers_from(server: Server, **options: Any) -> list[int]:
    sample = await asyncio.wait_for(server.sample_async(**options), WATCHDOG)
    assert sample is not None
    return numbers_of(sample.batch)
