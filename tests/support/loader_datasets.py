"""Datasets for the loader's workers: importable, so that spawned workers can unpickle them."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Barred",
    "Dying",
    "Hanging",
    "InPlace",
    "Listing",
    "Logged",
    "Numbers",
    "OddError",
    "Raising",
    "Stacking",
    "Unreadable",
    "exit_at_start",
    "fail_at_start",
    "note_worker",
]


class Numbers:
    """Items that say which ones they are."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return {"x": np.full(3, index, np.float32), "i": index, "r": random.random()}


class Logged(Numbers):
    """Writes each call into a file: the process, and the indices.

    Args:
        length: the number of items.
        log: the file.
    """

    def __init__(self, length: int, log: Path) -> None:
        super().__init__(length)
        self.log = str(log)

    def note(self, *indices: int) -> None:
        """Write one line, whole even if others write at the same time."""
        line = " ".join(map(str, (os.getpid(), *indices))) + "\n"
        fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, line.encode())
        os.close(fd)

    def calls(self) -> list[tuple[int, ...]]:
        """Return the indices of each call, in order."""
        return [tuple(map(int, line.split()[1:])) for line in self.lines()]

    def lines(self) -> list[str]:
        """Return the lines so far."""
        return Path(self.log).read_text().splitlines() if os.path.exists(self.log) else []

    def __getitem__(self, index: int) -> Any:
        self.note(index)
        return super().__getitem__(index)


class Dying(Logged):
    """Ends its process at one item.

    Args:
        length, log: as for Logged.
        index: the item.
        times: how often; the calls after that succeed.
        number: the signal; 0 exits with status 3.
    """

    def __init__(
        self, length: int, log: Path, index: int, times: int, number: int = signal.SIGKILL
    ) -> None:
        super().__init__(length, log)
        self.index, self.times, self.number = index, times, number

    def die_at(self, *indices: int) -> None:
        """Note a call, and end the process if it is time."""
        self.note(*indices)
        if self.index in indices and sum(self.index in call for call in self.calls()) <= self.times:
            if self.number:
                os.kill(os.getpid(), self.number)
                time.sleep(100)  # another thread may be the one that gets the signal
            os._exit(3)

    def __getitem__(self, index: int) -> Any:
        self.die_at(index)
        return Numbers.__getitem__(self, index)


class Listing(Dying):
    """Makes the items of a run together, as a list."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        self.die_at(*indices)
        return [Numbers.__getitem__(self, index) for index in indices]


class Stacking(Dying):
    """Writes the rows of a run together."""

    def __getitems__(self, indices: list[int], out: Any) -> None:
        self.die_at(*indices)
        out["x"][:] = np.array(indices, np.float32)[:, None]
        out["i"][:] = indices
        out["r"][:] = 0


class InPlace(Dying):
    """Writes each row in place."""

    def load_into(self, index: int, out: Any) -> None:
        """Write the row of an item."""
        self.die_at(index)
        out["x"][:], out["i"][...], out["r"][...] = index, index, 0


class OddError(Exception):
    """Cannot be built again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class Raising(Numbers):
    """Raises at some items.

    Args:
        length: the number of items.
        errors: the exception of each of these items.
    """

    def __init__(self, length: int, errors: dict[int, BaseException]) -> None:
        super().__init__(length)
        self.errors = errors

    def __getitem__(self, index: int) -> Any:
        if index in self.errors:
            raise self.errors[index]
        return super().__getitem__(index)


class Hanging(Logged):
    """Hangs at one item, the first time."""

    def __init__(self, length: int, log: Path, index: int) -> None:
        super().__init__(length, log)
        self.index = index

    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        if index == self.index and self.calls().count((index,)) == 1:
            self.hang_here()
        return item

    def hang_here(self) -> None:
        """Wait for ever."""
        while True:
            time.sleep(60)


class Barred(Numbers):
    """Cannot be pickled: a part of a part is a lock."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.inner = Numbers(length)
        self.inner.guard = threading.Lock()  # type: ignore[attr-defined]


class Unreadable(Numbers):
    """Can be pickled, and not be unpickled."""

    def __setstate__(self, state: Any) -> None:
        raise ValueError("no such file: data.bin")


def note_worker(worker: int) -> None:
    """Write the number of the worker to standard output."""
    sys.stdout.write(f"worker {worker}\n")


def fail_at_start(worker: int) -> None:
    """Raise, as a `worker_init_fn`."""
    raise KeyError("no such folder")


def exit_at_start(worker: int) -> None:
    """End the process, as a `worker_init_fn`."""
    os._exit(7)
