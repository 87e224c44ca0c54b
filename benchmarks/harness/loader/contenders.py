"""The loaders that are compared, each with the same datasets, batch sizes and workers.

A contender opens a loader and yields an iterator of batches. It runs in a process of its own, which
imports only this contender's library. Workers are processes, or threads where the name says so.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.loader.cases import LONGEST, Case

__all__ = ["CONTENDERS", "OURS", "STACKED", "Contender", "by_name"]

ROWS_PER_CLAIM = 32
PREFETCH = 3  # batches, where a peer wants a number: the default of ours
CHUNK = 32  # items that a process of Pool.imap makes at a time

Open = Callable[[Case, Any, int], AbstractContextManager[Iterator[Any]]]


@dataclass(frozen=True)
class Contender:
    """One loader.

    Attributes:
        name: for the tables and the command line.
        open: opens a loader for a case, its dataset and a number of workers.
        package: the module that must be importable, if it may be missing.
        processes: True if its workers are processes.
        stacked: True if it only runs cases with a dataset that fills a run at once.
    """

    name: str
    open: Open
    package: str | None = None
    processes: bool = True
    stacked: bool = False

    def missing(self) -> str | None:
        """Return the reason why it cannot run here, with the line that installs it, or None."""
        package = self.package
        if package is None or importlib.util.find_spec(package) is not None:
            return None
        return f"{self.name}: not installed (pip install 'shm-echo[bench]')"

    def runs(self, case: Case) -> bool:
        """Return True if it can load these items."""
        return case.make_stacked is not None or not self.stacked


def stack(items: list[Any]) -> Any:
    """Return the batch that the items make, as a loader of NumPy arrays does."""
    if isinstance(items[0], tuple):
        return tuple(np.stack(leaf) for leaf in zip(*items, strict=True))
    return np.stack(items)


def pad(items: list[Any]) -> Any:
    """Return texts of different lengths as one array, and their lengths."""
    padded = np.zeros((len(items), LONGEST), np.int32)
    for row, item in zip(padded, items, strict=True):
        row[: len(item)] = item
    return padded, np.array([len(item) for item in items])


def _collate(case: Case) -> Callable[[list[Any]], Any]:
    return pad if case.ragged else stack


def _batches(case: Case) -> Iterator[range]:
    return (range(first, first + case.batch_size) for first in range(0, 1 << 24, case.batch_size))


# ---------------------------------------------------------------- ours


@contextlib.contextmanager
def _shm_echo(case: Case, dataset: Any, workers: int) -> Iterator[Iterator[Any]]:
    from shm_echo import DataLoader, Ragged

    with DataLoader(
        dataset,
        case.batch_size,
        num_workers=workers,
        rows_per_claim=ROWS_PER_CLAIM,
        seed=0,
        example=Ragged(np.int32, LONGEST) if case.ragged else None,
    ) as loader:
        yield iter(loader)


# ---------------------------------------------------------------- peers


@contextlib.contextmanager
def _torch(case: Case, dataset: Any, workers: int, **options: Any) -> Iterator[Iterator[Any]]:
    torch = importlib.import_module("torch")
    loader = torch.utils.data.DataLoader(
        dataset,
        case.batch_size,
        num_workers=workers,
        collate_fn=_torch_pad if case.ragged else None,
        **options,
    )
    iterator = iter(loader)
    yield iterator
    del iterator, loader  # its workers end with it


def _torch_pad(items: list[Any]) -> Any:
    torch = importlib.import_module("torch")
    padded, lengths = pad(items)
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def _torch_persistent(
    case: Case, dataset: Any, workers: int
) -> AbstractContextManager[Iterator[Any]]:
    return _torch(case, dataset, workers, persistent_workers=True, prefetch_factor=4)


@contextlib.contextmanager
def _spdl(case: Case, dataset: Any, workers: int) -> Iterator[Iterator[Any]]:
    builder = importlib.import_module("spdl.pipeline").PipelineBuilder()
    collate = _collate(case)

    def load(indices: range) -> Any:
        return collate([dataset[index] for index in indices])

    pipeline = (
        builder.add_source(_batches(case))
        .pipe(load, concurrency=workers)
        .add_sink(PREFETCH)
        .build(num_threads=workers, max_failures=0)
    )
    with pipeline.auto_stop():
        yield iter(pipeline)


@contextlib.contextmanager
def _grain(case: Case, dataset: Any, workers: int, processes: bool) -> Iterator[Iterator[Any]]:
    grain = importlib.import_module("grain")
    batched = grain.MapDataset.source(dataset).batch(case.batch_size, batch_fn=_collate(case))
    if processes:
        importlib.import_module("absl.flags").FLAGS.mark_as_parsed()  # its workers ask for them
        # One thread in each process: the workers are what is counted.
        read = batched.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=PREFETCH)
        read = read.mp_prefetch(options)
    else:
        read = batched.to_iter_dataset(grain.ReadOptions(workers, PREFETCH))
    iterator = iter(read)
    yield iterator
    iterator.close()


def _grain_processes(
    case: Case, dataset: Any, workers: int
) -> AbstractContextManager[Iterator[Any]]:
    return _grain(case, dataset, workers, processes=True)


def _grain_threads(case: Case, dataset: Any, workers: int) -> AbstractContextManager[Iterator[Any]]:
    return _grain(case, dataset, workers, processes=False)


_dataset: Any = None  # of the processes of Pool, which inherit it


def _item(index: int) -> Any:
    return _dataset[index]


@contextlib.contextmanager
def _pool(case: Case, dataset: Any, workers: int) -> Iterator[Iterator[Any]]:
    global _dataset
    _dataset = dataset
    collate = _collate(case)
    # imap reads its input as fast as it can: the semaphore holds it at the prefetched batches.
    room = threading.Semaphore(max(PREFETCH * case.batch_size, 2 * workers * CHUNK))
    ended = False

    def indices() -> Iterator[int]:
        for index in range(1 << 24):
            room.acquire()
            if ended:
                return
            yield index

    def batches(results: Iterator[Any]) -> Iterator[Any]:
        while True:
            items = []
            for _ in range(case.batch_size):
                items.append(next(results))
                room.release()
            yield collate(items)

    pool = multiprocessing.get_context("fork").Pool(workers)
    results = pool.imap(_item, indices(), CHUNK)
    yield batches(results)
    # Not terminate(), which leaving a pool calls: it waits for ever for a lock if it ends a worker
    # that holds it, as one does that sends a large result.
    ended = True
    room.release(2 * CHUNK)  # for the pool's thread that reads the input
    for _ in results:
        pass
    pool.close()
    pool.join()


OURS = Contender("shm-echo", _shm_echo)
STACKED = Contender("shm-echo __getitems__(out=)", _shm_echo, stacked=True)

CONTENDERS = (
    OURS,
    STACKED,
    Contender("torch DataLoader", _torch, "torch"),
    Contender("torch, persistent, prefetch 4", _torch_persistent, "torch"),
    Contender("SPDL threads", _spdl, "spdl", processes=False),
    Contender("grain processes", _grain_processes, "grain"),
    Contender("grain threads", _grain_threads, "grain", processes=False),
    Contender("Pool.imap + np.stack", _pool),
)


def by_name(name: str) -> Contender:
    """Return the contender of this name."""
    return next(contender for contender in CONTENDERS if contender.name == name)
