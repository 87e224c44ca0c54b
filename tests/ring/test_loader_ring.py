"""The ring of a loader, from the side of the training loop: announce, take, keep, cancel."""

from __future__ import annotations

import gc
import os
import random
import threading
from typing import Any

import numpy as np
import pytest

from shm_echo.errors import ProtocolError
from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import FailedRun, LoaderBatch, LoaderRing, LoaderSizes, loader_sender
from shm_echo.spec import TreeSpec
from tests.support.loader_rings import (
    SPEC,
    announce,
    attach,
    indices_of,
    loader_ring,
    make,
    make_all,
    poll,
    take,
)
from tests.support.waiting import WATCHDOG, wait_until

SIZES = LoaderSizes(batch_size=10, run_rows=4, num_buffers=3, max_workers=2)


def numbers(first: int, last: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(first, last, dtype=np.int64)


# ---------------------------------------------------------------- order


def test_batches_come_as_they_were_announced_whatever_the_order_of_the_commits() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        announce(ring, [range(9, -1, -1), range(20, 25), range(30, 40)])
        runs = [sender.claim_run(0) for _ in range(8)]
        assert [len(run) for run in runs] == [4, 4, 2, 4, 1, 4, 4, 2]
        assert [run.first_row for run in runs] == [0, 4, 8, 10, 14, 15, 19, 23]
        for run in reversed(runs[1:]):
            make(run)
            assert poll(ring) is None
        make(runs[0])
        batches = [take(ring) for _ in range(3)]
        assert [indices_of(batch) for batch in batches] == [
            list(range(9, -1, -1)),
            list(range(20, 25)),
            list(range(30, 40)),
        ]
        assert [(batch.first_row, batch.rows, batch.failed) for batch in batches] == [
            (0, 10, ()),
            (10, 5, ()),
            (15, 10, ()),
        ]


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 9, 10])
def test_a_short_batch_has_exactly_its_rows(rows: int) -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        for batch in range(7):
            announce(ring, [range(rows)], first_row=batch * rows)
            assert sum(make_all(sender), ()) == tuple(range(rows))
            assert indices_of(take(ring)) == list(range(rows))


@pytest.mark.parametrize("run_rows", [1, 2, 3, 7, 10, 16])
def test_every_index_comes_once_for_any_size_of_a_run(run_rows: int) -> None:
    sizes = LoaderSizes(10, run_rows, 3, 1)
    with loader_ring(sizes) as ring:
        _, sender = attach(ring)
        seen: list[int] = []
        for first in range(0, 95, 10):
            announce(ring, [range(first, min(95, first + 10))], first)
            made = make_all(sender)
            assert max(map(len, made)) <= run_rows
            seen += indices_of(take(ring))
        assert seen == list(range(95))


def test_a_worker_sees_epoch_and_row_of_its_run() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        assert ring.announce(2**40, 7, numbers(100, 106))
        first, second = sender.claim_run(0), sender.claim_run(0)
        assert (first.first_row, first.epoch, first.indices) == (2**40, 7, (100, 101, 102, 103))
        assert (second.first_row, second.epoch, second.indices) == (2**40 + 4, 7, (104, 105))


def test_the_gate_is_closed_until_a_batch_is_announced() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        with pytest.raises(TimeoutError, match="no run to make within 0 s"):
            sender.claim_run(0)


def test_no_more_batches_are_announced_than_there_are_buffers() -> None:
    with loader_ring(SIZES) as ring:
        announce(ring, [range(10)] * 3)
        assert not ring.announce(30, 0, numbers(0, 10))
        assert ring.stats()[:4] == (3, 0, 0, 0)


# ---------------------------------------------------------------- lifetime


def fill(ring: LoaderRing, sender: Any, first: int) -> LoaderBatch:
    announce(ring, [range(first, first + 10)], first)
    make_all(sender)
    return take(ring)


def test_a_kept_batch_is_never_written_again_and_one_buffer_always_circulates() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        kept = [fill(ring, sender, 10 * i) for i in range(20)]
        assert [indices_of(batch) for batch in kept] == [
            list(range(10 * i, 10 * i + 10)) for i in range(20)
        ]
        stats = ring.stats()
        assert (stats.held, stats.copied, stats.free_buffers) == (2, 18, 1)


def test_batches_that_are_dropped_at_once_are_never_copied() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        for i in range(30):
            fill(ring, sender, 10 * i)
        assert (ring.stats().held, ring.stats().copied) == (0, 0)


def test_one_array_of_a_batch_keeps_all_of_it() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        row = fill(ring, sender, 0).arrays[0][3, 1:]
        assert ring.stats().held == 1
        for i in range(1, 10):
            fill(ring, sender, 10 * i)
        assert (row == 3).all()
        del row
        assert ring.stats().held == 0


