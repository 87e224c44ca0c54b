"""Server(lease="copy"), the default: lent while a buffer stays with the producers, else copied.

A batch that is still referred to is never overwritten, and keeping batches is never an error.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from shm_echo import Sample, SampleInfo, Server, ShmClient, ShmTransport
from tests.support.lease_batches import address, root, submit, take
from tests.support.numbered import EXAMPLE, numbered, numbers_of, stacked
from tests.support.threads import Worker

# ---------------------------------------------------------------- the promise


@pytest.mark.parametrize("buffers", [2, 3, 5])
def test_kept_batches_are_never_overwritten_and_never_an_error(buffers: int) -> None:
    with Server(EXAMPLE, 2, num_buffers=buffers) as server:
        kept = [take(server, 2 * i, 2 * i + 1) for i in range(40)]
        for i, sample in enumerate(kept):
            assert numbers_of(sample.batch) == [2 * i, 2 * i + 1]
        lent = [sample for sample in kept if sample.info.copied_total == 0]
        assert len(lent) == buffers - 1 == kept[-1].info.lent
        assert kept[-1].info.copied_total == 40 - len(lent)


def test_the_producers_always_have_a_buffer_to_fill() -> None:
    with Server(EXAMPLE, 2, num_buffers=3) as server:
        kept = [take(server, i, i) for i in range(3)]
        submit(server, 7, 8)  # no sample() in between: the copy has freed the third buffer
        assert [numbers_of(sample.batch) for sample in kept] == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(("buffers", "copied"), [(2, 50), (3, 0), (4, 0)])
def test_the_ordinary_loop_copies_with_two_buffers_every_other_batch_and_else_none(
    buffers: int, copied: int
) -> None:
    with Server(EXAMPLE, 1, num_buffers=buffers) as server:
        for i in range(100):
            submit(server, i)
            sample = server.sample()  # while `sample` still holds the batch before
            assert sample is not None
            assert numbers_of(sample.batch) == [i]
        assert sample.info.copied_total == copied


def test_a_loop_that_drops_its_batches_copies_nothing() -> None:
    with Server(EXAMPLE, 1, num_buffers=2) as server:
        for i in range(100):
            assert take(server, i).info.copied_total == 0


def test_a_buffer_is_lent_again_as_soon_as_its_batch_is_dropped() -> None:
    with Server(EXAMPLE, 1, num_buffers=3) as server:
        kept = [take(server, i) for i in range(4)]
        assert [sample.info.lent for sample in kept] == [1, 2, 2, 2]
        del kept[0]
        assert take(server, 9).info[-2:] == (2, 2)


def test_all_batches_come_once_and_in_order_however_many_are_kept() -> None:
    dice = np.random.default_rng(3)
    with Server(EXAMPLE, 2, num_buffers=3) as server:
        kept: dict[int, Sample] = {}
        for i in range(600):
            kept[i] = take(server, i, i)
            for gone in [n for n in kept if dice.random() < 0.3]:
                del kept[gone]
            for n, sample in kept.items():
                assert numbers_of(sample.batch) == [n, n]


# ---------------------------------------------------------------- readers that alias a batch


class AliasingLibrary:
    """Computes later, on memory that it does not copy, and drops references only in a collection.

    That is how jax.jit treats NumPy arguments.
    """

    def __init__(self) -> None:
        self._waiting: list[memoryview] = []
        self._done: list[memoryview] = []
        self._total = 0.0

    def update(self, array: Any) -> None:
        self._waiting.append(memoryview(array))
        if len(self._waiting) > 7:
            self.total()

    def total(self) -> float:
        for view in self._waiting:
            self._total += float(np.asarray(view).sum())
        self._done += self._waiting
        self._waiting = []
        return self._total

    def collect(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self.total()
            self._done.clear()


@pytest.fixture
def library() -> Iterator[AliasingLibrary]:
    library = AliasingLibrary()
    gc.callbacks.append(library.collect)
    yield library
    gc.callbacks.remove(library.collect)


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class ThreadedReader:
    """A thread that reads the batches that it keeps, when the loop has moved on."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def update(self, array: Any) -> None:
        self._kept.append(array[::-1])

    def finish(self) -> float:
        worker = Worker(lambda: sum(float(array.sum()) for array in self._kept))
        return float(worker.result())


class MemoryviewReader(ThreadedReader):
    def update(self, array: Any) -> None:
        self._kept.append(np.frombuffer(memoryview(array), np.float32))


class DLPackReader(ThreadedReader):
    """A foreign tensor over the same memory, as torch.from_numpy and torch.from_dlpack make it."""

    def update(self, array: Any) -> None:
        self._kept.append(np.from_dlpack(array))


