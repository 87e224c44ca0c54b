"""`torch.utils.data.DataLoader`, with other iterators: the batches come from a ring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch.utils.data as torch_data

from shm_echo.loader.options import check_options
from shm_echo.loader.progress import require_rich
from shm_echo.loader.stats import LoaderStats
from shm_echo.torch.device import check_device
from shm_echo.torch.local_iterator import LocalIterator
from shm_echo.torch.loops import Loops
from shm_echo.torch.worker_iterator import WorkerIterator

__all__ = ["DataLoader"]


class DataLoader(torch_data.DataLoader):
    """Batches of a dataset's items as tensors that workers write in shared memory.

    It is torch's DataLoader, with its arguments, attributes, checks, samplers and length. With
    workers, batches come from a ring: tensors refer to it, and the loop may keep them and write
    into them. Under the same `torch.manual_seed` the order is that of torch's loader. Workers that
    die are replaced. Batches do not depend on the number of workers, as long as there is one.

    Items that fit rows (tensors, arrays and numbers of one shape and dtype) are written in place.
    Everything else travels as torch's loader would collate it, without further settings. Data
    pipes, and loaders with `in_order=False`, use torch's own workers.

    The arguments down to `in_order` are those of torch's DataLoader. `prefetch_factor` batches per
    worker are made ahead, as long as they take at most 256 MiB, and at least two.

    Args:
        seed: base seed of the random numbers in workers and of `item_rng`; None draws one, as
            torch does. The order of a shuffle comes from `generator` or from torch's global one.
        rows_per_claim: rows that a worker takes at a time. None takes 1, or for datasets with
            `__getitems__` a number by batch size and bytes per item. 32 is fastest for small items.
        on_hang: what happens after `timeout` seconds: "raise", or "restart" to kill and replace the
            worker.
        max_bytes: the largest ring in bytes that may be allocated.
        reuse: True for batches that are valid until the next one only, without any copy.
        example: an item that fixes structure, shapes and dtypes; None takes the first one that a
            worker makes.
        device: a CUDA device that batches are copied to, such as "cuda"; None leaves them in
            memory.
        progress: True for a progress bar of each loop with workers; needs rich.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or excludes another one.
        ImportError: rich is missing for `progress=True`.

    Example:
        >>> import torch
        >>> from shm_echo.torch import DataLoader
        >>> loader = DataLoader(torch.arange(5), batch_size=2)
        >>> [batch.tolist() for batch in loader]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], object] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        seed: int | None = None,
        rows_per_claim: int | Literal["measure"] | None = None,
        on_hang: Literal["raise", "restart"] = "raise",
        max_bytes: int | None = None,
        reuse: bool = False,
        example: Any = None,
        device: Any = None,
        progress: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_size,
            shuffle,
            sampler,
            batch_sampler,
            num_workers,
            collate_fn,
            pin_memory,
            drop_last,
            timeout,
            worker_init_fn,
            multiprocessing_context,
            generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        # Under these names, Lightning finds them where it makes a loader anew.
        self.seed = seed
        self.rows_per_claim = rows_per_claim
        self.on_hang = on_hang
        self.max_bytes = max_bytes
        self.reuse = reuse
        self.example = example
        self.device = check_device(device)
        if reuse and device is not None:
            raise ValueError(
                "device= can't be combined with reuse=True: a copy may still read the batch when "
                "the next one is asked for"
            )
        self.progress = progress
        check_options(
            [],
            seed=seed,
            rows_per_claim=rows_per_claim,
            on_hang=on_hang,
            max_bytes=max_bytes,
            reuse=reuse,
            progress=progress,
        )
        if progress:
            require_rich()
        self._loops = Loops(self)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the loop that was begun last, as a small dict that fits into JSON.

        It counts the batches that the loop has got, and holds the states of the generators that
        the sampler draws from. Call it anywhere: inside a loop, after a `break`, between loops.

        Raises:
            RuntimeError: the loader uses torch's own workers.
        """
        self._require_own_loops()
        return self._loops.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the next loop go on at a position that `state_dict` returned.

        Batches before it are not loaded. `num_workers` and what belongs to waiting may differ.
        Without `seed=`, the loop takes over the seed of the state. A dataset that can only be
        iterated gives its items again, and those before the position are left out.

        Raises:
            ValueError: this is no such position, or that of another loader; says what differs.
            RuntimeError: the loader uses torch's own workers.
        """
        self._require_own_loops()
        self._loops.load(state)
        self._iterator = None  # persistent workers have another seed

    def stats(self) -> LoaderStats:
        """Return the figures of the loop that was begun last, and of its workers.

        With persistent workers they are those of all loops; without workers they are zero.
        """
        engine = self._loops.engine
        return LoaderStats() if engine is None else engine.stats()

    def worker_pids(self) -> list[int]:
        """Return the processes of the workers of the loop that was begun last."""
        engine = self._loops.engine
        return [] if engine is None else engine.worker_pids()

    def _require_own_loops(self) -> None:
        if self._needs_torch():
            raise RuntimeError(
                "this loader has no positions: data pipes and in_order=False use torch's own "
                "workers"
            )

    def _get_iterator(self) -> Any:
        if self._needs_torch():
            return super()._get_iterator()
        if self.num_workers == 0:
            return LocalIterator(self)
        self.check_worker_number_rationality()
        return WorkerIterator(self)

    def _needs_torch(self) -> bool:
        """Return True for a loader that uses torch's own iterators."""
        pipes = (torch_data.IterDataPipe, torch_data.MapDataPipe)
        return isinstance(self.dataset, pipes) or (self.num_workers > 0 and not self.in_order)
