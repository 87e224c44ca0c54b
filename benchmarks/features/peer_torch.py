"""PyTorch's DataLoader with worker processes: the trials behind the cells of its column."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from trial import NO, SPAWN, YES, main


class Numbers(Dataset[Any]):
    """Samples that name the worker that made them; one in four can have another type."""

    def __init__(self, mixed: bool = False, size: int = 4) -> None:
        self.mixed = mixed
        self.size = size

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> Any:
        kind = torch.int32 if self.mixed and index % 4 == 3 else torch.float32
        return torch.full((self.size,), index, dtype=kind), os.getpid()


class Counted(IterableDataset[Any]):
    """A stream that counts in shared memory how many samples were asked of it."""

    def __init__(self, counter: Any) -> None:
        self.counter = counter

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.counter.value += 1
            yield 0


def loader(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=4, num_workers=2, **options)


def view() -> str:
    """Show that the learner maps shared memory into which the worker has stacked the batch."""
    batch, _ = next(iter(loader(Numbers())))
    return YES if batch.is_shared() else NO


def join() -> str:
    """Show that the number of workers is fixed at the start."""
    loading = loader(Numbers())
    iterator = iter(loading)
    next(iterator)
    try:
        loading.num_workers = 3
    except ValueError:
        return NO
    pids = {int(pid) for _, by in iterator for pid in by}
    return YES if len(pids) > 2 else NO


def misfit() -> str:
    try:
        batch, _ = next(iter(loader(Numbers(mixed=True))))
    except (RuntimeError, TypeError):
        return YES
    return NO if batch.shape == (4, 4) else "look again"


def full() -> str:
    counter = SPAWN.Value("q", lock=False)
    iterator = iter(loader(Counted(counter), multiprocessing_context=SPAWN))
    next(iterator)
    time.sleep(3)
    before = counter.value
    time.sleep(2)
    return "no time-out" if counter.value == before else NO


def killed_inside() -> str:
    iterator = iter(loader(Numbers(size=1 << 20)))
    _, pids = next(iterator)
    os.kill(int(pids[0]), signal.SIGKILL)
    try:
        for _ in range(500):
            next(iterator)
    except RuntimeError:
        return NO
    return YES


def death() -> str:
    iterator = iter(loader(Numbers()))
    _, pids = next(iterator)
    os.kill(int(pids[0]), signal.SIGKILL)
    try:
        for _ in iterator:
            pass
    except RuntimeError as error:
        return YES if "killed" in str(error) else "look again"
    return NO


def learn(pids: Any) -> None:
    _, by = next(iter(loader(Numbers())))
    pids.send([int(pid) for pid in by])
    time.sleep(600)


def learner_dies() -> str:
    """Show that workers notice the end of their parent, and end without an error."""
    ours, theirs = SPAWN.Pipe()
    learner = SPAWN.Process(target=learn, args=(theirs,))
    learner.start()
    pids = ours.recv()
    learner.kill()
    time.sleep(15)
    return "it ends" if not any(alive(pid) for pid in pids) else NO


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sampling() -> str:
    batch, _ = next(iter(loader(Numbers(), shuffle=True)))
    return YES if batch[:, 0].tolist() != [0, 1, 2, 3] else NO


if __name__ == "__main__":
    main(
        {
            "view": view,
            "join": join,
            "misfit": misfit,
            "full": full,
            "killed_inside": killed_inside,
            "death": death,
            "learner_dies": learner_dies,
            "sampling": sampling,
        }
    )
