"""A batch of a loader's ring that is interrupted on its way to the caller is not lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from shm_echo.ring.loader_ring import FailedRun, LoaderBatch, LoaderRing, LoaderSizes
from tests.support.loader_rings import (
    announce,
    attach,
    indices_of,
    loader_ring,
    make,
    make_all,
    poll,
    take,
)
from tests.support.waiting import WATCHDOG


def after_take(ring: LoaderRing) -> None:
    handover = ring.handover()
    assert handover.begin(WATCHDOG)
    assert ring.take(handover) is not None
    handover.put_back()


def after_confirm(ring: LoaderRing) -> None:
    handover = ring.handover()
    assert handover.begin(WATCHDOG)
    assert ring.take(handover) is not None
    handover.confirm()
    handover.put_back()


def without_a_word(ring: LoaderRing) -> None:
    handover = ring.handover()
    assert handover.begin(WATCHDOG)
    assert ring.take(handover) is not None


@pytest.mark.parametrize("interrupt", [after_take, after_confirm, without_a_word])
@pytest.mark.parametrize("keep", [False, True], ids=["lent", "copied"])
def test_an_interrupted_take_loses_nothing(
    interrupt: Callable[[LoaderRing], None], keep: bool
) -> None:
    with loader_ring(LoaderSizes(4, 2, 2, 1)) as ring:
        _, sender = attach(ring)
        announce(ring, [range(4), range(4, 8)])
        make_all(sender)
        kept = take(ring) if keep else None
        first_run = 4 if keep else 0
        interrupt(ring)
        batch = take(ring)
        assert indices_of(batch) == list(range(first_run, first_run + 4))
        assert batch.first_row == first_run
        assert (kept is not None) == bool(ring.stats().copied)


def test_an_interrupted_take_keeps_the_runs_that_failed() -> None:
    with loader_ring(LoaderSizes(4, 2, 2, 1)) as ring:
        _, sender = attach(ring)
        kept = []
        for batch in range(2):
            announce(ring, [range(4)], 4 * batch)
            make(sender.claim_run(0))
            sender.claim_run(0).commit(9)
            after_take(ring)
            announce(ring, [range(4)], 90)  # the other buffer, or that of the copy
            make_all(sender)
            kept.append(take(ring))
            assert kept[-1].failed == (FailedRun(4 * batch + 2, 2, 9),)
            take(ring)


def next_batch(ring: LoaderRing) -> LoaderBatch:
    handover = ring.handover()
    try:
        handover.begin(WATCHDOG)
        batch = ring.take(handover)
        assert batch is not None
        handover.confirm()
        return batch
    except BaseException:
        handover.put_back()
        raise


def interrupted_at(line: int, ring: LoaderRing) -> bool:
    """Raise at the given line event of `next_batch`; return False if it has fewer."""
    left = line

    def trace(frame: Any, event: str, _arg: object) -> Any:
        nonlocal left
        if event == "line":
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
            left -= 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        next_batch(ring)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_line_loses_no_batch_and_repeats_none() -> None:
    with loader_ring(LoaderSizes(4, 2, 3, 1)) as ring:
        _, sender = attach(ring)
        line = 0
        announce(ring, [range(4)])
        make_all(sender)
        while interrupted_at(line, ring):
            assert indices_of(next_batch(ring)) == list(range(4 * line, 4 * line + 4))
            assert poll(ring) is None
            line += 1
            announce(ring, [range(4 * line, 4 * line + 4)], 4 * line)
            make_all(sender)
        assert line > 8  # of this function, and of LoaderRing.take


def test_a_batch_that_is_dropped_does_not_come_again() -> None:
    with loader_ring(LoaderSizes(4, 2, 2, 1)) as ring:
        _, sender = attach(ring)
        announce(ring, [range(4), range(4, 8)])
        make_all(sender)
        handover = ring.handover()
        assert handover.begin(WATCHDOG)
        assert ring.take(handover) is not None
        handover.drop()
        handover.put_back()
        assert ring.stats().free_buffers == 1
        assert indices_of(take(ring)) == list(range(4, 8))
