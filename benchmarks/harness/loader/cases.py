"""The datasets that are loaded: the same for every contender.

The items of an array lie in memory, so that loaders are compared and not disks. A dataset is longer
than what it stores, and begins again at the end: no contender comes to the end of an epoch.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["CASES", "Case", "by_name"]

LENGTH = 1 << 24
# Steps of a loop in Python that take about 2 ms where one takes 20 ns. Not a time: threads that
# wait for the interpreter lock would not work meanwhile.
STEPS = 95_000
LONGEST = 512  # tokens of an item


class Dataset:
    """The common part: a length that no run comes to the end of."""

    def __len__(self) -> int:
        return LENGTH


class Arrays(Dataset):
    """Rows of an array, with a label each or without."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: str, labels: bool) -> None:
        rng = np.random.default_rng(0)
        self.rows = rng.integers(0, 256, (count, *shape), np.uint8).astype(dtype, copy=False)
        self.labels = list(range(count)) if labels else None
        self.count = count

    def __getitem__(self, index: int) -> Any:
        index %= self.count
        if self.labels is None:
            return self.rows[index]
        return self.rows[index], self.labels[index]


class StackedArrays(Arrays):
    """The same rows, a run of them at once."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: str, labels: bool) -> None:
        super().__init__(count, shape, dtype, labels)
        self.stacked_labels = np.arange(count)

    def __getitems__(self, indices: list[int], out: Any) -> None:
        places = np.asarray(indices) % self.count
        if self.labels is None:
            np.take(self.rows, places, axis=0, out=out, mode="clip")
            return
        np.take(self.rows, places, axis=0, out=out[0], mode="clip")
        np.take(self.stacked_labels, places, axis=0, out=out[1], mode="clip")


class Jpegs(Dataset):
    """Photographs of 224 x 224 pixels, as far as a decoder can tell."""

    def __init__(self) -> None:
        self._open = importlib.import_module("PIL.Image").open
        image = importlib.import_module("PIL.Image")
        rng = np.random.default_rng(0)
        self.files = []
        for _ in range(64):
            coarse = image.fromarray(rng.integers(0, 256, (28, 28, 3), np.uint8))
            file = io.BytesIO()
            coarse.resize((224, 224), image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
            self.files.append(file.getvalue())

    def __getitem__(self, index: int) -> Any:
        # A copy: of the read-only array of an image torch warns, for each worker anew.
        return np.array(self._open(io.BytesIO(self.files[index % 64])))


class Slow(Dataset):
    """Items that take a loop in Python of about 2 ms."""

    def __getitem__(self, index: int) -> Any:
        total = 0
        for step in range(STEPS):
            total += step
        return np.full(16, index % 256, np.int64)


class Tokens(Dataset):
    """Texts of 16 to 512 token numbers."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        lengths = rng.integers(16, LONGEST + 1, 4096)
        self.texts = [rng.integers(0, 50_000, int(n), dtype=np.int32) for n in lengths]

    def __getitem__(self, index: int) -> Any:
        return self.texts[index % 4096]


@dataclass(frozen=True)
class Case:
    """One kind of item.

    Attributes:
        name: as the command line and the tables call it.
        title: what an item is.
        batch_size: items in a batch.
        make: makes the dataset.
        make_stacked: makes one that fills a run of rows at once, where there is such a way.
        ragged: True if items differ in length.
        package: the module that the dataset needs, if it may be missing.
    """

    name: str
    title: str
    batch_size: int
    make: Callable[[], Any]
    make_stacked: Callable[[], Any] | None = None
    ragged: bool = False
    package: str | None = None


def _arrays(count: int, shape: tuple[int, ...], dtype: str, labels: bool) -> dict[str, Any]:
    arguments = (count, shape, dtype, labels)
    return {"make": lambda: Arrays(*arguments), "make_stacked": lambda: StackedArrays(*arguments)}


CASES = (
    Case(
        "cifar",
        "uint8 (32, 32, 3) and a label",
        256,
        **_arrays(16_384, (32, 32, 3), "uint8", True),
    ),
    Case("uint8-224", "uint8 (3, 224, 224)", 64, **_arrays(384, (3, 224, 224), "uint8", False)),
    Case(
        "float32-224", "float32 (3, 224, 224)", 32, **_arrays(128, (3, 224, 224), "float32", False)
    ),
    Case("jpeg", "JPEG of 224 x 224, decoded by Pillow", 32, Jpegs, package="PIL"),
    Case("python", "2 ms of Python", 16, Slow),
    Case("tokens", "16 to 512 tokens of int32", 64, Tokens, ragged=True),
)


def by_name(name: str) -> Case:
    """Return the case of this name.

    Raises:
        SystemExit: there is none.
    """
    for case in CASES:
        if case.name == name:
            return case
    raise SystemExit(f"no case {name!r}: {', '.join(case.name for case in CASES)}")
