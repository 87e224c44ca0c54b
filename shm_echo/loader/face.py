"""The parts in which the loaders of NumPy and of another array library differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shm_echo.loader.collation import collate, convert
from shm_echo.loader.current_worker import WorkerInfo

__all__ = ["NUMPY_FACE", "Face"]


@dataclass(frozen=True)
class Face:
    """Functions between items and batches. It is pickled for spawned workers.

    Attributes:
        default_collate: makes a batch of a list of items in the worker, where there is no
            `collate_fn` and the items do not fit rows.
        default_convert: makes a batch of one item in the worker, with `batch_size=None` and no
            `collate_fn`.
        fits_rows: asked about the first item, if it could be a row; returns False to have batches
            collated by `default_collate`. None for no question.
        finish_rows: makes a batch of the tree of arrays that came as rows, in the training loop.
            None for the tree itself.
        reducer: the `reducer_override` of the pickler of collated batches, or None. Arrays among
            the arguments of what it returns come back as arrays over the ring's memory.
        begin_worker: called in each worker, before `worker_init_fn`. None for no call.
        rehearses: True to have the other workers make the first item, too, and throw it away, if
            it takes long: what a dataset does once per worker is done at the same time in all, and
            items may wait for one another.
    """

    default_collate: Callable[[list[Any]], Any] = collate
    default_convert: Callable[[Any], Any] = convert
    fits_rows: Callable[[Any], bool] | None = None
    finish_rows: Callable[[Any], Any] | None = None
    reducer: Callable[[Any], Any] | None = None
    begin_worker: Callable[[WorkerInfo], None] | None = None
    rehearses: bool = False


NUMPY_FACE = Face()
