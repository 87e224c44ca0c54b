"""Producers are killed at random points: no sample is torn, lost, duplicated or foreign.

Every slot and every owner id of a killed producer is used again.
"""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from shm_echo import Server, ShmTransport
from tests.support.fleet import Fleet, kept_open
from tests.support.learner import auditing
from tests.support.processes import METHODS
from tests.support.samples import example
from tests.support.waiting import process_state, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")


def rampage(server: Server, fleet: Fleet, kills: int, seed: int) -> int:
    """Kill one producer after the other and replace it; how many were seen holding a claim."""
    dice = random.Random(seed)
    held = 0
    for _ in range(kills):
        number = dice.choice(list(fleet.children))
        child = fleet.children[number]
        if dice.random() < 0.8:  # else it may be killed while it attaches
            fleet.streaming(number)
        time.sleep(dice.random() * 0.004)  # the point of it: any moment
        if dice.random() < 0.3:
            child.kill(signal.SIGSTOP)
            wait_until(lambda pid=child.pid: process_state(pid) == "T", "it stops")  # type: ignore[misc]
            held += any(p.held for p in server.producers() if p.pid == child.pid)
        fleet.kill(number)
        fleet.start(number)
    return held


MOST_KILLS = 2000
CASES = {
    "send": {"how": "send", "words": 16, "kills": 40},
    "send of large samples": {"how": "send", "words": 1 << 14, "kills": 30},
    "send_batch": {"how": "send_batch", "words": 16, "kills": 40},
    "send_batch of large samples": {"how": "send_batch", "words": 1 << 12, "kills": 20},
    "reserve": {"how": "reserve", "words": 16, "kills": 30},
    "threads": {"how": "send", "words": 256, "kills": 20, "threads": 3, "size": 2},
}


def run(name: str, folder: Path, case: dict[str, object], kills: int) -> None:
    words = int(str(case["words"]))
    options = {key: value for key, value in case.items() if key != "kills"}
    transport = ShmTransport(name, max_producers=6)
    with (
        Server(example(words), 8, transport, num_buffers=3) as server,
        auditing(server) as audit,
        kept_open(name, words),
        Fleet(name, folder, **options) as fleet,  # type: ignore[arg-type]
    ):
        held = rampage(server, fleet, kills, seed=len(str(case)))
        while case["how"] == "reserve" and not held and len(fleet.deaths) < MOST_KILLS:
            held += rampage(server, fleet, 10, seed=len(fleet.deaths))
        fleet.stop()
    audit.check(fleet.sent(), in_order=False)
    assert len(fleet.deaths) >= kills
    assert len(audit.sequences()) > kills / 2, "most were killed before they sent anything"
    if case["how"] == "reserve":
        assert held > 0, "no kill found a claim held: this test tests nothing"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_producers_killed_at_random_points_lose_tear_and_duplicate_no_sample(
    name: str, tmp_path: Path, case: dict[str, int]
) -> None:
    run(name, tmp_path, case, case["kills"])


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_thousands_of_kills_lose_tear_and_duplicate_no_sample(
    name: str, tmp_path: Path, case: dict[str, int]
) -> None:
    run(name, tmp_path, case, 1500)


def test_producers_killed_while_they_wait_for_room_lose_no_sample_and_block_no_slot(
    name: str, tmp_path: Path
) -> None:
    transport = ShmTransport(name, max_producers=4)
    turn = threading.Semaphore(0)  # the learner may take one more batch
    free = threading.Event()

    def wait_for_turn() -> None:
        while not (free.is_set() or server.closed) and not turn.acquire(timeout=0.01):
            pass

    def all_blocked() -> bool:
        assert not any(child.ended() for child in fleet.children.values())
        children = {child.pid for child in fleet.children.values()}
        waiting = {p.pid for p in server.producers() if p.blocked_seconds > 0 and not p.held}
        return server.info().store_size == 8 and children <= waiting  # the learner holds 4 more

    with (
        Server(example(), 4, transport, num_buffers=3) as server,
        auditing(server, wait_for_turn) as audit,
        kept_open(name),
        Fleet(name, tmp_path) as fleet,
    ):
        dice = random.Random(1)
        for _ in range(40):
            wait_until(all_blocked, "the ring is full and everybody waits for room")
            for number in dice.sample(range(3), dice.randint(1, 3)):
                fleet.kill(number)
            wait_until(lambda: len(server.producers()) == 1 + len(fleet.children), "ids return")
            for number in set(range(3)) - set(fleet.children):
                fleet.start(number)
            for _ in range(dice.randint(1, 3)):
                turn.release()
        wait_until(all_blocked, "the ring is full and everybody waits for room")
        free.set()
        fleet.stop()
    audit.check(fleet.sent(), in_order=False)
    assert audit.received > 40 * 4


@pytest.mark.parametrize("method", METHODS)
def test_producers_of_every_start_method_are_told_apart_from_their_killed_ones(
    name: str, tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Server(example(), 8, ShmTransport(name)) as server,
        auditing(server) as audit,
        kept_open(name),
        Fleet(name, tmp_path, size=2, method=method) as fleet,
    ):
        fleet.streaming(0)
        fleet.streaming(1)
        victim = fleet.children[0]
        victim.kill()
        # Before anybody waits for it: afterwards only a recent kernel (6.15) tells the signal.
        gone = f"{victim.pid} is gone"
        wait_until(lambda: victim.pid not in {p.pid for p in server.producers()}, gone)
        fleet.kill(0)
        fleet.start(0)
        fleet.streaming(0)
        fleet.stop()
    audit.check(fleet.sent(), in_order=False)
    assert set(audit.sequences()) == {(0, 0), (0, 1), (1, 0)}
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    ends = {"was ended by SIGKILL"}
    if method == "forkserver":  # whose children are waited for by the fork server, at once
        ends.add("ended")
    (pid,) = fleet.deaths
    assert warnings in [[f"producer pid {pid} {end} without closing"] for end in ends]
