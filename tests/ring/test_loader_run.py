"""A run of a loader's ring, from the side of a worker: write, commit, give back."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import optree
import pytest

from shm_echo.errors import (
    ConnectionClosedError,
    ForkedHandleError,
    RingCorruptedError,
    SpecMismatchError,
)
from shm_echo.ring._core_cpython import Run, Sender
from shm_echo.ring.core import ffi, lib
from shm_echo.ring.loader_ring import LoaderRing, LoaderSizes, loader_sender
from shm_echo.ring.ring import Ring, RingConfig
from shm_echo.spec import TreeSpec
from tests.support.loader_rings import (
    ITEM,
    SPEC,
    admit,
    announce,
    attach,
    indices_of,
    item,
    loader_ring,
    make,
    make_all,
    take,
)
from tests.support.slots import Box
from tests.support.waiting import wait_until

SIZES = LoaderSizes(batch_size=8, run_rows=4, num_buffers=3, max_workers=3)


@pytest.fixture
def ring() -> Iterator[LoaderRing]:
    with loader_ring(SIZES) as ring:
        yield ring


@pytest.fixture
def sender(ring: LoaderRing) -> Sender:
    return attach(ring)[1]


@pytest.fixture
def run(ring: LoaderRing, sender: Sender) -> Run:
    announce(ring, [range(8)])
    return sender.claim_run(0)


def finish(ring: LoaderRing, sender: Sender) -> list[int]:
    make_all(sender)
    return indices_of(take(ring))


# ---------------------------------------------------------------- writing


def test_views_tree_and_rows_are_the_same_memory(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(7)])
    sender.claim_run(0).commit()
    run = sender.claim_run(0)
    assert len(run) == 3
    assert [view.shape for view in run.views] == [(3, 3, 5), (3,)]
    assert run.tree is run.tree
    run.tree["label"][:] = run.indices
    for row, index in enumerate(run.indices):
        run.row(row)["image"][:] = index
    assert run.views[0][:, 0, 0].tolist() == [4, 5, 6]
    run.commit()
    batch = take(ring)
    assert batch.arrays[1].tolist()[4:] == [4, 5, 6]
    assert (batch.arrays[0][4:] == np.array([4, 5, 6])[:, None, None]).all()


def test_the_arrays_are_read_only_after_the_end(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(8)])
    for end in (Run.commit, Run.abort):
        run = sender.claim_run(0)
        views = run.views
        assert all(view.flags.writeable for view in views)
        end(run)
        assert not any(view.flags.writeable for view in views)
        assert not run.is_open


@pytest.mark.parametrize(
    "image",
    [
        np.full((3, 5), 3, np.float32),
        np.full((5, 3), 3, np.float32).T,
        np.full((6, 10), 3, np.float32)[::2, ::2],
        np.broadcast_to(np.float32(3), (3, 5)),
        np.full((3, 5), 3, np.float32)[:, ::-1],
    ],
    ids=["contiguous", "transposed", "strided", "broadcast", "reversed"],
)
@pytest.mark.parametrize("label", [3, np.int64(3), np.array(3), np.int32(3), True + 2])
def test_an_item_is_written_as_send_does(
    ring: LoaderRing, sender: Sender, run: Run, image: Any, label: Any
) -> None:
    for row in range(4):
        run.write(row, item(row) if row != 3 else {"image": image, "label": label})
    run.commit()
    assert finish(ring, sender) == list(range(8))


def test_casts_of_the_same_kind_are_allowed_where_asked_for(ring: LoaderRing) -> None:
    owner = admit(ring)
    fd = os.dup(ring.fileno())
    announce(ring, [range(4)])
    run = loader_sender(ring.spec, SIZES, fd, owner, same_kind=True).claim_run(0)
    for row in range(4):
        run.write(row, {"image": np.full((3, 5), row, np.float64), "label": np.int8(row)})
    run.commit()
    assert indices_of(take(ring)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"image": np.zeros((3, 4), np.float32), "label": 0}, "image"),
        ({"image": np.zeros((3, 5), np.float64), "label": 0}, "image"),
        ({"image": np.zeros((3, 5), np.float32), "label": "no"}, "label"),
        ({"image": np.zeros((3, 5), np.float32)}, "label"),
    ],
)
def test_an_item_that_does_not_fit_is_refused_by_path_and_the_run_goes_on(
    ring: LoaderRing, sender: Sender, run: Run, wrong: Any, path: str
) -> None:
    with pytest.raises(SpecMismatchError, match=path):
        run.write(1, wrong)
    make(run)
    assert finish(ring, sender) == list(range(8))


@pytest.mark.parametrize("row", [-1, 4, 2**70])
def test_a_row_that_the_run_does_not_have_is_refused(run: Run, row: int) -> None:
    for call in (lambda: run.write(row, ITEM), lambda: run.row(row), lambda: run.at_row(row)):
        with pytest.raises(IndexError):
            call()
    assert run.is_open


@pytest.mark.parametrize("row", [1.0, "1", None])
def test_a_row_is_an_integer(run: Run, row: Any) -> None:
    with pytest.raises(TypeError):
        run.write(row, ITEM)


def test_the_number_of_arguments_is_checked(run: Run) -> None:
    with pytest.raises(TypeError, match="write takes"):
        run.write(0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="commit takes"):
        run.commit(0, 0)  # type: ignore[call-arg]
    for status in (-1, 2**32, 2**64):
        with pytest.raises(OverflowError):
            run.commit(status)
    assert run.is_open


def test_an_item_may_lie_in_the_run_itself(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(4)])
    run = sender.claim_run(0)
    run.write(0, item(7))
    run.write(0, run.row(0))
    run.write(1, run.row(0))
    for row in (2, 3):
        run.write(row, run.row(0))
    run.commit()
    assert indices_of(take(ring)) == [7] * 4


def test_leaves_that_swap_their_places_keep_their_content() -> None:
    spec = TreeSpec.from_example((np.zeros(4, np.int32), np.zeros(4, np.int32)))
    ring = LoaderRing.create(spec, LoaderSizes(2, 2, 2, 1))
    owner = admit(ring)
    sender = loader_sender(spec, ring.sizes, os.dup(ring.fileno()), owner)
    announce(ring, [range(2)])
    run = sender.claim_run(0)
    for row in range(2):
        run.write(row, (np.full(4, row, np.int32), np.full(4, 9, np.int32)))
        a, b = run.row(row)
        run.write(row, (b, a))
    run.commit()
    first, second = take(ring).arrays
    assert (first == 9).all()
    assert second[:, 0].tolist() == [0, 1]
    ring.close()


def test_large_items_are_copied_without_the_interpreter_lock() -> None:
    spec = TreeSpec.from_example(np.zeros(50_000, np.float32))
    ring = LoaderRing.create(spec, LoaderSizes(4, 2, 2, 1))
    owner = admit(ring)
    sender = loader_sender(spec, ring.sizes, os.dup(ring.fileno()), owner)
    announce(ring, [range(4)])
    for _ in range(2):
        run = sender.claim_run(0)
        for row, index in enumerate(run.indices):
            run.write(row, np.full(50_000, index, np.float32))
        run.commit()
    (array,) = take(ring).arrays
    assert (array == np.arange(4)[:, None]).all()
    ring.close()


# ---------------------------------------------------------------- the end of a run


def test_a_closed_run_is_not_written(ring: LoaderRing, run: Run) -> None:
    run.commit()
    for call in (
        lambda: run.write(0, ITEM),
        lambda: run.row(0),
        lambda: run.at_row(0),
        run.commit,
    ):
        with pytest.raises(ConnectionClosedError, match="this run was committed or given back"):
            call()
    run.abort()  # without effect
    assert ring.stats().announced == 1


def test_a_run_that_is_aborted_is_made_by_another_worker(ring: LoaderRing, run: Run) -> None:
    _, other = attach(ring)
    run.write(0, item(99))
    run.abort()
    assert sorted(make_all(other)) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert indices_of(take(ring)) == list(range(8))


def test_a_run_that_dies_is_given_back(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(8)])
    for _ in range(50):
        sender.claim_run(0)
    cyclic: list[Any] = [sender.claim_run(0)]
    cyclic.append(cyclic)
    del cyclic
    gc.collect()
    assert sender.reserved == 0
    assert finish(ring, sender) == list(range(8))


def test_a_worker_may_hold_several_runs(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(8), range(8)])
    runs = [sender.claim_run(0) for _ in range(4)]
    assert sender.reserved == 4
    for run in reversed(runs):
        make(run)
    assert [indices_of(take(ring)) for _ in range(2)] == [list(range(8))] * 2


def test_code_of_the_item_may_end_the_run() -> None:
    spec = TreeSpec.from_example(Box(np.zeros(2), np.zeros(2)))
    ring = LoaderRing.create(spec, LoaderSizes(2, 2, 2, 1))
    owner = admit(ring)
    sender = loader_sender(spec, ring.sizes, os.dup(ring.fileno()), owner)
    announce(ring, [range(2)])
    run = sender.claim_run(0)
    Box.on_flatten = run.abort
    try:
        with pytest.raises(ConnectionClosedError):
            run.write(0, Box(np.zeros(2), np.zeros(2)))
    finally:
        Box.on_flatten = None
    assert not run.is_open
    ring.close()


def test_a_dead_worker_gives_its_runs_back_and_its_row_is_known(ring: LoaderRing) -> None:
    owner, sender = attach(ring)
    announce(ring, [range(100, 108)], 40)
    run = sender.claim_run(0)
    run.write(0, item(1))
    run.at_row(1)
    assert (ring.row_of(owner), ring.index_of(41), ring.held_by(owner)) == (41, 101, 1)
    assert ring.recover(owner) == 1
    assert (ring.row_of(owner), ring.held_by(owner)) == (41, 0)
    with pytest.raises(ConnectionClosedError, match="has revoked"):
        sender.claim_run(0)
    with pytest.raises(ConnectionClosedError, match="to another"):
        run.commit()
    _, other = attach(ring)
    assert sorted(make_all(other)) == [(100, 101, 102, 103), (104, 105, 106, 107)]
    assert indices_of(take(ring)) == list(range(100, 108))


def test_a_run_cannot_end_while_another_thread_copies_into_it() -> None:
    spec = TreeSpec.from_example(np.zeros(8_000_000, np.uint8))
    ring = LoaderRing.create(spec, LoaderSizes(1, 1, 2, 1))
    owner = admit(ring)
    sender = loader_sender(spec, ring.sizes, os.dup(ring.fileno()), owner)
    announce(ring, [range(1)])
    zeros = np.zeros(8_000_000, np.uint8)

    def refused_while_copying() -> bool:
        run = sender.claim_run(0)
        begun = threading.Event()

        def write() -> None:
            begun.set()
            with contextlib.suppress(ConnectionClosedError):  # the abort came first
                run.write(0, zeros)

        thread = threading.Thread(target=write)
        thread.start()
        begun.wait()
        try:
            run.abort()
        except RuntimeError as error:
            assert str(error) == "another thread is writing into this run"
            return run.is_open
        finally:
            thread.join()
        return False

    wait_until(refused_while_copying, "an abort meets a copy")
    ring.close()


def test_an_order_entry_that_was_overwritten_is_reported(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(8)])
    order = ffi.cast("she_run *", lib.she_loader_run(ring._ring.pointer, 0))
    order.count = 5
    with pytest.raises(RingCorruptedError, match="slot 0 of the loader's ring"):
        sender.claim_run(0)


def test_a_watch_may_end_a_claim(ring: LoaderRing) -> None:
    class StopError(Exception):
        pass

    def watch() -> None:
        raise StopError

    owner = admit(ring)
    sender = loader_sender(ring.spec, SIZES, os.dup(ring.fileno()), owner, watch=watch)
    with pytest.raises(StopError):
        sender.claim_run(None)


def test_a_claim_waits_for_an_announcement(ring: LoaderRing, sender: Sender) -> None:
    claimed: list[Run] = []
    waiting = threading.Event()

    def claim() -> None:
        waiting.set()
        claimed.append(sender.claim_run(60))

    thread = threading.Thread(target=claim)
    thread.start()
    waiting.wait()
    announce(ring, [range(4)])
    thread.join()
    assert claimed[0].indices == (0, 1, 2, 3)


def test_a_claim_ends_with_its_time_out(sender: Sender) -> None:
    with pytest.raises(TimeoutError, match=r"no run to make within 0\.01 s"):
        sender.claim_run(0.01)


def test_a_claim_ends_when_the_ring_closes(ring: LoaderRing, sender: Sender) -> None:
    ring.close()
    with pytest.raises(ConnectionClosedError, match="has closed its ring"):
        sender.claim_run(None)


def test_a_signal_handler_ends_a_claim(sender: Sender) -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            sender.claim_run(None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sender.busy == 0


# ---------------------------------------------------------------- forks and copies


def in_child(check: Any) -> None:
    """Run a check in a child of a fork that ends as a Python process does."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException:
            os._exit(1)
        gc.collect()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_of_a_fork_cannot_touch_the_run_of_its_parent(
    ring: LoaderRing, sender: Sender, run: Run
) -> None:
    holder = [run]

    def check() -> None:
        for call in (
            lambda: holder[0].write(0, ITEM),
            lambda: holder[0].row(0),
            holder[0].commit,
            lambda: sender.claim_run(0),
        ):
            with pytest.raises(ForkedHandleError):
                call()
        assert not holder[0].views[0].flags.writeable
        assert not holder[0].is_open
        holder[0].abort()
        holder.clear()

    in_child(check)
    make(run)
    assert finish(ring, sender) == list(range(8))


