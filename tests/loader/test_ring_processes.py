"""The ring of a loader with real worker processes: deaths, stops, order, kept batches."""

from __future__ import annotations

import os
import random
import signal
from collections import deque

import numpy as np

from shm_echo.ring.core import Result
from shm_echo.ring.loader_ring import LoaderBatch, LoaderRing, LoaderSizes
from tests.support.loader_rings import (
    WorkerProcesses,
    admit,
    announce,
    indices_of,
    loader_ring,
    poll,
    take,
    work,
)
from tests.support.processes import Child, start
from tests.support.waiting import WATCHDOG, stop, wait_until

SIZES = LoaderSizes(batch_size=10, run_rows=4, num_buffers=3, max_workers=4)


def batches_of(rows: int, batch_size: int) -> list[range]:
    return [range(first, min(rows, first + batch_size)) for first in range(0, rows, batch_size)]


class Loop:
    """A training loop: announces as long as a buffer is free, and takes in order."""

    def __init__(self, ring: LoaderRing, batches: list[range]) -> None:
        self.ring = ring
        self.todo = deque(batches)
        self.next_row = 0

    def announce(self) -> None:
        """Announce batches as long as a buffer is free."""
        while self.todo:
            batch = self.todo[0]
            if not self.ring.announce(self.next_row, 0, np.array(batch, np.int64)):
                return
            self.todo.popleft()
            self.next_row += len(batch)

    def next(self) -> LoaderBatch:
        """Return the next batch; whenever it is woken, a buffer may have become free."""
        handover = self.ring.handover()
        assert handover.begin(WATCHDOG)

        def look() -> LoaderBatch | None:
            self.announce()
            assert self.ring.ready_wait(0.1) != Result.CLOSED
            return self.ring.take(handover)

        batch = wait_until(look, "the next batch is complete")
        self.announce()
        handover.confirm()
        return batch


def test_the_rows_of_a_worker_that_dies_between_claim_and_commit_are_made_again() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        victim = workers.hire(hold=True)
        announce(ring, [range(10), range(10, 20)])
        workers.children[victim].expect((0, 1, 2, 3))
        assert (ring.row_of(victim), ring.held_by(victim)) == (2, 1)
        workers.hire()
        wait_until(lambda: ring.stats().ready == 1, "the other worker has made all other rows")
        assert poll(ring) is None
        late = ring.straggler()
        assert late is not None
        assert (late.index, late.owner) == (2, victim)
        workers.kill(victim)
        assert ring.row_of(victim) == 2  # until its id has a new owner
        assert [indices_of(take(ring)) for _ in range(2)] == [list(range(10)), list(range(10, 20))]


def test_the_last_short_run_of_an_epoch_survives_its_worker() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        for _ in range(3):
            victim = workers.hire(hold=True)
            announce(ring, [range(3)])
            workers.children[victim].expect((0, 1, 2))
            workers.kill(victim)
            maker = workers.hire()
            batch = take(ring)
            assert (indices_of(batch), batch.rows) == ([0, 1, 2], 3)
            workers.kill(maker)


def test_a_stopped_worker_holds_its_batch_up_until_it_is_killed() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        victim = workers.hire(hold=True)
        announce(ring, [range(10)])
        workers.children[victim].hear()
        stop(workers.children[victim].pid)
        workers.hire()
        assert poll(ring) is None
        workers.kill(victim)
        assert indices_of(take(ring)) == list(range(10))


def test_every_index_comes_in_order_while_workers_are_killed_at_random_moments() -> None:
    chance = random.Random(3)
    rows = 1203
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        workers.hire()
        workers.hire()
        loop = Loop(ring, batches_of(rows, 10))
        seen: list[int] = []
        kept: deque[tuple[int, LoaderBatch]] = deque(maxlen=4)
        while len(seen) < rows:
            loop.announce()
            if chance.random() < 0.25:
                workers.kill(chance.choice(list(workers.children)))
                workers.hire()
            batch = loop.next()
            assert batch.first_row == len(seen)
            if chance.random() < 0.5:
                kept.append((len(seen), batch))
            seen += indices_of(batch)
            for first, other in kept:
                assert indices_of(other) == list(range(first, first + other.rows))
        assert seen == list(range(rows))


def test_all_workers_may_die_at_once() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        loop = Loop(ring, batches_of(105, 10))
        seen: list[int] = []
        for _ in range(3):
            victims = [workers.hire(hold=True) for _ in range(3)]
            loop.announce()
            for victim in victims:
                workers.children[victim].hear()
            for victim in victims:
                workers.children[victim].kill()
            for victim in victims:
                workers.kill(victim)
            maker = workers.hire()
            for _ in range(3):
                seen += indices_of(loop.next())
            workers.kill(maker)
        workers.hire()
        while len(seen) < 105:
            seen += indices_of(loop.next())
        assert seen == list(range(105))


def test_kept_batches_are_never_overwritten_and_copies_are_counted() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        workers.hire()
        workers.hire()
        loop = Loop(ring, batches_of(400, 10))
        kept = [loop.next() for _ in range(40)]
        assert [index for batch in kept for index in indices_of(batch)] == list(range(400))
        assert (ring.stats().held, ring.stats().copied) == (2, 38)


def test_a_cancelled_loop_waits_for_nobody_but_the_open_claims() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        victim = workers.hire(hold=True)
        announce(ring, [range(10)] * 3)
        workers.children[victim].hear()
        ring.cancel()
        workers.hire()
        announce_when_free = Loop(ring, batches_of(50, 10))
        assert poll(ring) is None
        announce_when_free.announce()
        workers.kill(victim)
        seen: list[int] = []
        for _ in range(5):
            seen += indices_of(announce_when_free.next())
        assert seen == list(range(50))


def test_workers_end_when_the_ring_closes() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        workers.hire()
        ring.close()
        (child,) = workers.children.values()
        child.expect("the loader has closed its ring")
        assert child.wait() == 0


def trainer_of_a_worker(pipe: object) -> None:
    signal.pause()


def test_a_worker_ends_when_the_process_of_the_loop_has_ended() -> None:
    with loader_ring(SIZES) as ring, start(trainer_of_a_worker) as trainer:
        owner = admit(ring)
        fd = os.dup(ring.fileno())
        worker: Child = start(work, SIZES, fd, owner, False, trainer.pid)
        os.close(fd)
        with worker:
            worker.expect("attached")
            trainer.kill()
            worker.expect("the process of the training loop has ended")
            assert worker.wait() == 0


def test_a_loop_that_sleeps_is_woken_by_the_commit_of_another_process() -> None:
    with loader_ring(SIZES) as ring, WorkerProcesses(ring) as workers:
        workers.hire()
        for batch in range(20):
            handover = ring.handover()
            assert handover.begin(WATCHDOG)
            announce(ring, [range(10)], 10 * batch)
            wait_until(lambda: ring.ready_wait(0.1) == 0, "the batch is complete")
            handover.confirm()
            assert indices_of(take(ring)) == list(range(10))