READERS: dict[str, Callable[[], Any]] = {
    "a thread that keeps a view": ThreadedReader,
    "a memoryview": MemoryviewReader,
    "another owner by DLPack": DLPackReader,
}


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
@pytest.mark.parametrize("buffers", [2, 3])
def test_a_reader_that_lags_behind_sees_what_was_sent(
    make: Callable[[], Any], buffers: int
) -> None:
    reader = make()
    with Server(EXAMPLE, 2, num_buffers=buffers, writable=True) as server:
        for i in range(60):
            reader.update(take(server, i, i).batch["x"])
        assert reader.finish() == sum(2 * 3 * i for i in range(60))


@pytest.mark.parametrize("lease", ["copy", True])
@pytest.mark.usefixtures("no_automatic_collection")
def test_a_library_that_drops_references_only_in_a_collection_computes_the_right_total(
    name: str, library: AliasingLibrary, lease: Any
) -> None:
    def send() -> None:
        with ShmClient(name, EXAMPLE) as client:
            for i in range(200):
                client.send(numbered(i))

    with Server(EXAMPLE, 2, ShmTransport(name), num_buffers=3, lease=lease) as server:
        producer = Worker(send)
        for _ in range(100):
            sample = server.sample(timeout=60)
            assert sample is not None
            library.update(sample.batch["x"])
        producer.result()
        assert library.total() == 3 * sum(range(200))
        assert (sample.info.copied_total > 0) == (lease == "copy")


def test_tasks_of_asyncio_may_keep_batches_across_an_await() -> None:
    async def read(batch: Any, go_on: asyncio.Event) -> list[int]:
        await go_on.wait()
        return numbers_of(batch)

    async def main() -> list[list[int]]:
        go_on = asyncio.Event()
        with Server(EXAMPLE, 2, num_buffers=3) as server:
            tasks = [
                asyncio.create_task(read(take(server, i, i + 1).batch, go_on)) for i in range(20)
            ]
            await asyncio.sleep(0)
            go_on.set()
            return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [[i, i + 1] for i in range(20)]


# ---------------------------------------------------------------- what a copy looks like

KINDS: dict[str, Any] = {
    "z": np.zeros((2, 3), np.float32),
    "a": [np.int8(0), np.zeros(3, ">i4"), (np.zeros((0, 4)),)],
    "when": np.datetime64(0, "s"),
    "text": np.zeros(2, "U3"),
    "record": np.zeros(1, [("id", "i1"), ("pos", "f8", (2,))]),
    "long": np.zeros(3, np.longdouble),
}


def leaves(tree: Any) -> list[Any]:
    import optree

    found: list[Any] = optree.tree_leaves(tree)
    return found


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("rows", [3, 2])
def test_a_copy_has_the_flags_dtypes_strides_and_order_of_a_lent_batch(
    writable: bool, rows: int
) -> None:
    import optree

    with Server(KINDS, 3, num_buffers=2, writable=writable) as server:
        batches = []
        for _ in range(2):
            for _ in range(rows):
                server.submit(KINDS)
            sample = server.flush()
            assert sample is not None
            batches.append(sample.batch)
        assert sample.info.copied_total == 1
    lent, copied = batches
    assert optree.tree_structure(lent) == optree.tree_structure(copied)
    assert list(lent) == list(copied)
    for one, other in zip(leaves(lent), leaves(copied), strict=True):
        assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
        assert str(one.flags) == str(other.flags)
        assert one.flags.writeable == writable
        assert address(one) % 64 == address(other) % 64 or one.shape[0] == 0
        np.testing.assert_array_equal(one, other)
        assert not np.shares_memory(one, other)
        if not writable:
            with pytest.raises(ValueError, match="WRITEABLE"):
                other.flags.writeable = True
    assert len({id(root(leaf)) for leaf in leaves(copied)}) == 1


def test_writes_into_a_writable_copy_stay_in_it() -> None:
    with Server(EXAMPLE, 1, num_buffers=2, writable=True) as server:
        kept = [take(server, i) for i in range(3)]
        for sample in kept:
            sample.batch["x"][...] = 77
        assert numbers_of(take(server, 5).batch) == [5]


# ---------------------------------------------------------------- threads