def test_a_run_that_dies_in_a_child_of_a_fork_stays_the_parents(
    ring: LoaderRing, sender: Sender, run: Run
) -> None:
    holder = [run]
    del run
    in_child(holder.clear)
    make(holder[0])
    assert finish(ring, sender) == list(range(8))


def test_a_batch_that_dies_in_a_child_of_a_fork_stays_the_parents(
    ring: LoaderRing, sender: Sender
) -> None:
    announce(ring, [range(8)])
    make_all(sender)
    kept = [take(ring)]
    in_child(kept.clear)
    assert ring.stats().held == 1
    announce(ring, [range(8, 16), range(16, 24)], 8)
    make_all(sender)
    assert indices_of(kept[0]) == list(range(8))


def test_a_run_is_neither_copied_nor_pickled_nor_made(run: Run) -> None:
    for copies in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            copies(run)
    with pytest.raises(TypeError, match="cannot create"):
        Run()


def test_its_repr_says_rows_and_state(run: Run) -> None:
    assert repr(run) == "<Run of 4 rows from 0, open>"
    run.abort()
    assert repr(run) == "<Run of 4 rows from 0, closed>"


# ---------------------------------------------------------------- the other kind of ring


def test_a_loaders_ring_takes_no_single_samples(ring: LoaderRing, sender: Sender) -> None:
    announce(ring, [range(8)])
    stacked = optree.tree_map(lambda leaf: np.stack([leaf]), ITEM)
    for call in (
        lambda: sender.send(ITEM),
        lambda: sender.send_batch(stacked),
        lambda: sender.reserve(0),
        lambda: sender.wait(0),
    ):
        with pytest.raises(TypeError, match="a loader's ring"):
            call()
    assert finish(ring, sender) == list(range(8))


def test_the_ring_of_a_server_has_no_runs() -> None:
    ring = Ring.create(SPEC, RingConfig(4, 2, 1, False), "private")
    sender = ring.sender(1, lambda *_: None)
    with pytest.raises(TypeError, match="single samples"):
        sender.claim_run(0)
