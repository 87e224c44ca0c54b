"""A child process whose signal handler raises at random instants of taking a batch.

Each round sends one sample, starts a timer of some microseconds and takes. What an interrupted call
has taken must come from the next one: nothing is lost, and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np

import shm_echo.async_consumer  # noqa: F401, an import takes longer than the longest alarm
from shm_echo import Sample, Server
from tests.support.manual_transport import ManualTransport

__all__ = ["WAYS", "take_interrupted"]

WAYS = (
    "sample",
    "flush",
    "dataset_iter",
    "dataset_iter(copy=True)",
    "the end of a stream",
    "sample_async",
    "dataset_iter_async",
)
# Batches of these are partial: of one sample, where two would fill it.
_PARTIAL = ("flush", "the end of a stream")
# The longest time until a signal, in seconds: a little longer than any of these calls takes.
_LONGEST = 20e-6


class Interrupted(BaseException):
    """Raised by the signal handler."""


class Alarm:
    """Raises Interrupted once per start, at a random instant."""

    def __init__(self) -> None:
        self._dice = random.Random(7)
        self.armed = False
        self.raised = 0
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self.armed:
            self.armed = False
            self.raised += 1
            raise Interrupted

    def start(self) -> None:
        self.armed = True
        signal.setitimer(signal.ITIMER_REAL, 1e-6 + self._dice.random() * _LONGEST)

    def wait(self) -> None:
        """Wait for the exception that `start` has announced.

        A function of its own: CPython 3.13 leaves the jump of a loop at the end of a `try` out of
        what its `except` covers.
        """
        while self.armed:
            pass


def take_interrupted(pipe: Any, way: str, lease: Any, rounds: int) -> None:
    """Take batches until `rounds` interrupts have come; report the sent, lost and wrong ones."""
    transport = ManualTransport()
    rows = 2 if way in _PARTIAL else 1
    with Server(np.int64(0), rows, transport, num_buffers=3, lease=lease) as server:
        transport.open(1).close()  # so that a stream "until the producers have closed" ends
        pipe.send(_take(server, way, rounds))


def _take(server: Server, way: str, rounds: int) -> tuple[int, int, int]:
    alarm, loop = Alarm(), asyncio.new_event_loop()
    ending: Any = "producers_closed" if way == "the end of a stream" else None
    sent = lost = wrong = 0
    held = None  # as an ordinary loop holds a batch while it asks for the next one
    while alarm.raised < rounds:
        sent += 1
        server.submit(np.int64(sent))
        batches = server.dataset_iter(copy=way.endswith("(copy=True)"), until=ending)
        if way.endswith("_async"):
            sample = loop.run_until_complete(_interrupted_task(server, alarm, way))
        else:
            sample = _interrupted_call(server, alarm, batches, way)
        if sample is None:
            sample = _again(server, batches, way)
        if sample is None:
            lost += 1
        else:
            wrong += sample.batch.tolist() != [sent]
            held = sample
    del held
    loop.close()
    return sent, lost, wrong


def _interrupted_call(
    server: Server, alarm: Alarm, batches: Iterator[Sample], way: str
) -> Sample | None:
    """Take a batch while the alarm comes; return it if the call was not interrupted."""
    sample: Sample | None = None
    try:
        alarm.start()
        # Stored in this frame: the instant after a call belongs to its caller.
        if way == "sample":
            sample = server.sample()
        elif way == "flush":
            sample = server.flush()
        else:
            for sample in batches:  # noqa: B007
                break
        alarm.wait()
    except Interrupted:
        pass
    return sample


async def _interrupted_task(server: Server, alarm: Alarm, way: str) -> Sample | None:
    sample: Sample | None = None
    try:
        alarm.start()
        if way == "sample_async":
            sample = await server.sample_async()
        else:
            async for sample in server.dataset_iter_async():  # noqa: B007
                break
        alarm.wait()
    except Interrupted:
        pass
    return sample


def _again(server: Server, batches: Any, way: str) -> Sample | None:
    if way == "the end of a stream":
        found: Sample | None = next(batches, None)
        return found
    try:
        sample = server.sample(timeout=0, partial=way == "flush")
    except TimeoutError:
        return None
    return sample if sample is not None and len(sample.batch) else None