def test_learner_threads_share_a_server_and_each_batch_comes_once_and_whole(name: str) -> None:
    total, each = 3000, 4

    def learn(server: Server) -> list[int]:
        came, before = [], None
        for sample in server.dataset_iter(until="producers_closed"):
            numbers = numbers_of(sample.batch)
            if before is not None:
                assert numbers_of(before[0].batch) == before[1], "a kept batch was overwritten"
            before = sample, numbers
            came += numbers
        return came

    with Server(EXAMPLE, each, ShmTransport(name), num_buffers=3) as server:
        learners = [Worker(learn, server) for _ in range(3)]
        with ShmClient(name, EXAMPLE) as client:
            for first in range(0, total, 100):
                client.send_batch(stacked(range(first, first + 100)))
        came = sorted(n for learner in learners for n in learner.result())
    assert came == list(range(total))


# ---------------------------------------------------------------- metrics and the log


def test_the_counts_survive_pickling_and_a_reset_of_the_histograms() -> None:
    with Server(EXAMPLE, 1, num_buffers=2, detailed_metrics=True) as server:
        kept = [take(server, i) for i in range(3)]
        server.reset_histograms()
        info = server.info()
        assert (info.copied_total, info.lent) == (2, 1)
        assert pickle.loads(pickle.dumps(info)) == info
        assert SampleInfo(*info[:-2])[-2:] == (0, 0)  # as a pickle of an older version has it
        assert info._fields[-2:] == ("copied_total", "lent")
        assert len(kept) == 3


@pytest.mark.parametrize(("lease", "lent"), [(False, 0), (True, 1), ("copy", 1)])
def test_lent_counts_leases(lease: Any, lent: int) -> None:
    with Server(EXAMPLE, 1, lease=lease) as server:
        sample = take(server, 1)
        assert sample.info.lent == server.info().lent == lent
        del sample
        assert server.info().lent == 0


def many_copies(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "were copied" in r.getMessage()]


def test_many_copies_are_logged_once_with_the_number_of_buffers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(EXAMPLE, 1, num_buffers=3) as server:
        kept = [take(server, i) for i in range(12)]  # ten of them are copies
        assert many_copies(caplog) == []
        for i in range(200):
            kept = [*kept[:2], take(server, i)]
        (line,) = many_copies(caplog)
        assert "more than a tenth of the last 100 batches" in line
        assert "raise num_buffers above 3" in line


def test_few_copies_are_not_logged_however_long_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "shm_echo")
    with Server(EXAMPLE, 1, num_buffers=3) as server:
        for i in range(600):
            kept = [take(server, i)]
            if i % 20 == 0:
                kept += [take(server, i), take(server, i)]
        assert server.info().copied_total >= 30
    assert many_copies(caplog) == []
    assert len(kept) == 1


def test_no_garbage_is_collected_in_this_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def collect(*_: Any) -> int:
        pytest.fail("garbage was collected")

    monkeypatch.setattr("shm_echo.wait_checks.gc.collect", collect)
    with Server(EXAMPLE, 1, num_buffers=2) as server:
        kept = [take(server, i) for i in range(10)]
        with pytest.raises(TimeoutError, match="no batch of 1 samples"):
            server.sample(timeout=0.15)
        assert len(kept) == 10


# ---------------------------------------------------------------- short batches, copies on demand


def test_partial_batches_are_lent_and_copied_likewise() -> None:
    with Server(EXAMPLE, 4, num_buffers=3) as server:
        kept = []
        for i in range(12):
            submit(server, *range(i, i + 1 + i % 3))
            sample = server.flush()
            assert sample is not None
            kept.append(sample)
        for i, sample in enumerate(kept):
            assert numbers_of(sample.batch) == list(range(i, i + 1 + i % 3))
        assert kept[-1].info.copied_total == 10


def test_the_end_of_a_stream_is_lent_or_copied_likewise(name: str) -> None:
    with Server(EXAMPLE, 4, ShmTransport(name), num_buffers=2) as server:
        learner = Worker(lambda: list(server.dataset_iter(until="producers_closed")))
        with ShmClient(name, EXAMPLE) as client:
            client.send_batch(stacked(range(10)))
        came = learner.result()
        assert [numbers_of(s.batch) for s in came] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert [s.info.copied_total for s in came] == [0, 1, 2]


def test_copies_on_demand_count_neither_as_lent_nor_as_copied() -> None:
    with Server(EXAMPLE, 1, num_buffers=2) as server:
        held = take(server, 0)
        batches = server.dataset_iter(copy=True)
        kept = []
        for i in range(10):
            submit(server, i)
            kept.append(next(batches))
        assert [numbers_of(sample.batch) for sample in kept] == [[i] for i in range(10)]
        assert all(s.batch["x"].flags.owndata and s.batch["x"].flags.writeable for s in kept)
        assert kept[-1].info[-2:] == (0, 1)
        assert numbers_of(held.batch) == [0]
