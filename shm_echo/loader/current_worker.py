"""The facts that a worker process has about itself: `worker_info()`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["WorkerInfo", "set_worker_info", "worker_info"]


@dataclass(frozen=True)
class WorkerInfo:
    """A worker of a loader.

    Attributes:
        id: its number, from 0 to `num_workers - 1`. A worker that replaces a dead one has its
            number.
        num_workers: number of workers of the loader.
        seed: base seed of the loader plus `id`, modulo 2**64.
        dataset: the worker's copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any = field(repr=False)


_info: WorkerInfo | None = None


def worker_info() -> WorkerInfo | None:
    """Return what the current process knows as a worker; None if it is no worker.

    A dataset or `worker_init_fn` may open a file per worker with it. With `num_workers=0` the
    items are made by the training loop's own process, where this is None.

    Example:
        >>> from shm_echo.loader import worker_info
        >>> worker_info() is None
        True
    """
    return _info


def set_worker_info(info: WorkerInfo | None) -> None:
    """Set what `worker_info` returns in this process."""
    global _info
    _info = info
