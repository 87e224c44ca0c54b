"""The measurements of `shm-echo loader`: one loader, one number of workers, for some seconds."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optree

from shm_echo.errors import ShmEchoError

__all__ = [
    "DatasetError",
    "Figures",
    "Options",
    "Run",
    "copy_rate",
    "measure",
    "open_ours",
    "open_torch",
]

# The part of the time that is not measured: at first batches come that were made ahead.
_WARMUP = 0.2
_COPIED_BYTES = 64 << 20


class DatasetError(Exception):
    """The dataset failed; the message is one sentence.

    Attributes:
        status: the exit status of the command.
    """

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Options:
    """The options that all runs share; see `shm-echo loader --help`."""

    batch_size: int
    shuffle: bool
    rows_per_claim: int | None
    seconds: float


Opener = Callable[[Any, int, Options], AbstractContextManager[Iterable[Any]]]


@dataclass(frozen=True)
class Run:
    """One row of the table.

    Attributes:
        name: of the loader.
        opener: makes it.
        workers: number of worker processes.
    """

    name: str
    opener: Opener
    workers: int

    @property
    def title(self) -> str:
        return f"{self.name}, {self.workers} worker{'' if self.workers == 1 else 's'}"


@dataclass(frozen=True)
class Figures:
    """The result of a run.

    Attributes:
        name, workers: as of the run.
        items, batches, nbytes, seconds: what came in how much time.
        loop_cpu, worker_cpu: CPU seconds of this process and of those below it.
        worker_delay: seconds in which threads of the workers were ready, and no CPU was free.
        first: seconds to the first batch.
    """

    name: str
    workers: int
    items: int
    batches: int
    nbytes: int
    seconds: float
    loop_cpu: float
    worker_cpu: float
    worker_delay: float
    first: float

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds

    @property
    def bandwidth(self) -> float:
        """Bytes of batches per second."""
        return self.nbytes / self.seconds

    @property
    def item_cpu(self) -> float:
        """CPU seconds of an item, of all processes."""
        return (self.loop_cpu + self.worker_cpu) / self.items

    @property
    def batch_seconds(self) -> float:
        """Seconds from one batch to the next, in a loop that does nothing else."""
        return self.seconds / self.batches

    def wait_share(self, step: float) -> float:
        """Return the share of its time that a loop waits whose own step takes so many seconds.

        Workers make the next batches meanwhile; without workers the loop makes them itself.
        """
        if self.workers == 0:
            return self.batch_seconds / (self.batch_seconds + step)
        return max(0.0, self.batch_seconds - step) / max(self.batch_seconds, step)


# ---------------------------------------------------------------- loaders


@contextlib.contextmanager
def open_ours(dataset: Any, workers: int, options: Options) -> Iterator[Iterable[Any]]:
    """Open `shm_echo.DataLoader`.

    Raises:
        DatasetError: it refuses the dataset.
    """
    from shm_echo import DataLoader

    try:
        loader = DataLoader(
            dataset,
            options.batch_size,
            shuffle=options.shuffle,
            num_workers=workers,
            rows_per_claim=options.rows_per_claim,
            seed=0,
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DatasetError(f"DataLoader refuses the dataset: {error}", 2) from None
    with loader:
        yield loader


@contextlib.contextmanager
def open_torch(dataset: Any, workers: int, options: Options) -> Iterator[Iterable[Any]]:
    """Open torch's DataLoader with workers that stay for all epochs."""
    data: Any = importlib.import_module("torch.utils.data")
    loader = data.DataLoader(
        dataset,
        options.batch_size,
        shuffle=options.shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    yield loader
    # Its workers end when nothing refers to the iterator that it keeps.
    loader._iterator = None


# ---------------------------------------------------------------- a run


def measure(
    run: Run, dataset: Any, options: Options, on_progress: Callable[[float], None]
) -> Figures:
    """Load for some seconds.

    Args:
        run: the loader.
        dataset: what it loads.
        options: of the loader, and the seconds.
        on_progress: called with the share of the time that is over, at most ten times a second.

    Raises:
        DatasetError: an item raised, or there are no items.
    """
    try:
        with run.opener(dataset, run.workers, options) as loader:
            return _measure(run, _endless(loader), options, on_progress)
    except (DatasetError, KeyboardInterrupt):
        raise
    except Exception as error:
        # Errors of the loader name the item; others are the dataset's own, from an item.
        text = " ".join(str(error).partition("\n\n")[0].split())
        if not isinstance(error, ShmEchoError):
            cause = str(error.__cause__ or "").partition(" in worker ")[0]
            item = cause if cause.startswith("item ") else "an item failed"
            text = f"{item}: {type(error).__name__}: {text}"
        raise DatasetError(f"{run.title}: {text}") from None


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of one epoch after the other.

    Raises:
        DatasetError: an epoch has no batch.
    """
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise DatasetError("the dataset has no items", 2)


def _measure(
    run: Run, batches: Iterator[Any], options: Options, on_progress: Callable[[float], None]
) -> Figures:
    whole = options.seconds * (1 + _WARMUP)
    began = time.monotonic()
    next(batches)
    start = time.monotonic()
    first = start - began
    told = start

    def take(until: float) -> tuple[int, int, int]:
        nonlocal told
        items = count = nbytes = 0
        while (now := time.monotonic()) < until:
            leaves = optree.tree_leaves(next(batches))
            items += max(map(_rows, leaves), default=0)
            nbytes += sum(getattr(leaf, "nbytes", 0) for leaf in leaves)
            count += 1
            if now - told > 0.1:
                told = now
                on_progress(min(1.0, (now - start) / whole))
        return items, count, nbytes

    take(start + options.seconds * _WARMUP)
    workers = _descendants(os.getpid())
    cpu, delay = _scheduled(workers)
    loop, start_of_window = time.process_time(), time.monotonic()
    items, count, nbytes = take(start_of_window + options.seconds)
    seconds, loop = time.monotonic() - start_of_window, time.process_time() - loop
    cpu_now, delay_now = _scheduled(workers)
    return Figures(
        run.name,
        run.workers,
        items,
        count,
        nbytes,
        seconds,
        loop,
        cpu_now - cpu,
        delay_now - delay,
        first,
    )


def _rows(leaf: Any) -> int:
    shape = getattr(leaf, "shape", None)
    return int(shape[0]) if shape else 1


def copy_rate() -> float:
    """Return the bytes per second that one CPU copies from memory to memory."""
    source = np.ones(_COPIED_BYTES, np.uint8)
    target = np.empty_like(source)
    times = []
    for _ in range(4):  # the first one maps the pages
        began = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - began)
    return _COPIED_BYTES / min(times)


def _descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def _scheduled(pids: list[int]) -> tuple[float, float]:
    """Return the seconds that processes ran, and those that they waited for a CPU."""
    ran = waited = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                fields = (thread / "schedstat").read_text().split()
                ran += int(fields[0])
                waited += int(fields[1])
    return ran / 1e9, waited / 1e9