def test_the_loop_may_write_its_batches_unless_they_are_read_only() -> None:
    for writable in (True, False):
        with loader_ring(SIZES, writable=writable) as ring:
            _, sender = attach(ring)
            assert fill(ring, sender, 0).arrays[0].flags.writeable is writable


def test_with_reuse_the_memory_of_a_batch_is_used_from_the_next_take_on() -> None:
    with loader_ring(SIZES, reuse=True) as ring:
        _, sender = attach(ring)
        announce(ring, [range(10), range(10, 20), range(20, 30)])
        make_all(sender)
        first = take(ring)
        assert not ring.announce(30, 0, numbers(30, 40))
        assert indices_of(first) == list(range(10))
        second = take(ring)
        assert ring.announce(30, 0, numbers(30, 40))
        make_all(sender)
        assert indices_of(first) == list(range(30, 40))  # it is another batch's memory now
        assert indices_of(second) == list(range(10, 20))
        assert ring.stats().copied == 0


def test_memory_that_is_given_back_can_be_poisoned() -> None:
    with loader_ring(SIZES, reuse=True, poisoned=True) as ring:
        _, sender = attach(ring)
        stale = fill(ring, sender, 0)
        assert poll(ring) is None
        assert np.isnan(stale.arrays[0]).all()
        assert (stale.arrays[1] == -1).all()


def test_a_lease_that_ends_in_another_thread_wakes_a_loop_that_cannot_announce() -> None:
    with loader_ring(LoaderSizes(4, 2, 2, 1)) as ring:
        _, sender = attach(ring)
        announce(ring, [range(4)])
        make_all(sender)
        kept = [take(ring)]
        announce(ring, [range(4, 8)], 4)
        assert not ring.announce(8, 0, numbers(8, 12))
        handover = ring.handover()
        assert handover.begin(WATCHDOG)
        assert ring.ready_wait(0.0) == Result.TIMEOUT
        dropper = threading.Thread(target=kept.clear)
        dropper.start()
        wait_until(lambda: ring.ready_wait(0.1) == Result.WOKEN, "the lease wakes the loop")
        dropper.join()
        assert ring.announce(8, 0, numbers(8, 12))
        handover.confirm()


def test_batches_kept_and_dropped_in_random_order_by_another_thread_stay_whole() -> None:
    chance = random.Random(1)
    with loader_ring(LoaderSizes(6, 4, 4, 1)) as ring:
        _, sender = attach(ring)
        kept: list[tuple[int, LoaderBatch]] = []
        lock = threading.Lock()
        done = threading.Event()

        def drop() -> None:
            while not done.is_set():
                with lock:
                    if kept:
                        kept.pop(chance.randrange(len(kept)))

        dropper = threading.Thread(target=drop)
        dropper.start()
        for i in range(300):
            announce(ring, [range(6 * i, 6 * i + 6)], 6 * i)
            make_all(sender)
            batch = take(ring)
            with lock:
                kept.append((i, batch))
                del batch
                for number, other in kept:
                    assert indices_of(other) == list(range(6 * number, 6 * number + 6))
                del other
                del kept[:-5]
        done.set()
        dropper.join()


def test_batches_outlive_the_ring() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        batch = fill(ring, sender, 0)
    del ring, sender
    gc.collect()
    assert indices_of(batch) == list(range(10))


# ---------------------------------------------------------------- cancel


def test_nothing_of_a_cancelled_batch_comes_and_its_open_runs_are_waited_for() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        announce(ring, [range(10), range(10, 20), range(20, 30)])
        make(sender.claim_run(0))
        late = sender.claim_run(0)
        ring.cancel()
        assert poll(ring) is None
        assert make_all(sender) == []  # nothing of them is claimed any more
        assert not ring.announce(100, 1, numbers(100, 110))  # `late` holds the first one
        make(late)
        assert poll(ring) is None
        assert ring.stats().free_buffers == 3
        announce(ring, [range(100, 110), range(110, 120)], 100)
        make_all(sender)
        batches = [take(ring), take(ring)]
        assert [indices_of(batch) for batch in batches] == [
            list(range(100, 110)),
            list(range(110, 120)),
        ]


def test_cancel_drops_what_an_interrupted_take_put_back() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        announce(ring, [range(10)])
        make_all(sender)
        handover = ring.handover()
        assert handover.begin(WATCHDOG)
        assert ring.take(handover) is not None
        handover.put_back()
        ring.cancel()
        assert ring.stats()[2:5] == (0, 3, 0)
        assert poll(ring) is None
        announce(ring, [range(50, 60)], 50)
        make_all(sender)
        assert indices_of(take(ring)) == list(range(50, 60))


