"""`DataLoader`: batches of a dataset's items, made by worker processes in shared memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from shm_echo.copying import Uncopyable
from shm_echo.loader.checkpoints import Checkpoints, RowsPerClaim
from shm_echo.loader.engine import LoaderEngine
from shm_echo.loader.epoch_order import EpochOrder
from shm_echo.loader.options import LoaderOptions, check_options
from shm_echo.loader.order import Order, make_order
from shm_echo.loader.progress import ProgressBar, require_rich
from shm_echo.loader.stats import LoaderStats

__all__ = ["DataLoader"]


class DataLoader(Uncopyable):
    """Batches of a dataset's items.

    Each `iter()` is one epoch. A batch is a tree like an item, whose leaves are arrays with a
    leading axis: item i of the batch is row i. Strings, bytes and other objects become lists.

    Items with the structure, shapes and dtypes of the first one are written into the batch by the
    worker, which is the fast way. As soon as an item has others, the loader has its workers collate
    each batch as a whole, says so once in the log, and only the items of one batch must be alike.
    With `example=` such an item is an error instead.

    Batches depend on the dataset, the sampler and the seed only: not on the number of workers, on
    timing, or on workers that die. The loop may keep batches, and write into them.

    With `num_workers=0` the loop makes the items itself. Otherwise worker processes write them into
    shared memory, and a batch refers to that memory. Workers are started by the first `iter()` and
    live until `close()`, or until nothing refers to the loader. A program that starts workers by
    "spawn" or "forkserver" must be importable: keep its main part behind
    `if __name__ == "__main__":`.

    Args:
        dataset: anything with `__len__` and `__getitem__`. Items are trees (dicts, tuples, lists)
            of NumPy arrays, NumPy or Python numbers, torch tensors, PIL images, None, str, bytes
            and other objects that can be pickled. Faster where the dataset has them:
            `load_into(index, out)` writes an item into the row `out`; `__getitems__(indices)`
            returns a list of items; `__getitems__(indices, out=)` writes into the stacked rows
            `out`. Or an iterable: each worker iterates a copy, and `worker_info()` tells the copy
            which part of the items it shall give. A batch comes from each worker in turn.
        batch_size: items per batch. The last batch of an epoch may be shorter. None for batches
            that are the items themselves.
        shuffle: True for a new random order in each epoch.
        sampler: an iterable of indices, or of other keys that the dataset takes, drawn from in each
            `iter()`.
        batch_sampler: an iterable of lists of indices or other keys, one list per batch.
        num_workers: worker processes; 0 for none.
        seed: base seed of order and random numbers; None draws one.
        drop_last: True to leave out a last batch that is short.
        rank: number of this process among the processes that share the dataset.
        world_size: number of those processes. All get equally many batches.
        weights: one weight per item: items are drawn with replacement, in proportion to them.
        example: an item that fixes structure, shapes and dtypes; None takes the first one that a
            worker makes.
        prefetch_batches: batches that workers make ahead of the loop.
        rows_per_claim: rows that a worker takes at a time; None chooses by batch size and bytes
            per item. The random numbers of the global generators depend on it. "measure" tries
            several with the first items, once, and keeps the best: `repr` and `state_dict` say
            which, and it differs from run to run.
        timeout: seconds that the loop waits for one batch; 0 or None for no limit.
        on_hang: what happens then: "raise", or "restart" to kill and replace the worker.
        worker_init_fn: called with the worker's number in each worker, before its first item.
        start_method: "fork", "spawn" or "forkserver"; None takes multiprocessing's.
        reuse: True for batches that are valid until the next one only, without any copy.
        max_bytes: the largest ring in bytes that may be allocated.
        progress: True for a progress bar of each loop, on a terminal or in a notebook; needs rich.
        collate_fn: makes the batch of a list of items, in a worker. It may return anything that
            can be pickled. With `batch_size=None` it gets the item. None stacks the leaves.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or excludes another one.
        ImportError: rich is missing for `progress=True`.

    Example:
        >>> import numpy as np
        >>> from shm_echo import DataLoader
        >>> class Squares:
        ...     def __len__(self):
        ...         return 5
        ...     def __getitem__(self, i):
        ...         return {"x": np.float32(i), "y": np.float32(i * i)}
        >>> loader = DataLoader(Squares(), batch_size=2)
        >>> [batch["y"].tolist() for batch in loader]
        [[0.0, 1.0], [4.0, 9.0], [16.0]]

    Attributes:
        dataset: as given.
        seed: the base seed.
    """

    _copying_advice = "workers and memory belong to one process; make a new one there"

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        *,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        seed: int | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        weights: Any = None,
        example: Any = None,
        prefetch_batches: int = 3,
        rows_per_claim: int | Literal["measure"] | None = None,
        timeout: float | None = 0,
        on_hang: Literal["raise", "restart"] = "raise",
        worker_init_fn: Callable[[int], object] | None = None,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
        reuse: bool = False,
        max_bytes: int | None = None,
        progress: bool = False,
        collate_fn: Callable[[Any], Any] | None = None,
    ) -> None:
        self._options = options = check_options(
            dataset,
            batch_size,
            shuffle,
            sampler=sampler,
            batch_sampler=batch_sampler,
            num_workers=num_workers,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
            weights=weights,
            example=example,
            prefetch_batches=prefetch_batches,
            rows_per_claim=rows_per_claim,
            timeout=timeout,
            on_hang=on_hang,
            worker_init_fn=worker_init_fn,
            start_method=start_method,
            reuse=reuse,
            max_bytes=max_bytes,
            progress=progress,
            collate_fn=collate_fn,
        )
        if options.progress:
            require_rich()
        self.dataset = dataset
        self.seed: int = options.seed
        self._order = order = _order_of(options)
        self._engine = LoaderEngine(options, order)
        self._checkpoints = Checkpoints(
            dataset, order, seed=options.seed, any_seed=seed is None, rank=options.rank
        )
        self._rows_per_claim = rows_per_claim  # as given; a state may bring a number
        self._lock = threading.RLock()  # a finalizer of another loop may run under it

    # ---------------------------------------------------------------- loops

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        Raises:
            TypeError: the sampler has no length.
        """
        return len(self._order)

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch, or go on where `load_state_dict` says.

        While another loop over this loader goes on, the new one gets workers of its own, which end
        with it.

        Raises:
            WorkerStartError: the workers could not be started.
        """
        with self._lock:
            start = self._checkpoints.start()
            loop = self._engine.begin_loop(start.epoch, start.batches)
            loop.state_of = self._state_of
            self._checkpoints.began(loop.order, start)
            if self._options.progress:
                loop.bar = ProgressBar(loop, start.epoch, self._order, start.batches)
            return loop

    # ---------------------------------------------------------------- positions

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loop that was begun last, as a small dict that fits into JSON.

        It counts the batches that the loop has got, also one whose item raised an exception. Call
        it anywhere: inside a loop, after a `break`, between loops, in another thread. Inside nested
        loops, `loop = iter(loader)` and `loop.state_dict()` say which one is meant. It holds no
        data and no model.

        A `sampler=` or `batch_sampler=` that has `state_dict` and `load_state_dict` of its own is
        asked for its state after each batch. The states of the random generators that another one
        draws from are stored with the position: up to some 20,000 characters.

        Example:
            >>> from shm_echo import DataLoader
            >>> loader = DataLoader(range(10), batch_size=4, seed=0)
            >>> for batch in loader:
            ...     state = loader.state_dict()
            ...     break
            >>> again = DataLoader(range(10), batch_size=4, seed=0)
            >>> again.load_state_dict(state)
            >>> [batch.tolist() for batch in again]
            [[4, 5, 6, 7], [8, 9]]
        """
        return self._checkpoints.state(self._run_rows())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at a position that `state_dict` returned.

        Batches before it are not loaded. The epochs behind it are those of the loader that was
        stopped. `num_workers`, `start_method`, `prefetch_batches` and what belongs to waiting may
        differ; everything that decides about the batches must be equal. Without `seed=` the loader
        takes over the seed of the state; without a number for `rows_per_claim=`, that number. A
        loop that runs meanwhile goes on as it was.

        A loop that goes on behind the last batch of an epoch is empty; the next one is the next
        epoch.

        Raises:
            ValueError: this is no such position, or that of a loader with another dataset length,
                order, seed or `rows_per_claim`; the message says what differs.
        """
        with self._lock:
            kept = self._checkpoints.load(state, self._run_rows())
            options = self._options
            used = self._run_rows().used
            rows = kept.rows_per_claim or (used if options.measures else options.rows_per_claim)
            if kept.seed == options.seed and rows in (used, options.rows_per_claim):
                return
            self._options = options = replace(
                options,
                seed=kept.seed,
                rows_per_claim=rows,
                measures=options.measures and rows is None,
            )
            self.seed = options.seed
            self._order = _order_of(options)
            self._checkpoints.replace_order(self._order, options.seed)
            left = self._engine
            self._engine = LoaderEngine(options, self._order, meter=left.meter)
            left.leave()

    def _state_of(self, loop: EpochOrder) -> dict[str, Any]:
        return self._checkpoints.state(self._run_rows(), loop)

    def _run_rows(self) -> RowsPerClaim:
        used, layout = self._options.rows_per_claim, self._engine.layouts.known
        if used is None and layout is not None:
            used = layout.run_rows
        return RowsPerClaim(self._rows_per_claim, used)

    # ---------------------------------------------------------------- looking at it

    def stats(self) -> LoaderStats:
        """Return the figures of this moment. Any thread may call it."""
        return self._engine.stats()

    def worker_pids(self) -> list[int]:
        """Return the process of each worker; none before the first `iter()`.

        It waits for workers that are being started or replaced.
        """
        return self._engine.worker_pids()

    def __repr__(self) -> str:
        options = self._options
        parts = [f"batch_size={options.batch_size}", f"num_workers={options.num_workers}"]
        if options.batch_sampler is not None:
            parts[0] = "batch_sampler=..."
        parts.append(f"seed={options.seed}")
        layout = self._engine.layouts.known
        if options.num_workers:
            parts.append(
                "ring: made with the first batch"
                if layout is None
                else f"ring: {layout.nbytes:,} bytes, {layout.sizes.num_buffers} batches, "
                + ("collated" if layout.spec is None else f"{layout.run_rows} rows a claim")
            )
        return f"<DataLoader of {type(self.dataset).__name__}: {', '.join(parts)}>"

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """End the workers and give the memory back; batches that are held stay as they are.

        A loop that runs raises RuntimeError at its next batch. A later `iter()` starts workers
        again. Calling it is not needed where the loader is garbage collected or the program ends.
        """
        self._engine.close()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _order_of(options: LoaderOptions) -> Order:
    return make_order(
        options.dataset,
        batch_size=options.batch_size,
        shuffle=options.shuffle,
        sampler=options.sampler,
        batch_sampler=options.batch_sampler,
        seed=options.seed,
        drop_last=options.drop_last,
        rank=options.rank,
        world_size=options.world_size,
        weights=options.weights,
        shards=max(1, options.num_workers) if options.stream else 0,
    )
