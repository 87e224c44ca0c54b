"""The loader: batches of a dataset's items, made by worker processes.

`item_rng` and `worker_info` are for datasets. The names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shm_echo.errors import (
        ItemError,
        LoaderTimeoutError,
        WorkerDiedError,
        WorkerStartError,
    )
    from shm_echo.loader.current_worker import WorkerInfo, worker_info
    from shm_echo.loader.data_loader import DataLoader
    from shm_echo.loader.randomness import item_rng
    from shm_echo.loader.stats import LoaderStats

_HOMES = {
    "DataLoader": "shm_echo.loader.data_loader",
    "ItemError": "shm_echo.errors",
    "LoaderStats": "shm_echo.loader.stats",
    "LoaderTimeoutError": "shm_echo.errors",
    "WorkerDiedError": "shm_echo.errors",
    "WorkerInfo": "shm_echo.loader.current_worker",
    "WorkerStartError": "shm_echo.errors",
    "item_rng": "shm_echo.loader.randomness",
    "worker_info": "shm_echo.loader.current_worker",
}

__all__ = [
    "DataLoader",
    "ItemError",
    "LoaderStats",
    "LoaderTimeoutError",
    "WorkerDiedError",
    "WorkerInfo",
    "WorkerStartError",
    "item_rng",
    "worker_info",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shm_echo.loader' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
