"""Stray writes hit every word of the ring while producers stream.

No step of the protocol leaves these values there. No sample is torn, doubled or foreign, no process
ends or hangs, and the samples flow again after each hit. At most the sample in the slot that was
hit is lost.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shm_echo import RingCorruptedError, Server, ShmClient, ShmTransport
from tests.support.learner import auditing
from tests.support.processes import Child, start
from tests.support.ring_words import RingWords
from tests.support.samples import Audit, Maker, example
from tests.support.waiting import WATCHDOG, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")

BATCH, BUFFERS, MOST = 4, 3, 4
PRODUCERS = ("send", "send_batch", "reserve")
FLOW = 2 * BATCH * BUFFERS  # samples that must come after each hit


Choice = Callable[[RingWords], list[int]]


def stream(pipe: Any, address: str, number: int, how: str) -> None:
    """Send numbered samples until a message comes; a lost one is skipped. Report their number."""
    maker, n, lost = Maker(number), 0, 0
    stop = threading.Event()
    threading.Thread(target=lambda: (pipe.recv(), stop.set()), daemon=True).start()
    with ShmClient(address, example(), connect_timeout=WATCHDOG) as client:
        pipe.send("streaming")
        while not stop.is_set():
            count = 3 if how == "send_batch" else 1
            try:
                if how == "send":
                    client.send(maker.sample(n))
                elif how == "send_batch":
                    client.send_batch(maker.batch(n, count))
                else:
                    with client.reserve() as slot:
                        maker.write(slot, n)
            except RingCorruptedError:
                lost += 1
            n += count
    pipe.send((n, lost))


def check(audit: Audit, sent: dict[int, int]) -> int:
    """Check that no sample is doubled or foreign; return the number of those that did not come."""
    missing = 0
    for (number, _), came in audit.sequences().items():
        assert len(came) == len(set(came)), f"samples of {number} came twice"
        assert max(came) < sent[number], f"{number} never sent {max(came)}"
        missing += sent[number] - len(came)
    return missing


def scribble(name: str, seed: int, choose: Choice) -> None:
    """Hit words, one at a time; wait after each hit until samples flow again."""
    dice = random.Random(seed)
    transport = ShmTransport(name, max_producers=MOST)
    children: list[Child] = []
    with Server(example(), BATCH, transport, num_buffers=BUFFERS) as server:
        words = RingWords(server, MOST)
        with auditing(server, min_producers=len(PRODUCERS)) as audit:
            try:
                for number, how in enumerate(PRODUCERS):
                    children.append(start(stream, name, number, how))
                    children[-1].expect("streaming")
                wait_until(lambda: audit.received > 4 * FLOW, "laps pass")
                hits = 0
                for offset in choose(words):
                    value = next(words.values(offset, dice))
                    # Any moment: the others run whenever this thread waits below.
                    words[offset] = value
                    hits += 1
                    before = audit.received
                    what = f"samples flow after {value:#x} at {offset} (seed {seed})"
                    wait_until(lambda before=before: audit.received > before + FLOW, what)  # type: ignore[misc]
                    assert not server.closed
                    assert all(not child.ended() for child in children)
                sent, lost = {}, 0
                for child in children:
                    child.say("stop")
                for number, child in enumerate(children):
                    sent[number], errors = child.hear()
                    lost += 3 * errors
                    assert child.wait() == 0
            finally:
                for child in children:
                    child.end()
        assert check(audit, sent) <= hits + lost


def control_words(words: RingWords) -> list[int]:
    """Return the words of the header and the records, in order: the accounts come last.

    A hit account prevents later repairs until its owner leaves, so no other hit may need one.
    """
    return list(words.control)


def state_words(words: RingWords) -> list[int]:
    """Return each state word a few times."""
    return 4 * list(words.all_states)


KINDS = {"header and records": control_words, "state words": state_words}


@pytest.mark.parametrize("choose", KINDS.values(), ids=KINDS)
def test_a_stray_write_tears_and_doubles_nothing_and_stops_nobody(
    name: str, choose: Choice
) -> None:
    scribble(name, 1, choose)


@pytest.mark.nightly
@pytest.mark.parametrize("choose", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_stray_writes_tear_and_double_nothing_and_stop_nobody(
    name: str, choose: Choice, seed: int
) -> None:
    scribble(name, seed, choose)