def test_three_hundred_cancelled_loops_leave_nothing_behind() -> None:
    chance = random.Random(2)
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        for _ in range(300):
            announce(ring, [range(chance.randint(1, 10)) for _ in range(3)])
            runs = [sender.claim_run(0) for _ in range(chance.randint(0, 3))]
            chance.shuffle(runs)
            middle = chance.randint(0, len(runs))
            for run in runs[:middle]:
                make(run)
            ring.cancel()
            for run in runs[middle:]:
                make(run) if chance.random() < 0.5 else run.abort()
            assert poll(ring) is None
            assert ring.stats().free_buffers == 3
        assert indices_of(fill(ring, sender, 5)) == list(range(5, 15))


# ---------------------------------------------------------------- looking at it


def test_the_straggler_is_the_first_row_that_is_not_finished() -> None:
    with loader_ring(SIZES) as ring:
        owner, sender = attach(ring)
        assert ring.straggler() is None
        announce(ring, [range(50, 60)], 200)
        late = ring.straggler()
        assert late is not None
        assert (late.row, late.index, late.owner) == (200, 50, None)
        make(sender.claim_run(0))
        run = sender.claim_run(0)
        run.at_row(2)
        late = ring.straggler()
        assert late is not None
        assert (late.row, late.index, late.owner) == (206, 56, owner)
        assert (ring.row_of(owner), ring.held_by(owner)) == (206, 1)
        run.at_row(None)
        assert ring.row_of(owner) is None
        assert [ring.index_of(row) for row in (199, 200, 209, 210)] == [None, 50, 59, None]
        run.abort()
        make_all(sender)
        assert ring.straggler() is None


def test_a_failed_run_is_named_by_row_and_status() -> None:
    with loader_ring(SIZES) as ring:
        _, sender = attach(ring)
        announce(ring, [range(10)], 30)
        make(sender.claim_run(0))
        for status in (2**32 - 1, 5):
            sender.claim_run(0).commit(status)
        assert take(ring).failed == (FailedRun(34, 4, 2**32 - 1), FailedRun(38, 2, 5))
        assert fill(ring, sender, 0).failed == ()


def test_the_rows_of_taken_batches_are_counted_by_worker() -> None:
    with loader_ring(SIZES) as ring:
        (first, one), (second, other) = attach(ring), attach(ring)
        announce(ring, [range(10)])
        make(one.claim_run(0))
        make_all(other)
        assert ring.delivered(first) == ring.delivered(second) == 0
        take(ring)
        assert (ring.delivered(first), ring.delivered(second)) == (4, 6)


# ---------------------------------------------------------------- sizes and bad input


def test_the_size_is_known_before_the_ring_is_made() -> None:
    with loader_ring(SIZES) as ring:
        assert LoaderRing.bytes_needed(SPEC, SIZES) == ring.nbytes


@pytest.mark.parametrize("name", ["batch_size", "run_rows", "num_buffers", "max_workers"])
def test_sizes_must_be_positive(name: str) -> None:
    sizes = LoaderSizes(**{**vars(SIZES), name: 0})
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        LoaderRing.create(SPEC, sizes)


@pytest.mark.parametrize("rows", [0, 11])
def test_a_batch_has_one_row_at_least_and_batch_size_at_most(rows: int) -> None:
    with loader_ring(SIZES) as ring:
        with pytest.raises(ValueError, match=f"a batch has 1 to 10 rows, not {rows}"):
            ring.announce(0, 0, numbers(0, rows))
        assert ring.stats().announced == 0


def test_indices_are_int64() -> None:
    with loader_ring(SIZES) as ring, pytest.raises(ValueError, match="int64, not int32"):
        ring.announce(0, 0, np.arange(10, dtype=np.int32))  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [{"run_rows": 5}, {"batch_size": 20}, {"num_buffers": 2}])
def test_both_sides_must_agree_on_the_sizes(changed: dict[str, int]) -> None:
    with loader_ring(LoaderSizes(30, 4, 3, 2)) as ring:
        sizes = LoaderSizes(**{**vars(ring.sizes), **changed})
        with pytest.raises((ProtocolError, ValueError)):
            loader_sender(SPEC, sizes, os.dup(ring.fileno()), 1)


def test_both_sides_must_agree_on_the_item() -> None:
    other = TreeSpec.from_example({"image": np.zeros((3, 5), np.float32), "label": np.uint64(0)})
    with loader_ring(SIZES) as ring, pytest.raises(ProtocolError, match="another example"):
        loader_sender(other, SIZES, os.dup(ring.fileno()), 1)


def test_a_closed_ring_ends_every_wait() -> None:
    with loader_ring(SIZES) as ring:
        ring.close()
        assert ring.closed
        handover = ring.handover()
        assert handover.begin(WATCHDOG)
        assert Result.CLOSED in (ring.ready_wait(0.1), ring.ready_wait(0.1))
        handover.confirm()
