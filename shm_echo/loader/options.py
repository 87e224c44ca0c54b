"""The arguments of a `DataLoader`: checked once, kept unchanged, and the sizes that follow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from shm_echo.error_base import mebibytes
from shm_echo.loader.item_sources import find_way
from shm_echo.loader.items import ItemSpec
from shm_echo.loader.randomness import SEED_LIMIT, new_seed
from shm_echo.validation import check_count, seconds

__all__ = [
    "FURTHER_BUFFERS",
    "LoaderOptions",
    "OnHang",
    "RingShape",
    "StartMethod",
    "check_max_bytes",
    "check_options",
    "default_rows_per_claim",
]

OnHang = Literal["raise", "restart"]
StartMethod = Literal["fork", "spawn", "forkserver"]

# The ring's own limit is higher (SHE_MAX_PRODUCERS in layout.h); more are never useful.
_MAX_WORKERS = 4096
_MOST_ROWS_PER_CLAIM = 32
_MOST_BYTES_PER_CLAIM = 4 * 2**20
# Beside those that are filled ahead: the batch in the loop's hands, and one that circulates.
FURTHER_BUFFERS = 2
# Even if `most_ahead_bytes` is less: one batch is filled while another one waits for the loop.
_LEAST_AHEAD = 2


@dataclass(frozen=True)
class LoaderOptions:
    """The checked arguments of a `DataLoader`, whose docstring explains each.

    Attributes:
        rows_per_claim: None for a default, or for a number that is measured.
        measures: True if it is measured.
        seed: base seed; drawn from the operating system if none was given.
        batch_size: None for batches that are one item each.
        stream: True if the dataset is iterated: each worker has a shard.
        timeout: seconds; None for no limit, which the argument says with 0.
        item_spec: the spec that `example` fixes; None without one.
        most_ahead_bytes: fewer than `prefetch_batches` are made ahead where they would take more
            bytes; None for no such limit.
    """

    dataset: Any
    batch_size: int | None
    stream: bool
    shuffle: bool
    sampler: Any
    batch_sampler: Any
    num_workers: int
    seed: int
    drop_last: bool
    rank: int
    world_size: int
    weights: Any
    example: Any
    item_spec: ItemSpec | None
    prefetch_batches: int
    rows_per_claim: int | None
    measures: bool
    timeout: float | None
    on_hang: OnHang
    worker_init_fn: Callable[[int], object] | None
    start_method: StartMethod | None
    reuse: bool
    max_bytes: int | None
    progress: bool
    collate_fn: Callable[[Any], Any] | None
    most_ahead_bytes: int | None = None

    @property
    def collates(self) -> bool:
        """Return True if the workers collate each batch as a whole, whatever its items are."""
        return self.collate_fn is not None or self.batch_size is None or self.stream

    @property
    def num_rings(self) -> int:
        """The number of rings: each worker of a stream has one."""
        return max(1, self.num_workers) if self.stream else 1

    def ring_buffers(self, batch_bytes: int) -> int:
        """Return the number of batches in each ring, if a batch has so many bytes."""
        ahead = -(-self.prefetch_batches // self.num_rings)
        if self.most_ahead_bytes is not None:
            fitting = self.most_ahead_bytes // (self.num_rings * max(1, batch_bytes))
            ahead = min(ahead, max(_LEAST_AHEAD, fitting))
        return ahead + FURTHER_BUFFERS


def check_options(
    dataset: Any,
    batch_size: Any = 1,
    shuffle: Any = False,
    *,
    sampler: Any = None,
    batch_sampler: Any = None,
    num_workers: Any = 0,
    seed: Any = None,
    drop_last: Any = False,
    rank: Any = 0,
    world_size: Any = 1,
    weights: Any = None,
    example: Any = None,
    prefetch_batches: Any = 3,
    rows_per_claim: Any = None,
    timeout: Any = 0,
    on_hang: Any = "raise",
    worker_init_fn: Any = None,
    start_method: Any = None,
    reuse: Any = False,
    max_bytes: Any = None,
    progress: Any = False,
    collate_fn: Any = None,
) -> LoaderOptions:
    """Check the arguments of `DataLoader` and return them. No item is made, nothing is drawn.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: an argument out of range, or two that exclude each other.
    """
    measures = rows_per_claim == "measure"
    if measures and example is not None:
        raise ValueError(
            "rows_per_claim='measure' can't be combined with example=: it measures the first items"
        )
    batch_size = None if batch_size is None else check_count("batch_size", batch_size, 1)
    stream = _has_no_indices(dataset)
    shuffle = _switch("shuffle", shuffle)
    drop_last = _switch("drop_last", drop_last)
    world_size = check_count("world_size", world_size, 1)
    rank = check_count("rank", rank, 0)
    if rank >= world_size:
        raise ValueError(f"rank must be less than world_size={world_size}, not {rank}")
    _check_sampling(batch_size, shuffle, sampler, batch_sampler, drop_last, world_size, weights)
    if stream:
        _check_stream(dataset, shuffle, sampler, batch_sampler, world_size, weights)
    else:
        own_order = sampler is None and batch_sampler is None
        _check_dataset(dataset, own_order, in_place=collate_fn is None and batch_size is not None)
    if collate_fn is not None and not callable(collate_fn):
        raise TypeError(f"collate_fn must be a function of a list of items, not {collate_fn!r}")
    if example is not None and (collate_fn is not None or batch_size is None or stream):
        raise ValueError(
            "example= fixes the rows of a batch, and can't be combined with collate_fn=, "
            "batch_size=None or an iterable, whose batches have none"
        )
    if worker_init_fn is not None and not callable(worker_init_fn):
        raise TypeError(
            "worker_init_fn must be a function that takes the worker's number, not "
            f"{worker_init_fn!r}"
        )
    return LoaderOptions(
        dataset=dataset,
        batch_size=batch_size,
        stream=stream,
        shuffle=shuffle,
        sampler=sampler,
        batch_sampler=batch_sampler,
        num_workers=check_count("num_workers", num_workers, 0, most=_MAX_WORKERS),
        seed=_check_seed(seed),
        drop_last=drop_last,
        rank=rank,
        world_size=world_size,
        weights=weights,
        example=example,
        item_spec=None if example is None else ItemSpec.from_item(example),
        prefetch_batches=check_count("prefetch_batches", prefetch_batches, 1),
        rows_per_claim=_rows_per_claim(None if measures else rows_per_claim),
        measures=measures,
        timeout=seconds("timeout", timeout) or None,
        on_hang=_one_of("on_hang", on_hang, ("raise", "restart")),
        worker_init_fn=worker_init_fn,
        start_method=None
        if start_method is None
        else _one_of("start_method", start_method, ("fork", "spawn", "forkserver")),
        reuse=_switch("reuse", reuse),
        max_bytes=_optional_count("max_bytes", max_bytes, most=None),
        progress=_switch("progress", progress),
        collate_fn=collate_fn,
    )


def _has_no_indices(dataset: Any) -> bool:
    """Return True for a dataset that can only be iterated."""
    # torch's IterableDataset inherits a __getitem__ that raises.
    torch_data = sys.modules.get("torch.utils.data")
    if isinstance(dataset, getattr(torch_data, "IterableDataset", ())):
        return True
    return hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__")


def _check_dataset(dataset: Any, own_order: bool, in_place: bool) -> None:
    name = type(dataset).__qualname__
    if not hasattr(dataset, "__getitem__"):
        raise TypeError(f"the dataset must have __getitem__ or __iter__, and {name} has neither")
    find_way(dataset, items=not in_place)
    if own_order:
        try:
            len(dataset)
        except TypeError:
            raise TypeError(
                f"the dataset must have a length (__len__), and {name} has none: give it one, or "
                "pass sampler="
            ) from None


def _check_stream(
    dataset: Any, shuffle: bool, sampler: Any, batch_sampler: Any, world_size: int, weights: Any
) -> None:
    given = {
        "shuffle": shuffle,
        "sampler": sampler is not None,
        "batch_sampler": batch_sampler is not None,
        "weights": weights is not None,
        "world_size": world_size > 1,
    }
    clash = [f"{name}=" for name, is_given in given.items() if is_given]
    if clash:
        raise ValueError(
            f"{', '.join(clash)} can't be combined with a dataset that can only be iterated "
            f"({type(dataset).__qualname__}): it decides alone which items come, and in which order"
        )


def _check_sampling(
    batch_size: int | None,
    shuffle: bool,
    sampler: Any,
    batch_sampler: Any,
    drop_last: bool,
    world_size: int,
    weights: Any,
) -> None:
    """Refuse arguments that describe two orders at once."""
    for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        iterable = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
        if value is not None and not iterable:
            raise TypeError(f"{name} must be an iterable, not {value!r}")
    given = {
        "shuffle": shuffle,
        "weights": weights is not None,
        "world_size": world_size > 1,
        "sampler": sampler is not None,
        "batch_size": batch_size != 1,
        "drop_last": drop_last,
    }
    excluded: dict[str, tuple[str, tuple[str, ...]]] = {}
    if batch_sampler is not None:
        reason = "it decides alone which items a batch has"
        excluded["batch_sampler"] = (reason, tuple(given))
    elif sampler is not None:
        reason = "it decides alone in which order, and on which rank, the items come"
        excluded["sampler"] = (reason, ("shuffle", "weights", "world_size"))
    elif weights is not None:
        excluded["weights"] = ("they draw the items at random already", ("shuffle",))
    if batch_size is None:
        excluded["batch_size=None"] = ("each batch is one item", ("drop_last",))
    for name, (reason, others) in excluded.items():
        clash = [f"{other}=" for other in others if given[other]]
        if clash:
            name = name if "=" in name else f"{name}="
            raise ValueError(f"{name} can't be combined with {', '.join(clash)}: {reason}")


def _check_seed(seed: Any) -> int:
    if seed is None:
        return new_seed()
    return check_count("seed", seed, 0, most=SEED_LIMIT - 1)


def _optional_count(name: str, value: Any, most: int | None = 2**31) -> int | None:
    return None if value is None else check_count(name, value, 1, most=most)


def _rows_per_claim(value: Any) -> int | None:
    if isinstance(value, str):
        raise ValueError(f"rows_per_claim must be a number, None or 'measure', not {value!r}")
    return _optional_count("rows_per_claim", value)


def _switch(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):  # torch's shuffle is None by default
        return bool(value)
    raise TypeError(f"{name} must be True or False, not {value!r}")


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


# ---------------------------------------------------------------- sizes


def default_rows_per_claim(batch_size: int, item_bytes: int) -> int:
    """Return how many rows a worker takes at once, unless `rows_per_claim=` says it.

    It is the power of two nearest to an eighth of the batch, from 1 to 32, as long as such a run
    has at most 4 MiB. It depends on nothing else, because runs fix the seeds of the global
    generators.

    Example:
        >>> default_rows_per_claim(256, 3_076), default_rows_per_claim(256, 602_112)
        (32, 4)
    """
    rows = 1
    # 2 * rows is at least as near to batch_size / 8 as rows if batch_size >= 12 * rows.
    while rows < _MOST_ROWS_PER_CLAIM and batch_size >= 12 * rows:
        rows *= 2
    while rows > 1 and rows * item_bytes > _MOST_BYTES_PER_CLAIM:
        rows //= 2
    return rows


@dataclass(frozen=True)
class RingShape:
    """The sizes of a loader's ring.

    Attributes:
        batch_size: rows in a batch, at most.
        run_rows: rows in a slot: what a worker claims at once.
        num_buffers: batches in the ring.
    """

    batch_size: int
    run_rows: int
    num_buffers: int

    @classmethod
    def of(cls, options: LoaderOptions, item_bytes: int, batch_size: int) -> RingShape:
        """Return the sizes for checked arguments.

        Args:
            options: the arguments.
            item_bytes: the size of an item's arrays.
            batch_size: rows in a batch, at most: the order's, which a batch sampler may set.
        """
        rows = options.rows_per_claim or default_rows_per_claim(batch_size, item_bytes)
        return cls(batch_size, min(rows, batch_size), options.ring_buffers(batch_size * item_bytes))

    @property
    def slots(self) -> int:
        """Slots in a batch."""
        return -(-self.batch_size // self.run_rows)

    def data_bytes(self, item_bytes: int) -> int:
        """Return the size of all rows; the ring adds its own words and rounds leaves up."""
        return self.num_buffers * self.slots * self.run_rows * item_bytes


def check_max_bytes(
    ring_bytes: int, max_bytes: int | None, shape: RingShape, item_bytes: int
) -> None:
    """Refuse a ring that is larger than the loader's `max_bytes=`.

    Raises:
        ValueError: it is larger; the message has the numbers.
    """
    if max_bytes is None or ring_bytes <= max_bytes:
        return
    raise ValueError(
        f"the loader's ring would have {ring_bytes:,} bytes ({mebibytes(ring_bytes)}: "
        f"{shape.num_buffers} batches of {shape.batch_size:,} items of {item_bytes:,} bytes), and "
        f"max_bytes is {max_bytes:,}: use a smaller batch_size or prefetch_batches, which is "
        f"{shape.num_buffers - FURTHER_BUFFERS}"
    )
