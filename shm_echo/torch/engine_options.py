"""A loader's engine for the arguments of torch's loader."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.utils.data import default_collate, default_convert
from torch.utils.data.dataloader import _DatasetKind

from shm_echo.loader.engine import LoaderEngine
from shm_echo.loader.item_sources import find_way
from shm_echo.loader.options import check_options
from shm_echo.torch.face import TORCH_FACE, collates_as_torch_does

__all__ = ["make_engine"]

# torch's batches take memory when they are made, and those of a ring when it is made.
_MOST_BYTES_AHEAD = 256 * 2**20


def make_engine(loader: Any, seed: int) -> LoaderEngine:
    """Return the engine for one iterator of a loader.

    Args:
        loader: the loader of torch's face.
        seed: the seed of the iterator.

    Raises:
        TypeError: the dataset can only be iterated, and torch does not know that.
    """
    given: dict[str, Any] = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
    if loader._dataset_kind == _DatasetKind.Map:
        _check_is_map(loader.dataset)
        # The order of torch's samplers is the loader's own; this only says how they batch.
        given = {"batch_size": 1, "batch_sampler": ()}
        if loader.batch_sampler is None:
            given = {"batch_size": None, "sampler": ()}
    context = loader.multiprocessing_context
    options = check_options(
        loader.dataset,
        **given,
        num_workers=loader.num_workers,
        seed=seed,
        prefetch_batches=loader.prefetch_factor * loader.num_workers,
        rows_per_claim=_rows_per_claim(loader),
        timeout=loader.timeout,
        on_hang=loader.on_hang,
        worker_init_fn=loader.worker_init_fn,
        start_method=None if context is None else context.get_start_method(),
        example=loader.example,
        reuse=loader.reuse,
        max_bytes=loader.max_bytes,
        progress=loader.progress,
        collate_fn=_collate_fn(loader),
    )
    options = replace(options, most_ahead_bytes=_MOST_BYTES_AHEAD)
    engine = LoaderEngine(options, loader._loops.order, TORCH_FACE)
    engine.layouts.said = loader._loops.said
    return engine


def _check_is_map(dataset: Any) -> None:
    # torch takes every dataset for a map that is no IterableDataset, generators included.
    is_map = hasattr(dataset, "__getitem__") or hasattr(dataset, "__getitems__")
    if hasattr(dataset, "__iter__") and not is_map:
        raise TypeError(
            f"the dataset ({type(dataset).__name__}) has __iter__ and no __getitem__: derive "
            "its class from torch.utils.data.IterableDataset"
        )


def _rows_per_claim(loader: Any) -> Any:
    if loader._loops.kept_rows is not None:
        return loader._loops.kept_rows
    if loader.rows_per_claim is not None:
        return loader.rows_per_claim
    is_map = loader._dataset_kind == _DatasetKind.Map
    # Items may wait for one another: no worker claims two, unless the dataset makes several.
    return 1 if is_map and find_way(loader.dataset) == "getitem" else None


def _collate_fn(loader: Any) -> Any:
    """Return the loader's collate function; None for torch's own, which rows can stand for."""
    function = loader.collate_fn
    if function is default_collate:
        return None if collates_as_torch_does() else function
    return None if function is default_convert and loader.batch_sampler is None else function
