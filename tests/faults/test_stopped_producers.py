"""Producers that are alive and do not run: stopped by a signal or a debugger, or slow in a slot.

They may still write into their slots, so the batch waits; a warning names the producer.
"""

from __future__ import annotations

import logging
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from shm_echo import Server, ShmTransport
from tests.faults.roles import hold_a_slot, send_some
from tests.support.fleet import Fleet, kept_open
from tests.support.learner import auditing
from tests.support.processes import start
from tests.support.samples import Audit, example
from tests.support.waiting import WATCHDOG, process_state, wait_until

pytestmark = pytest.mark.usefixtures("shm_unchanged")


@pytest.fixture
def quick_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the warning come after a fifth of a second instead of five seconds."""
    monkeypatch.setattr("shm_echo.wait_checks._STRAGGLER_AFTER", 0.2)


@pytest.mark.usefixtures("quick_warning")
def test_a_batch_waits_for_a_stopped_producer_with_a_warning_that_names_its_pid(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit()
    with (
        Server(example(), 4, ShmTransport(name), num_buffers=2) as server,
        start(hold_a_slot, name, 1) as holder,
        ExitStack() as stack,
    ):
        holder.expect("holding")  # a slot of the first batch: no other producer sends yet
        holder.kill(signal.SIGSTOP)
        wait_until(lambda: process_state(holder.pid) == "T", "the holder is stopped")
        other = stack.enter_context(start(send_some, name, 2, 6))
        other.expect("sent")  # the ring has room for these: six beside the two of the holder
        with pytest.raises(TimeoutError):
            server.sample(timeout=1.0)
        with pytest.raises(TimeoutError):
            server.sample(timeout=1.0)  # and no second warning for the same slot
        held = {p.pid: p.held for p in server.producers()}
        holder.kill(signal.SIGCONT)
        holder.say("go on")
        holder.expect("committed")
        for child in (holder, other):
            child.say("close")
        for sample in server.dataset_iter(until="producers_closed", min_producers=2):
            audit.take(sample.batch)
    assert held == {holder.pid: 1, other.pid: 0}
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1, warnings
    assert f"the batch waits for one sample that pid {holder.pid} began" in warnings[0]
    audit.check({(1, 0): 2, (2, 0): 6})


def test_a_stopped_producer_that_is_killed_frees_the_batch_that_waited_for_it(name: str) -> None:
    audit = Audit()
    with (
        Server(example(), 4, ShmTransport(name), num_buffers=2) as server,
        start(hold_a_slot, name, 1) as holder,
        start(send_some, name, 2, 6) as other,
    ):
        holder.expect("holding")
        holder.kill(signal.SIGSTOP)
        other.expect("sent")
        holder.end()
        # Its slot was given up: the batch needs one more sample, and anybody may send it.
        with start(send_some, name, 3, 1) as third:
            sample = server.sample(timeout=WATCHDOG)
            assert sample is not None
            audit.take(sample.batch)
            for child in (third, other):
                child.say("close")
            for sample in server.dataset_iter(until="producers_closed", min_producers=3):
                audit.take(sample.batch)
    audit.check({(1, 0): 1, (2, 0): 6, (3, 0): 1})


@pytest.mark.parametrize("how", ["send", "send_batch", "reserve"])
def test_producers_that_are_stopped_and_continued_at_random_lose_no_sample(
    name: str, tmp_path: Path, how: str
) -> None:
    dice = random.Random(how)
    with (
        Server(example(), 8, ShmTransport(name), num_buffers=2) as server,
        auditing(server) as audit,
        kept_open(name),
        Fleet(name, tmp_path, how=how, size=2) as fleet,
    ):
        for _ in range(40):
            child = fleet.streaming(dice.randrange(2))
            time.sleep(dice.random() * 0.002)  # the point of it: any moment
            child.kill(signal.SIGSTOP)
            wait_until(lambda pid=child.pid: process_state(pid) == "T", "it stops")  # type: ignore[misc]
            time.sleep(dice.random() * 0.01)
            child.kill(signal.SIGCONT)
        fleet.stop()
    audit.check(fleet.sent())
