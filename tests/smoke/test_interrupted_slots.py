"""Exceptions of signal handlers, aimed at reserve(), at the slot and at the end of its block.

Where CPython runs signal handlers differs between its versions, so this runs on all of them. The
signals are real: a timer of a few microseconds, again and again, while slots are reserved and end.
"""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optree
import pytest

from shm_echo import Server, ShmClient, ShmTransport, Slot

COUNT = 1000  # interrupts of each kind
CAPACITY = 4096
LONGEST = 200e-6  # seconds until an interrupt: at most some hundred slots


class Interrupt(KeyboardInterrupt):
    """What the handler raises."""


class Pair:
    """A custom node, which is taken apart and built by code in Python."""

    def __init__(self, x: Any, n: Any) -> None:
        self.x, self.n = x, n


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    everywhere = optree.registry.__GLOBAL_NAMESPACE
    optree.register_pytree_node(
        Pair,
        lambda pair: ((pair.x, pair.n), None, None),
        lambda _, parts: Pair(*parts),
        namespace=everywhere,
    )
    yield
    optree.unregister_pytree_node(Pair, namespace=everywhere)


class Timer:
    """Raises Interrupt once after each `arm`, and counts how often."""

    def __init__(self) -> None:
        self.raised = 0
        self._armed = False
        self._dice = random.Random(10)
        self._before = signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self._armed:
            self._armed = False
            self.raised += 1
            raise Interrupt

    def arm(self) -> None:
        """Start a timer of random length."""
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self._dice.uniform(1e-6, LONGEST))

    def stop(self) -> None:
        """Restore the handler."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer()
    yield timer
    timer.stop()


def write(slot: Slot, n: int) -> None:
    slot["x"][:] = n
    slot["n"][...] = n


def replace(slot: Slot, n: int) -> None:
    slot["x"][:] = n
    slot["n"] = n


def write_pair(slot: Slot, n: int) -> None:
    slot.tree.x[:] = n
    slot.tree.n[...] = n


PLAIN = {"x": np.zeros(3, np.float32), "n": np.int64(0)}
KINDS: dict[str, tuple[Any, Callable[[Slot, int], None]]] = {
    "written": (PLAIN, write),
    "replaced": (PLAIN, replace),
    "custom": (Pair(np.zeros(3, np.float32), np.int64(0)), write_pair),
}


class Storm:
    """Reserves and ends slots until an interrupt comes, again and again."""

    def __init__(self, client: ShmClient, body: Callable[[Slot, int], None], timer: Timer) -> None:
        self.client, self.body, self.timer = client, body, timer
        self.number = 0
        self.certain: list[int] = []  # the numbers of samples that were sent for certain

    def until_interrupted(self) -> Interrupt:
        """Return the interrupt, with its traceback, which keeps the frames alive."""
        try:
            self.timer.arm()
            while True:
                self.number += 1
                with self.client.reserve(timeout=0) as slot:
                    self.body(slot, self.number)
                self.certain.append(self.number)
        except Interrupt as interrupt:
            return interrupt


def taken(server: Server) -> list[int]:
    sample = server.flush(timeout=0)
    assert sample is not None
    x, n = optree.tree_leaves(sample.batch)
    if isinstance(sample.batch, dict):
        x, n = sample.batch["x"], sample.batch["n"]
    assert (x == n[:, None]).all(), "a sample is torn"
    return [int(i) for i in n]


def run(name: str, kind: str, timer: Timer, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    example, body = KINDS[kind]
    swallowed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
    came: list[int] = []
    with Server(example, CAPACITY // 2, ShmTransport(name), num_buffers=2) as server:
        with ShmClient(name, example) as client:
            storm = Storm(client, body, timer)
            for done in range(count):
                interrupt = storm.until_interrupted()
                (producer,) = server.producers()
                assert producer.held == 0, f"interrupt {done} left a slot claimed"
                assert timer.raised == done + 1
                del interrupt  # only now: a slot may not be kept until its traceback dies
                if server.info().store_size > CAPACITY // 4:
                    came += taken(server)
            came += taken(server)
    assert swallowed == []
    assert len(came) == len(set(came)), "samples came twice"
    assert set(storm.certain) <= set(came), "samples are lost"


@pytest.mark.parametrize("kind", KINDS)
def test_no_interrupt_leaves_a_slot_claimed_or_is_swallowed(
    name: str, kind: str, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(name, kind, timer, COUNT, monkeypatch)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_no_interrupt_of_ten_times_as_many_leaves_a_slot_claimed(
    name: str, kind: str, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(name, kind, timer, 10 * COUNT, monkeypatch)


def test_the_interrupt_of_a_close_reaches_the_caller(name: str, timer: Timer) -> None:
    """close() waits for the answer of a server, which is in this thread's way here."""
    with Server(PLAIN, 2, ShmTransport(name)) as server:
        client = ShmClient(name, PLAIN)
        disconnect = client._connection.goodbye

        def interrupted_goodbye(timeout: float) -> bool:
            disconnect(timeout)
            raise Interrupt

        client._connection.goodbye = interrupted_goodbye  # type: ignore[method-assign]
        with pytest.raises(Interrupt):
            client.close()
        assert server.producers() == []
        assert client.closed
